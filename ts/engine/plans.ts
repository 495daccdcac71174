import { ArgumentError } from '../errors';
import type { PlanHandle } from '../native/addon-types';
import { makeScheduler, type SchedulerSource } from './scheduler-of';

/** What decides on a request's steps, checked. */
export interface PlanOptions {
  readonly source: SchedulerSource;
  /** Timesteps of one's own, or how many. */
  readonly timesteps: readonly number[] | number;
  readonly eta: number;
  readonly useClippedModelOutput: boolean;
  /** The part of the steps that image-to-image goes through, in (0, 1]; 1 for all. */
  readonly strength: number;
}

/** Plans kept; a backend's requests have few different ones. */
const MAX_PLANS = 128;

/** Steps worked out once for all requests that have the same. */
export class Plans {
  private readonly known = new Map<string, PlanHandle>();
  private readonly texts = new WeakMap<object, string>();

  /** @throws ConfigError, TimestepError, ArgumentError for steps that the scheduler can't make. */
  get(options: PlanOptions): PlanHandle {
    const { source, ...rest } = options;
    const key = `${source.kind} ${this.textOf(source.config)} ${JSON.stringify(rest)}`;
    const plan = this.known.get(key) ?? makePlan(options);
    // The one asked for last is the last to be dropped.
    this.known.delete(key);
    this.known.set(key, plan);
    if (this.known.size > MAX_PLANS) this.known.delete(this.known.keys().next().value!);
    return plan;
  }

  private textOf(config: object): string {
    if (!Object.isFrozen(config)) return toText(config);
    const text = this.texts.get(config) ?? toText(config);
    this.texts.set(config, text);
    return text;
  }
}

/** What JSON has no form for is the config's own check to refuse. */
const toText = (config: object): string =>
  JSON.stringify(config, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));

function makePlan({ source, timesteps, eta, useClippedModelOutput, strength }: PlanOptions): PlanHandle {
  const scheduler = makeScheduler(source);
  scheduler.setTimesteps(typeof timesteps === 'number' ? timesteps : { timesteps });
  const total = scheduler.timesteps.length;
  // diffusers' img2img: the last min(⌊n·strength⌋, n) of the n timesteps.
  const steps = Math.min(Math.floor(total * strength), total);
  if (steps < 1) throw new ArgumentError(`strength ${strength} of ${total} steps leaves none; it must be at least ${1 / total}`);
  return scheduler.plan(eta, useClippedModelOutput, total - steps);
}
