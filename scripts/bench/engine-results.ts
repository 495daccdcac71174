import type { LoopTime, Played } from './server';
import { quantile, summarize } from './statistics';

/** The servers' names. */
export const ENGINE = 'SamplerEngine';
export const ONE_AT_A_TIME = 'one at a time';
export const BATCHES = 'request batches';
export const LEAVING = `${BATCHES}, short ones leave`;
export const PYTHON_BATCHES = `diffusers, ${BATCHES}`;

/** How long requests waited for their images, in seconds. */
export interface Latency {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** A server as measured. */
export interface ServerResult {
  readonly name: string;
  readonly own: boolean;
  /** Of the requests of all rounds together. */
  readonly latency: Latency;
  /** Median of the rounds. */
  readonly imagesPerSecond: number;
  readonly rounds: readonly { readonly p95: number; readonly imagesPerSecond: number }[];
  readonly loop: LoopTime | null;
}

/** One table: what the servers made of the same traces. */
export interface PointResult {
  /** The step counts of the requests. */
  readonly steps: readonly number[];
  /** Sample steps asked for by those that a full batch makes; null: all requests there at once. */
  readonly load: number | null;
  /** In each round. */
  readonly requests: number;
  readonly servers: readonly ServerResult[];
}

/** A server's rounds, put together. */
export function summarizeServer({ name, own }: { name: string; own: boolean }, rounds: readonly Played[]): ServerResult {
  const all = rounds.flatMap(({ latencies }) => latencies);
  const each = rounds.map(({ latencies, seconds }) => ({
    p95: latencyOf(latencies).p95,
    imagesPerSecond: latencies.length / seconds,
  }));
  const loops = rounds.flatMap(({ loop }) => (loop === undefined ? [] : [loop]));
  const sum = (key: keyof LoopTime): number => loops.reduce((total, loop) => total + loop[key], 0);
  return {
    name,
    own,
    latency: latencyOf(all),
    imagesPerSecond: summarize(each.map((one) => one.imagesPerSecond)).median,
    rounds: each,
    loop:
      loops.length === 0
        ? null
        : { busy: sum('busy'), unet: sum('unet'), steps: sum('steps'), samples: sum('samples'), limit: loops.at(-1)!.limit },
  };
}

function latencyOf(latencies: readonly number[]): Latency {
  const sorted = [...latencies].sort((a, b) => a - b);
  return { p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), p99: quantile(sorted, 0.99) };
}

/** Of the engine's time, what the UNet had no part in. */
export const overheadOf = ({ busy, unet }: LoopTime): number => (busy - unet) / busy;

/** Mixed step counts, or all the same. */
export const isMixed = ({ steps }: Pick<PointResult, 'steps'>): boolean => steps.length > 1;

/** What the engine is to reach, and what it did. */
export interface Aim {
  readonly what: string;
  readonly aim: string;
  readonly measured: number;
  /** The same of each round, where rounds are comparable. */
  readonly rounds: readonly number[];
  readonly met: boolean;
}

/** The aims of the points that have an engine and request-level batches in them. */
export function aimsOf(points: readonly PointResult[]): Aim[] {
  const aims = points.flatMap((point) => {
    const engine = point.servers.find(({ own }) => own);
    const batches = point.servers.filter(({ name }) => name === BATCHES || name === LEAVING);
    if (engine === undefined || batches.length === 0) return [];
    return point.load === null ? throughputAim(point, engine, batches) : [latencyAim(point, engine, batches)];
  });
  const loops = points.flatMap(({ servers }) => servers.flatMap(({ loop }) => (loop === null ? [] : [loop])));
  if (loops.length === 0) return aims;
  const worst = Math.max(...loops.map(overheadOf));
  return [...aims, { what: 'loop beyond UNet time, worst table', aim: '≤ 0.01', measured: worst, rounds: [], met: worst <= 0.01 }];
}

/** Only with equal steps are whole-request batches full from the first step to the last. */
function throughputAim(point: PointResult, engine: ServerResult, [full]: readonly ServerResult[]): Aim[] {
  if (isMixed(point)) return [];
  const rounds = engine.rounds.map(({ imagesPerSecond }, round) => imagesPerSecond / full!.rounds[round]!.imagesPerSecond);
  const measured = summarize(rounds).median;
  return [{ what: 'images/s by those of full batches, all at once', aim: '≥ 0.95', measured, rounds, met: measured >= 0.95 }];
}

/** p95 by the best of request-level batching's. */
function latencyAim(point: PointResult, engine: ServerResult, batches: readonly ServerResult[]): Aim {
  const best = batches.reduce((a, b) => (b.latency.p95 < a.latency.p95 ? b : a));
  const measured = engine.latency.p95 / best.latency.p95;
  const below = isMixed(point) && point.load! >= 0.7;
  return {
    what: `p95 by that of ${best.name}, ${titleOf(point)}`,
    aim: below ? '< 1' : '≤ 1.02',
    measured,
    rounds: engine.rounds.map(({ p95 }, round) => p95 / best.rounds[round]!.p95),
    met: below ? measured < 1 : measured <= 1.02,
  };
}

/** '10/20/50 steps, load 0.7'. */
export const titleOf = ({ steps, load }: Pick<PointResult, 'steps' | 'load'>): string =>
  `${steps.join('/')} steps, ${load === null ? 'all at once' : `load ${load}`}`;
