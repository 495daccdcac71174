import { setTimeout as pause } from 'node:timers/promises';

/** Something that can be run `calls` times in a row, giving the seconds of each. */
export interface Runner {
  run(calls: number): Promise<number[]>;
}

/** How turns are taken. */
export interface TurnOptions {
  /** Turns of each arm. */
  readonly rounds: number;
  /** How long a turn is to last about; it holds one timed call at least. */
  readonly turnSeconds: number;
  /** Between two turns, until the threads of the last arm have stopped spinning. */
  readonly pauseMs: number;
  readonly onRound?: (round: number) => void;
}

const MAX_CALLS = 200;

/** How many calls fill a turn, by the fastest of the last. */
const callsFor = (turnSeconds: number, last: readonly number[]): number =>
  Math.min(MAX_CALLS, Math.max(1, Math.round(turnSeconds / Math.max(Math.min(...last), 1e-6))));

/** The arms of a round in their order: each round begins with the next, so that none always follows the same one. */
export function orderOf<T>(arms: readonly T[], round: number): T[] {
  const first = arms.length === 0 ? 0 : round % arms.length;
  return [...arms.slice(first), ...arms.slice(0, first)];
}

/**
 * Runs the arms in turns, so that what the machine does meanwhile (clock, neighbours) meets them all alike. Of each turn
 * the first call, which finds other arms' data in the caches, is left out.
 *
 * @returns the seconds of every timed call, by arm.
 */
export async function takeTurns<A extends Runner>(
  arms: readonly A[],
  { rounds, turnSeconds, pauseMs, onRound }: TurnOptions,
): Promise<Map<A, number[]>> {
  const calls = new Map<A, number>();
  for (const arm of arms) {
    await pause(pauseMs);
    // Compilers that look at the first calls are slow in them, so they say nothing of how many fit into a turn.
    await arm.run(4);
    calls.set(arm, callsFor(turnSeconds, (await arm.run(3)).slice(1)));
  }
  const seconds = new Map<A, number[]>(arms.map((arm) => [arm, []]));
  for (let round = 0; round < rounds; round += 1) {
    onRound?.(round);
    for (const arm of orderOf(arms, round)) {
      await pause(pauseMs);
      const timed = (await arm.run(calls.get(arm)! + 1)).slice(1);
      seconds.get(arm)!.push(...timed);
      calls.set(arm, callsFor(turnSeconds, timed));
    }
  }
  return seconds;
}

/** Times `calls` awaited calls of `once`, which gets the number of the call. */
export async function timeCalls(calls: number, once: (call: number) => Promise<void>): Promise<number[]> {
  const seconds: number[] = [];
  for (let call = 0; call < calls; call += 1) {
    const started = performance.now();
    await once(call);
    seconds.push((performance.now() - started) / 1000);
  }
  return seconds;
}
