import assert from 'node:assert/strict';
import { bestSize, describeAims, describePoint, latencyChart, throughputChart } from '../../../scripts/bench/engine-report';
import { aimsOf, BATCHES, ENGINE, LEAVING, summarizeServer, type PointResult, type ServerResult } from '../../../scripts/bench/engine-results';

/** p95 and images a second of each round. */
const server = (name: string, ...rounds: [p95: number, rate: number][]): ServerResult => ({
  name,
  own: name === ENGINE,
  latency: { p50: 0.1, p95: rounds[0]![0], p99: 9 },
  imagesPerSecond: rounds[0]![1],
  rounds: rounds.map(([p95, imagesPerSecond]) => ({ p95, imagesPerSecond })),
  loop: name === ENGINE ? { busy: 10, unet: 9.95, steps: 20, samples: 90, limit: 7 } : null,
});

const point = (steps: number[], load: number | null, ...servers: ServerResult[]): PointResult => ({
  steps, load, requests: 8, servers,
}); // prettier-ignore

describe('bench: engine results', () => {
  it('puts the rounds of a server together', () => {
    const loop = { busy: 2, unet: 1, steps: 3, samples: 5, limit: 6 };
    const result = summarizeServer({ name: 'x', own: true }, [
      { latencies: [1, 2, 3], seconds: 6, loop },
      { latencies: [4, 5], seconds: 1, loop },
      { latencies: [6], seconds: 1 },
    ]);
    assert.equal(result.latency.p50, 3.5);
    assert.equal(result.latency.p95, 5.75);
    assert.equal(result.imagesPerSecond, 1);
    assert.deepEqual(result.rounds.map(({ imagesPerSecond }) => imagesPerSecond), [0.5, 2, 1]);
    assert.equal(result.rounds[2]!.p95, 6);
    assert.deepEqual(result.loop, { busy: 4, unet: 2, steps: 6, samples: 10, limit: 6 });
  });

  it('holds throughput against full batches round by round, and only where they stay full', () => {
    const servers = [server(ENGINE, [1, 9], [1, 8], [1, 9.7]), server(BATCHES, [1, 10], [1, 10], [1, 10])];
    const [aim, loop, ...more] = aimsOf([point([20], null, ...servers), point([1, 2], null, ...servers)]);
    assert.deepEqual(more, []);
    assert.equal(aim!.measured, 0.9);
    assert.equal(aim!.met, false);
    assert.equal(loop!.met, true);
    assert.ok(Math.abs(loop!.measured - 0.005) < 1e-12);
  });

  it('holds p95 against the better of the batching rules: at most 2 % above, and below for mixed steps from 0.7 up', () => {
    const servers = [server(ENGINE, [1.01, 1]), server(BATCHES, [2, 1]), server(LEAVING, [1, 1])];
    const met = (steps: number[], load: number): boolean => aimsOf([point(steps, load, ...servers)])[0]!.met;
    assert.deepEqual([met([20], 0.9), met([10, 50], 0.5), met([10, 50], 0.7)], [true, true, false]);
    const [aim] = aimsOf([point([10, 50], 0.9, server(ENGINE, [0.9, 1]), ...servers.slice(1))]);
    assert.ok(aim!.met && aim!.what.includes(LEAVING) && aim!.aim === '< 1');
    assert.match(describeAims([aim!]), /0\.900 +0\.900 … 0\.900 +yes/);
  });

  it('writes a table with ratios to the engine', () => {
    const text = describePoint(point([10, 50], 0.7, server(BATCHES, [0.6, 5]), server(ENGINE, [0.3, 10])));
    assert.match(text, /^10\/50 steps, load 0\.7: 8 requests × 1\n/);
    assert.match(text, /request batches +100 ms +600 ms +9\.00 s +2\.00× +5\.00 +0\.50×/);
    assert.match(text, /engine: 4\.50 samples a step, at most 7 at the end; 0\.50 % of its time outside the UNet/);
  });

  it('takes the smallest batch that is nearly as fast as the fastest', () => {
    assert.equal(bestSize([1, 2, 4, 8], [10, 98, 100, 90]), 2);
    assert.equal(bestSize([1, 2], [10, 20]), 2);
  });

  it('draws p95 over load in a panel for each list of steps, and bursts as bars', () => {
    const [slow, fast] = [server(BATCHES, [2, 5]), server(ENGINE, [1, 10])];
    const points = [point([20], null, slow, fast), point([20], 0.3, slow, fast), point([20], 0.9, slow, fast), point([1, 2], 0.3, fast)];
    const { panels } = latencyChart(points, 'here');
    assert.deepEqual(panels.map(({ lines }) => lines.map(({ label, own }) => [label, own])), [[[BATCHES, false], [ENGINE, true]], [[ENGINE, true]]]);
    assert.deepEqual(panels[0]!.lines[0]!.points, [[0.3, 2], [0.9, 2]]); // prettier-ignore
    const bars = throughputChart(points, 'here').panels.flatMap((panel) => panel.bars);
    assert.deepEqual(bars.map(({ value, own }) => [value, own]), [[5, false], [10, true]]); // prettier-ignore
  });
});
