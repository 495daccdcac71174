import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { measureLoading } from '../../scripts/bench/loading';
import { randn, UNet2DModel } from '../../ts/index';
import { tinyUNet } from '../unit/models/tiny-unet';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const turn = () => new Promise((resolve) => setImmediate(resolve));
const MiB = 2 ** 20;
const EMBEDDED = join(__dirname, '../../models/fashion-mnist-ddpm');

async function rss(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await turn();
  }
  return process.memoryUsage().rss;
}

describe('memory of UNet2DModel', function () {
  this.timeout(120_000);

  /** Loads and runs so many times; half of the handles are left to the garbage collector. */
  async function rounds(count: number, folder: string, size: number): Promise<void> {
    const { inChannels } = (await UNet2DModel.fromPretrained(folder)).config;
    for (let i = 0; i < count; i++) {
      const unet = await UNet2DModel.fromPretrained(folder);
      const x = randn([1, inChannels, size, size]);
      const { sample } = await unet.forward(x, i);
      for (const one of [unet, x, sample]) if (i % 2 === 0 || one !== x) one.dispose();
    }
  }

  it('stays flat over 200 rounds of load, forward and dispose', async () => {
    await rounds(40, EMBEDDED, 8);
    const before = await rss();
    await rounds(200, EMBEDDED, 8);
    const grown = (await rss()) - before;
    // 200 models have 1.4 GiB.
    assert.ok(grown < 48 * MiB, `grew by ${Math.round(grown / MiB)} MiB`);
  });

  it('holds the weights once, and while it loads them not much more', async function () {
    if (process.platform !== 'linux') this.skip();
    const folder = await mkdtemp(join(tmpdir(), 'unet-load-'));
    const unet = tinyUNet({ blockOutChannels: [256, 256], normNumGroups: 32, layersPerBlock: 2 });
    await unet.savePretrained(folder);
    unet.dispose();
    const { loadPeak, weightBytes } = await measureLoading('256 wide', folder, 1);
    await rm(folder, { recursive: true });
    // Pages of the mapped file are not counted: a second copy would be.
    assert.ok(weightBytes > 90e6 && loadPeak.median > 0.8 && loadPeak.median < 1.3, `${loadPeak.median}× the weights`);
  });

  it('stays flat over casts, saves and calls that are cancelled', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'unet-memory-'));
    const unet = tinyUNet({ blockOutChannels: [32, 64] });
    const x = randn([2, 2, 32, 32]);
    const work = async (count: number) => {
      for (let i = 0; i < count; i++) {
        await unet.to({ dtype: i % 2 === 0 ? 'bfloat16' : 'float32' });
        await unet.savePretrained(folder);
        const controller = new AbortController();
        const calls = [1, 2, 3].map((t) => unet.forward(x, t, { signal: controller.signal }));
        const ended = Promise.allSettled(calls);
        controller.abort();
        await ended;
      }
    };
    await work(20);
    const before = await rss();
    await work(60);
    const grown = (await rss()) - before;
    await rm(folder, { recursive: true });
    assert.ok(grown < 32 * MiB, `grew by ${Math.round(grown / MiB)} MiB`);
  });

  it('is told to V8: models that are dropped are freed', async () => {
    const config = { blockOutChannels: [256, 256], normNumGroups: 32, layersPerBlock: 2 };
    const one = tinyUNet(config).parameterCount * 4;
    const before = await rss();
    let peak = 0;
    for (let i = 0; i < 24; i++) {
      tinyUNet(config);
      await turn();
      peak = Math.max(peak, process.memoryUsage().rss - before);
    }
    assert.ok(peak < 16 * one, `24 models of ${Math.round(one / MiB)} MiB held ${Math.round(peak / MiB)} MiB at once`);
  });
});

describe('UNet2DModel and the end of the process', () => {
  const busy = `
    const { randn } = require('./ts/index.ts');
    const { tinyUNet } = require('./test/unit/models/tiny-unet.ts');
    const unet = tinyUNet({ blockOutChannels: [32, 64] });
    const x = randn([4, 2, 64, 64]);
    for (let i = 0; i < 6; i++) void unet.forward(x, i);
  `;
  const inChild = (program: string) =>
    spawnSync(process.execPath, ['--require', 'tsx/cjs', '--eval', program], {
      cwd: join(__dirname, '../..'),
      encoding: 'utf8',
      timeout: 60_000,
    });

  it('process.exit() in mid-forward ends with its own status', () => {
    const { status, signal, stderr } = inChild(`${busy} setTimeout(() => process.exit(7), 50);`);
    assert.deepEqual([status, signal], [7, null], stderr);
  }).timeout(60_000);

  it('worker.terminate() in mid-forward leaves the process and its threads whole', () => {
    const worker = `require('tsx/cjs'); ${busy} require('node:worker_threads').parentPort.postMessage(0);`;
    const { status, signal, stderr } = inChild(`
      const { Worker } = require('node:worker_threads');
      const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
      worker.once('message', async () => {
        await worker.terminate();
        ${busy}
        await unet.forward(x, 1);
        process.exitCode = 3;
      });
    `);
    assert.deepEqual([status, signal], [3, null], stderr);
  }).timeout(60_000);

  it('runs in one worker after another where the main thread never loads the addon', () => {
    const worker = `require('tsx/cjs'); ${busy} void unet.forward(x, 1).then(() => process.exit(0));`;
    const { status, signal, stderr } = inChild(`
      const { Worker } = require('node:worker_threads');
      const run = () => new Promise((resolve, reject) => {
        new Worker(${JSON.stringify(worker)}, { eval: true }).once('exit', resolve).once('error', reject);
      });
      void run().then(run).then((code) => { process.exitCode = 3 + code; });
    `);
    assert.deepEqual([status, signal], [3, null], stderr);
  }).timeout(60_000);
});
