import { setTimeout as pause } from 'node:timers/promises';
import { TOLERANCE } from './arms';
import { summarizeServer, type PointResult } from './engine-results';
import type { Played, Server } from './server';
import { relativeError, summarize } from './statistics';
import { burstOf, type Trace, type TraceOptions } from './trace';
import { orderOf } from './turns';

/** How turns are taken. */
export interface RoundOptions {
  readonly rounds: number;
  /** Between two turns, until the threads of the last server have stopped spinning. */
  readonly pauseMs: number;
  /** Which server begins the first round. */
  readonly first?: number;
}

/** Every server plays each round's trace, in turns. */
async function playRounds<S extends Pick<Server, 'play'>>(
  servers: readonly S[],
  { rounds, pauseMs, first = 0 }: RoundOptions,
  traceOf: (round: number, server: S) => Trace,
): Promise<Map<S, Played[]>> {
  const played = new Map<S, Played[]>(servers.map((server) => [server, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const server of orderOf(servers, first + round)) {
      await pause(pauseMs);
      played.get(server)!.push(await server.play(traceOf(round, server)));
    }
  }
  return played;
}

/** The steps of a run that only tells what a batch costs. */
const CURVE_STEPS = 10;

/** Sample steps a second of each maker's servers with one full batch of each size. */
export async function measureCurves(
  makers: readonly ((limit: number) => Pick<Server, 'play'>)[],
  sizes: readonly number[],
  options: RoundOptions,
): Promise<number[][]> {
  const servers = makers.flatMap((make) => sizes.map((size) => ({ ...make(size), make, size })));
  const burst = (size: number): Trace => burstOf({ seed: 0, count: size, steps: [CURVE_STEPS] });
  const played = await playRounds(servers, options, (_, { size }) => burst(size));
  return makers.map((make) =>
    servers
      .filter((server) => server.make === make)
      .map((server) => (CURVE_STEPS * server.size) / summarize(played.get(server)!.map(({ seconds }) => seconds)).median),
  );
}

/** One table: the servers with the traces of a load, or with bursts. */
export async function measurePoint(
  servers: readonly Server[],
  { steps, load, requests }: Omit<PointResult, 'servers'>,
  traceOf: (options: TraceOptions) => Trace,
  options: RoundOptions & { seed: number },
): Promise<{ point: PointResult; late: number[] }> {
  const traces = Array.from({ length: options.rounds }, (_, round) =>
    traceOf({ seed: options.seed + round, count: requests, steps }),
  );
  const played = await playRounds(servers, options, (round) => traces[round]!);
  const late = [...played.values()].flat().flatMap((one) => one.late ?? []);
  const results = servers.map((server) => summarizeServer(server, played.get(server)!));
  return { point: { steps, load, requests, servers: results }, late };
}

/** What a server's images differ from the reference's by, relative. */
export interface Checked {
  readonly name: string;
  readonly relativeError: number;
  readonly wrong: boolean;
}

/** Draws the same images with every server and compares them with the first's. */
export async function checkServers(servers: readonly Server[], steps: readonly number[], count: number): Promise<Checked[]> {
  const trace = burstOf({ seed: 0, count, steps });
  const [expected, ...others] = await inTurn(servers, (server) => server.images(trace));
  return others.map((images, index) => {
    const error = Math.max(...images.map((image, at) => relativeError(image, expected![at]!)));
    return { name: servers[index + 1]!.name, relativeError: error, wrong: !(error <= TOLERANCE.float32) };
  });
}

async function inTurn<T, U>(items: readonly T[], make: (item: T) => Promise<U>): Promise<U[]> {
  const made: U[] = [];
  for (const item of items) made.push(await make(item));
  return made;
}
