import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { DDIMScheduler, ones, randn, tidy, zeros } from '../../ts/index';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const turn = () => new Promise((resolve) => setImmediate(resolve));
const MiB = 2 ** 20;
const root = join(__dirname, '../..');

async function collect(): Promise<void> {
  ones([1]).dispose(); // the addon's own pages are there before anything is measured
  for (let i = 0; i < 3; i++) {
    gc();
    await turn();
  }
}

/** Runs TypeScript in a child process, so that what it crashes is not the test. */
const inChild = (program: string) =>
  spawnSync(process.execPath, ['--require', 'tsx/cjs', '--eval', program], { cwd: root, encoding: 'utf8', timeout: 60_000 });

describe('memory', () => {
  it('is freed with the objects', async () => {
    await collect();
    const before = process.memoryUsage().rss;
    // Blocks of more than 32 MiB: malloc gives them back to the system when they are freed.
    const tensors = Array.from({ length: 4 }, () => ones([16, MiB]));
    const held = process.memoryUsage().rss - before;
    assert.ok(held > 200 * MiB, `four tensors of 64 MiB hold ${held / MiB} MiB`);
    tensors.length = 0;
    await collect();
    const left = process.memoryUsage().rss - before;
    assert.ok(left < 96 * MiB, `${left / MiB} MiB are left of four tensors of 64 MiB`);
  });

  it('drives the garbage collector by itself: V8 is told of native bytes', async () => {
    await collect();
    const before = process.memoryUsage().rss;
    let peak = 0;
    for (let i = 0; i < 32; i++) {
      ones([16, MiB]);
      await turn();
      peak = Math.max(peak, process.memoryUsage().rss - before);
    }
    assert.ok(peak < 1024 * MiB, `32 tensors of 64 MiB held ${Math.round(peak / MiB)} MiB at once`);
  });

  it('stays flat over steps in a tidy scope', async () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(10);
    const x = randn([4, 3, 32, 32]);
    const round = () => tidy(() => void scheduler.step(x, 500, x, { eta: 1 }));
    for (let i = 0; i < 100; i++) round();
    await collect();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 400; i++) round();
    await collect();
    assert.ok(process.memoryUsage().rss - before < 32 * MiB, `grew by ${(process.memoryUsage().rss - before) / MiB} MiB`);
  });
});

describe('environments', () => {
  const work = `
    require('tsx/cjs');
    const { parentPort } = require('node:worker_threads');
    const { DDIMScheduler, Generator, randn } = require('./ts/index.ts');
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(50);
    const x = randn([2, 3, 8, 8], { generator: new Generator({ seed: 1 }) });
    const { prevSample } = scheduler.step(x, 500, x);
    parentPort.postMessage(prevSample.toTypedArray());
  `;

  it('load in several workers at once, give the same numbers, and survive their end', async () => {
    const results = await Promise.all(
      Array.from({ length: 4 }, () => {
        const worker = new Worker(work, { eval: true });
        return new Promise<Float32Array>((resolve, reject) => {
          let message: Float32Array;
          worker.once('message', (data: Float32Array) => (message = data));
          worker.once('error', reject);
          worker.once('exit', () => resolve(message));
        });
      }),
    );
    for (const result of results) assert.deepEqual(result, results[0]);
    assert.equal(results[0]!.length, 2 * 3 * 8 * 8);
    assert.equal(zeros([2]).numel, 2);
  });

  // A step long enough that the process ends inside it.
  const busy = `
    const { DDPMScheduler, randn } = require('./ts/index.ts');
    const scheduler = new DDPMScheduler();
    const x = randn([8, 3, 512, 512]);
    for (let i = 0; i < 8; i++) void scheduler.stepAsync(x, 500, x, {});
  `;

  it('process.exit() in mid-step ends with its own status', () => {
    const { status, signal, stderr } = inChild(`${busy} setTimeout(() => process.exit(7), 20);`);
    assert.deepEqual([status, signal], [7, null], stderr);
  });

  it('an uncaught error in mid-step ends as one', () => {
    const { status, signal, stderr } = inChild(`${busy} setTimeout(() => { throw new Error('on purpose'); }, 20);`);
    assert.deepEqual([status, signal], [1, null], stderr);
    assert.match(stderr, /on purpose/);
  });

  it('worker.terminate() in mid-step leaves the process whole', () => {
    const program = `
      const { Worker } = require('node:worker_threads');
      const worker = new Worker(${JSON.stringify(`require('tsx/cjs'); ${busy}; require('node:worker_threads').parentPort.postMessage(0)`)}, { eval: true });
      worker.once('message', async () => {
        await worker.terminate();
        const { zeros } = require('./ts/index.ts');
        process.exitCode = zeros([3]).numel;
      });
    `;
    const { status, signal, stderr } = inChild(program);
    assert.deepEqual([status, signal], [3, null], stderr);
  });

  it('worker.terminate() between the promises of a loop leaves it whole, many times over', () => {
    // A call that has just come back, or one that is just being made, meets an environment in which no JavaScript runs.
    const loop = `
      require('tsx/cjs');
      const { UNet2DModel, randn } = require('./ts/index.ts');
      const unet = UNet2DModel.fromConfig({ sampleSize: 8, inChannels: 1, outChannels: 1, blockOutChannels: [8], normNumGroups: 4,
        downBlockTypes: ['DownBlock2D'], upBlockTypes: ['UpBlock2D'] });
      const x = randn([1, 1, 8, 8]);
      require('node:worker_threads').parentPort.postMessage(0);
      (async () => { for (;;) await unet.forward(x, 1); })();
    `;
    const program = `
      const { Worker } = require('node:worker_threads');
      (async () => {
        for (let round = 0; round < 12; round++) {
          const worker = new Worker(${JSON.stringify(loop)}, { eval: true });
          await new Promise((resolve) => worker.once('message', resolve));
          await new Promise((resolve) => setTimeout(resolve, 10 + 3 * round));
          await worker.terminate();
        }
        console.log('whole');
      })();
    `;
    const { status, signal, stdout, stderr } = inChild(program);
    assert.deepEqual([status, signal], [0, null], stderr);
    assert.match(stdout, /whole/);
  });

  it('an idle addon does not keep the process alive', () => {
    const { status, signal, stderr } = inChild(`require('./ts/index.ts').zeros([1]);`);
    assert.deepEqual([status, signal], [0, null], stderr);
  });

  it('pending work does', () => {
    const { status, stdout, stderr } = inChild(`
      const { DDPMScheduler, randn } = require('./ts/index.ts');
      const x = randn([8, 3, 256, 256]);
      new DDPMScheduler().stepAsync(x, 500, x, {}).then(({ prevSample }) => console.log('done', prevSample.numel));
    `);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /done 1572864/);
  });
});

describe('the event loop', () => {
  it('turns while steps run', async () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(10);
    const x = randn([16, 3, 256, 256]);
    let worst = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      worst = Math.max(worst, now - last);
      last = now;
    }, 1);
    const steps = Array.from({ length: 6 }, () => scheduler.stepAsync(x, 500, x, { eta: 1 }));
    for (const { prevSample } of await Promise.all(steps)) prevSample.dispose();
    clearInterval(timer);
    assert.ok(worst < 100, `the event loop stood still for ${worst.toFixed(1)} ms`);
  });

  it('disposing inputs in mid-step frees nothing under it', async () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(10);
    const expected = scheduler.step(zeros([8, 3, 128, 128]), 500, zeros([8, 3, 128, 128])).prevSample.sum().item();
    const x = zeros([8, 3, 128, 128]);
    const pending = scheduler.stepAsync(x, 500, x, {});
    x.dispose();
    assert.equal((await pending).prevSample.sum().item(), expected);
  });
});
