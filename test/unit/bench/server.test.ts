import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { zeros, type Tensor } from '../../../ts/index';
import { playTrace } from '../../../scripts/bench/server';
import type { TraceRequest } from '../../../scripts/bench/trace';

const request = (arrival: number, seed: number): TraceRequest => ({ arrival, steps: 1, seed });

describe('bench: server', () => {
  it('hands each request over when it is due and counts from the time in the trace', async () => {
    const started = performance.now();
    const seen: number[] = [];
    const images: Tensor[] = [];
    const { latencies, seconds, late } = await playTrace([request(0, 0), request(0.03, 1), request(0.03, 2)], async () => {
      seen.push((performance.now() - started) / 1000);
      await pause(20);
      images.push(zeros([1]));
      return images.at(-1)!;
    });
    assert.ok(seen[0]! < seen[1]! && seen[1]! >= 0.03 && seen[2]! >= 0.03, String(seen));
    assert.ok(latencies.every((one) => one >= 0.019), String(latencies));
    assert.ok(seconds >= Math.max(latencies[1]!, latencies[2]!) + 0.0299, 'to the last image, from the start');
    assert.equal(late!.length, 3);
    assert.ok(late!.every((one) => one >= 0));
    for (const image of images) assert.throws(() => image.toTypedArray(), { code: 'ERR_DISPOSED' });
  });

  it('counts a wait for a busy event loop to the request', async () => {
    const { latencies } = await playTrace([request(0, 0), request(0.001, 1)], ({ seed }) => {
      for (const until = performance.now() + 30; seed === 0 && performance.now() < until; );
      return Promise.resolve(zeros([1]));
    });
    assert.ok(latencies[1]! >= 0.025, String(latencies));
  });

  it('fails with the first failure, once all were handed over', async () => {
    let handed = 0;
    const failing = playTrace([request(0, 0), request(0.02, 1)], () => Promise.reject(new RangeError(String((handed += 1)))));
    await assert.rejects(failing, /1/);
    assert.equal(handed, 2);
  });
});
