import type { Chart } from './bar-chart';
import { isMixed, overheadOf, titleOf, type Aim, type PointResult, type ServerResult } from './engine-results';
import type { LineChart } from './line-chart';
import { formatSeconds, formatTable, threeDigits } from './table';

/** Throughput of batches of one size, in sample steps a second. */
export interface BatchCurve {
  readonly name: string;
  readonly stepsPerSecond: readonly number[];
  /** The size that its server takes at most. */
  readonly best: number;
}

/** The smallest batch size within 3 % of the highest throughput: a larger one makes others wait for nothing. */
export function bestSize(sizes: readonly number[], stepsPerSecond: readonly number[]): number {
  const enough = 0.97 * Math.max(...stepsPerSecond);
  return sizes[stepsPerSecond.findIndex((one) => one >= enough)]!;
}

/** What batches of each size come to. */
export function describeCurves(sizes: readonly number[], curves: readonly BatchCurve[]): string {
  const rows = curves.map(({ name, stepsPerSecond, best }) => [name, ...stepsPerSecond.map(threeDigits), String(best)]);
  return formatTable(['sample steps a second at batch', ...sizes.map(String), 'takes up to'], rows);
}

/** How many times the engine's p95 or seconds; empty for the engine. */
function ratiosToOwn(server: ServerResult, own: ServerResult | undefined): [string, string] {
  if (own === undefined || server === own) return ['', ''];
  const ratio = (a: number, b: number): string => `${(a / b).toFixed(2)}×`;
  return [ratio(server.latency.p95, own.latency.p95), ratio(server.imagesPerSecond, own.imagesPerSecond)];
}

/** The table of a point. */
export function describePoint(point: PointResult): string {
  const own = point.servers.find((server) => server.own);
  const rows = point.servers.map((server) => {
    const [p95, rate] = ratiosToOwn(server, own);
    const { latency } = server;
    const times = [latency.p50, latency.p95, latency.p99].map(formatSeconds);
    return [server.name, ...times, p95, threeDigits(server.imagesPerSecond), rate];
  });
  const loop = own?.loop ?? null;
  const note =
    loop === null
      ? []
      : [
          `engine: ${threeDigits(loop.samples / loop.steps)} samples a step, at most ${loop.limit} at the end; ` +
            `${(100 * overheadOf(loop)).toFixed(2)} % of its time outside the UNet`,
        ];
  const title = `${titleOf(point)}: ${point.requests} requests × ${own?.rounds.length ?? 1}`;
  return [title, '', formatTable(['', 'p50', 'p95', 'p99', 'to ours', 'images/s', 'to ours'], rows), ...note].join('\n');
}

/** The aims beside what was measured. */
export function describeAims(aims: readonly Aim[]): string {
  const rows = aims.map(({ what, aim, measured, rounds, met }) => [
    what,
    aim,
    measured.toFixed(3),
    rounds.length === 0 ? '' : `${Math.min(...rounds).toFixed(3)} … ${Math.max(...rounds).toFixed(3)}`,
    met ? 'yes' : 'NO',
  ]);
  return formatTable(['aim', '', 'measured', 'rounds', 'met'], rows);
}

const workloadOf = ({ steps }: PointResult): string =>
  steps.length > 1 ? `${steps.join(', ')} steps mixed` : `${steps[0]} steps each`;

/** p95 over load, a panel for each list of step counts. */
export function latencyChart(points: readonly PointResult[], subtitle: string): LineChart {
  const loaded = points.filter(({ load }) => load !== null);
  const workloads = [...new Set(loaded.map(workloadOf))];
  return {
    title: 'SamplerEngine under load: 95 % of requests have their image within this time',
    subtitle,
    xTitle: "Poisson arrivals, % of a full batch's throughput",
    xText: (load) => `${Math.round(100 * load)} %`,
    yText: (seconds) => (seconds < 1 ? `${Number((1000 * seconds).toPrecision(3))} ms` : `${seconds} s`),
    panels: workloads.map((workload) => {
      const own = loaded.filter((point) => workloadOf(point) === workload);
      const names = [...new Set(own.flatMap(({ servers }) => servers.map(({ name }) => name)))];
      const lines = names.map((name) => {
        const found = own.flatMap(({ load, servers }) =>
          servers.filter((server) => server.name === name).map((server) => ({ load: load!, server })),
        );
        const points = found.map(({ load, server }) => [load, server.latency.p95] as const);
        return { label: name, own: found[0]!.server.own, points };
      });
      return { title: workload, lines };
    }),
  };
}

/** Images a second with all requests there at once. */
export function throughputChart(points: readonly PointResult[], subtitle: string): Chart {
  return {
    title: 'SamplerEngine with all requests there at once: images a second, longer is better',
    subtitle,
    panels: points
      .filter(({ load }) => load === null)
      .map((point) => ({
        title: `${workloadOf(point)}${isMixed(point) ? '' : ': whole batches are full from the first step to the last'}`,
        bars: point.servers.map(({ name, own, imagesPerSecond }) => ({
          label: name, own, value: imagesPerSecond, text: threeDigits(imagesPerSecond),
        })), // prettier-ignore
      })),
  };
}
