import { CHECKED_TIMESTEP, LeftOut, TOLERANCE, type Arm, type ArmPlan, type Plan, type UNetCase } from './arms';
import type { ArmResult, CaseResult } from './report';
import { relativeError, summarize } from './statistics';
import { takeTurns, type Runner, type TurnOptions } from './turns';

/** Arms that could be opened, and why the others could not. */
export interface Opened<A> {
  readonly arms: A[];
  readonly leftOut: { name: string; reason: string }[];
}

/** Why an arm does not take part; the run goes on without it, and unless it can't run here at all, ends with status 1. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) throw error;
  if (!(error instanceof LeftOut)) process.exitCode = 1;
  return error.message.split('\n')[0]!;
}

/** Loads the arms; one that can't run here is left out with its reason, this project's own too. */
export async function openArms<Case, A>(
  plans: readonly Plan<Case, A>[],
  of: Case,
  say: (line: string) => void,
): Promise<Opened<A>> {
  const opened: Opened<A> = { arms: [], leftOut: [] };
  for (const plan of plans) {
    say(`loading ${plan.name}`);
    try {
      opened.arms.push(await plan.open(of));
    } catch (error) {
      opened.leftOut.push({ name: plan.name, reason: reasonOf(error) });
    }
  }
  return opened;
}

/** What has a name and gives numbers to compare. */
export interface Contender extends Runner {
  readonly name: string;
  readonly dtype: 'float32' | 'bfloat16';
  readonly own: boolean;
}

/** Diffusers itself where it is there, else another program than this project's, else ours: in float32. */
export function referenceAmong<A extends Contender>(arms: readonly A[]): A | undefined {
  const exact = arms.filter(({ dtype }) => dtype === 'float32');
  return exact.find(({ name }) => name.startsWith('diffusers eager')) ?? exact.find(({ own }) => !own) ?? exact[0];
}

/** Compares the arms' outputs, then times them in turns. */
export async function measure<A extends Contender>(
  title: string,
  arms: readonly A[],
  leftOut: CaseResult['leftOut'],
  outputOf: (arm: A) => Promise<Float32Array>,
  options: TurnOptions,
): Promise<CaseResult> {
  const failed: { name: string; reason: string }[] = [];
  const outputs = new Map<A, Float32Array>();
  for (const arm of arms) {
    try {
      outputs.set(arm, await outputOf(arm));
    } catch (error) {
      failed.push({ name: arm.name, reason: reasonOf(error) });
    }
  }
  const running = [...outputs.keys()];
  const reference = referenceAmong(running);
  const seconds = await takeTurns(running, options);
  const results = running.map((arm): ArmResult => {
    const { name, dtype, own } = arm;
    const expected = reference === undefined || reference === arm ? undefined : outputs.get(reference);
    const error = expected === undefined ? null : relativeError(outputs.get(arm)!, expected);
    const wrong = error !== null && !(error <= TOLERANCE[dtype]);
    return { name, dtype, own, relativeError: error, wrong, ...summarize(seconds.get(arm)!) };
  });
  return { title, reference: reference?.name ?? 'nothing', arms: results, leftOut: [...leftOut, ...failed] };
}

/** Loads, compares and times the arms of one model and batch. */
export async function measureCase(
  plans: readonly ArmPlan[],
  unetCase: UNetCase,
  options: TurnOptions,
  say: (line: string) => void,
): Promise<CaseResult> {
  const { arms, leftOut } = await openArms(plans, unetCase, say);
  try {
    const title = `${unetCase.model}, batch ${unetCase.shape[0]}: one forward`;
    return await measure(title, arms, leftOut, (arm) => arm.output(CHECKED_TIMESTEP), options);
  } finally {
    for (const arm of arms) await arm.close();
  }
}

/** Forwards a second with so many at once, for the arms of this process. */
export async function measureConcurrency(
  plans: readonly ArmPlan[],
  unetCase: UNetCase,
  counts: readonly number[],
  { rounds, turnSeconds, pauseMs }: TurnOptions,
  say: (line: string) => void,
): Promise<{ name: string; perSecond: number[] }[]> {
  const { arms } = await openArms(plans, unetCase, say);
  try {
    const runners = arms.flatMap((arm) => counts.map((count) => ({ arm, count, run: batches(arm, count) })));
    const seconds = await takeTurns(runners, { rounds, turnSeconds, pauseMs });
    return arms.map((arm) => {
      const own = runners.filter((runner) => runner.arm === arm);
      return { name: arm.name, perSecond: own.map((one) => one.count / summarize(seconds.get(one)!).median) };
    });
  } finally {
    for (const arm of arms) await arm.close();
  }
}

/** Calls of which each keeps `count` forwards under way, every one of them run to its end. */
function batches(arm: Arm, count: number): Runner['run'] {
  const forward = arm.forward;
  if (forward === undefined) throw new TypeError(`${arm.name} runs one forward at a time`);
  return async (calls) => {
    const seconds: number[] = [];
    for (let call = 0; call < calls; call += 1) {
      const started = performance.now();
      await Promise.all(Array.from({ length: count }, (_, lane) => forward(980 - 20 * ((call + lane) % 50))));
      seconds.push((performance.now() - started) / 1000);
    }
    return seconds;
  };
}
