// One process of `bench unet --load`: reads the weights, loads the model, runs one forward, and prints what it saw.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { randn, UNet2DModel } from '../../ts/index';
import type { LoadOnce } from './loading';

/** Looks at the process's anonymous memory every millisecond, on a thread of its own; [0] peak in kB, [1] go on. */
const WATCHER = `
const { workerData } = require('node:worker_threads');
const { readFileSync } = require('node:fs');
const seen = new Int32Array(workerData);
while (Atomics.wait(seen, 1, 1, 1) === 'timed-out') {
  const anonymous = Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? 0);
  if (anonymous > Atomics.load(seen, 0)) Atomics.store(seen, 0, anonymous);
}`;

const anonymousKb = (): number =>
  Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? 0);

/** The seconds of reading a file into fresh memory, page cache warm. */
function readOnce(file: string, size: number): number {
  const started = performance.now();
  const bytes = Buffer.allocUnsafeSlow(size);
  const descriptor = openSync(file, 'r');
  for (let at = 0, got = 1; at < size && got > 0; at += got) got = readSync(descriptor, bytes, at, size - at, null);
  closeSync(descriptor);
  return (performance.now() - started) / 1000;
}

async function main(): Promise<void> {
  const [folder, weights] = process.argv.slice(2) as [string, string];
  const { size } = await import('node:fs/promises').then(({ stat }) => stat(weights));
  randn([1]).dispose(); // the addon and libtorch are there before anything is timed
  const seen = new Int32Array(new SharedArrayBuffer(8));
  seen[1] = 1;
  const watcher = new Worker(WATCHER, { eval: true, workerData: seen.buffer });
  await new Promise((resolve) => watcher.once('online', resolve));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const before = anonymousKb();
  Atomics.store(seen, 0, 0);

  let started = performance.now();
  const unet = await UNet2DModel.fromPretrained(folder);
  const loadSeconds = (performance.now() - started) / 1000;
  const loadPeak = Math.max(Atomics.load(seen, 0), anonymousKb());
  const { inChannels, sampleSize } = unet.config;
  const [height, width] = typeof sampleSize === 'number' ? [sampleSize, sampleSize] : [sampleSize![0]!, sampleSize![1]!];
  const sample = randn([1, inChannels, height, width]);
  started = performance.now();
  (await unet.forward(sample, 500)).sample.dispose();
  const forwardSeconds = (performance.now() - started) / 1000;
  const forwardPeak = Math.max(Atomics.load(seen, 0), anonymousKb());
  Atomics.store(seen, 1, 0);
  Atomics.notify(seen, 1);

  readOnce(weights, size); // warms the page cache, should the load not have
  const result: LoadOnce = {
    readSeconds: readOnce(weights, size),
    loadSeconds,
    forwardSeconds,
    loadBytes: (loadPeak - before) * 1024,
    forwardBytes: (forwardPeak - before) * 1024,
  };
  process.stdout.write(JSON.stringify(result));
}
void main();
