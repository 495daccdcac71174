import assert from 'node:assert/strict';
import { burstOf, poissonTrace, stepsOf } from '../../../scripts/bench/trace';

const options = { seed: 3, count: 20_000, steps: [10, 20, 50], stepsPerSecond: 400 };
const trace = poissonTrace(options);
const arrivals = trace.map(({ arrival }) => arrival);

const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;

describe('bench: trace', () => {
  it('is the same for a seed and another for another', () => {
    assert.deepEqual(poissonTrace(options), trace);
    assert.notDeepEqual(poissonTrace({ ...options, seed: 4 }), trace);
  });

  it('brings exactly the steps a second that were asked for', () => {
    const seconds = stepsOf(trace) / options.stepsPerSecond;
    assert.ok(arrivals[0]! > 0 && arrivals.at(-1)! < seconds);
    assert.ok(Math.abs(arrivals.at(-1)! / seconds - 1) < 1e-3, 'and the last request comes at its end');
  });

  it('has exponential gaps: spread like their mean, e⁻¹ of them above it, none depending on the one before', () => {
    const gaps = arrivals.map((arrival, index) => arrival - (arrivals[index - 1] ?? 0));
    const average = mean(gaps);
    assert.ok(gaps.every((gap) => gap >= 0));
    const deviation = Math.sqrt(mean(gaps.map((gap) => (gap - average) ** 2)));
    assert.ok(Math.abs(deviation / average - 1) < 0.03);
    assert.ok(Math.abs(gaps.filter((gap) => gap > average).length / gaps.length - Math.exp(-1)) < 0.01);
    const products = gaps.slice(1).map((gap, index) => (gap - average) * (gaps[index]! - average));
    assert.ok(Math.abs(mean(products)) / deviation ** 2 < 0.03);
  });

  it('draws each step count as often as the others and gives every request a seed of its own', () => {
    for (const steps of options.steps) {
      assert.ok(Math.abs(trace.filter((one) => one.steps === steps).length / trace.length - 1 / 3) < 0.02);
    }
    assert.equal(new Set(trace.map(({ seed }) => seed)).size, trace.length);
  });

  it('has the same pattern at every rate', () => {
    const slower = poissonTrace({ ...options, stepsPerSecond: 200 });
    slower.forEach(({ arrival, steps, seed }, index) => {
      assert.ok(Math.abs(arrival - 2 * arrivals[index]!) < 1e-9 * arrival);
      assert.deepEqual({ steps, seed }, { steps: trace[index]!.steps, seed: trace[index]!.seed });
    });
  });

  it('bursts with the same requests, all at once', () => {
    assert.deepEqual(burstOf(options), trace.map((one) => ({ ...one, arrival: 0 })));
  });
});
