import type { Runner } from './turns';
import { timeCalls } from './turns';

/** What all arms of a table compute: one model, one batch, the same input. */
export interface UNetCase {
  readonly model: string;
  /** A UNet's folder in diffusers' format. */
  readonly folder: string;
  readonly shape: readonly [batch: number, channels: number, height: number, width: number];
  readonly sample: Float32Array;
  /** `sample` as a file of raw float32. */
  readonly sampleFile: string;
  /** Where exported models are kept, and the prefix of their names. */
  readonly cachePrefix: string;
  readonly threads: number;
}

/** One contender of a table. */
export interface Arm extends Runner {
  readonly name: string;
  readonly dtype: 'float32' | 'bfloat16';
  /** This project's. */
  readonly own: boolean;
  /** The prediction for one timestep, to compare with the reference's. */
  output(timestep: number): Promise<Float32Array>;
  /** One forward; only of arms in this process, where several can be under way at once. */
  forward?(timestep: number): Promise<void>;
  close(): Promise<void> | void;
}

/** An arm before it is loaded; `open` throws {@link LeftOut} where it can't run here. */
export interface Plan<Case, A> {
  readonly name: string;
  open(of: Case): Promise<A>;
}

/** A plan of a forward's arm. */
export type ArmPlan = Plan<UNetCase, Arm>;

/** Why an arm is not in the table. */
export class LeftOut extends Error {}

/** The timestep of a call: that of DDIM with 50 steps, over and over, so that no arm is asked the same twice in a row. */
export const timestepOf = (call: number): number => 980 - 20 * (call % 50);

/** Where the outputs are compared. */
export const CHECKED_TIMESTEP = 500;

/** How far an output may be from the reference before its time counts for nothing. */
export const TOLERANCE = { float32: 1e-4, bfloat16: 5e-2 } as const;

/** A dtype in an arm's name. */
export const shortName = { float32: 'fp32', bfloat16: 'bf16' } as const;

/** An arm in this process. */
export function nodeArm(
  about: Pick<Arm, 'name' | 'dtype' | 'own' | 'output' | 'close'>,
  forward: (timestep: number) => Promise<void>,
): Arm {
  return { ...about, forward, run: (calls) => timeCalls(calls, (call) => forward(timestepOf(call))) };
}
