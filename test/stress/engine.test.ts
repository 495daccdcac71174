import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  DDIMScheduler,
  DDPMScheduler,
  SamplerEngine,
  UNet2DModel,
  type SampleRequest,
  type Tensor,
} from '../../ts/index';
import { noise, tinyUNet } from '../unit/models/tiny-unet';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const turn = () => new Promise((resolve) => setImmediate(resolve));
const MiB = 2 ** 20;
const root = join(__dirname, '../..');
const EMBEDDED = join(root, 'models/fashion-mnist-ddpm');

/** Numbers in [0, 1) of a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const numbers = (tensor: Tensor): Float32Array => tensor.toTypedArray() as Float32Array;

describe('stress: SamplerEngine', function () {
  this.timeout(240_000);
  const ddim = new DDIMScheduler();
  const ddpm = new DDPMScheduler();
  /** Wants an output of twice the channels: fails at its first step. */
  const learned = new DDPMScheduler({ varianceType: 'learned' });
  const shapes = [[2, 8, 8], [2, 16, 8], [2, 4, 12]]; // prettier-ignore
  let unet: UNet2DModel;
  before(() => (unet = tinyUNet()));
  after(() => unet.dispose());

  type Latent = SampleRequest<'latent'>;
  function randomRequest(random: () => number, seed: number): Latent {
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
    const scheduler = pick([ddim, ddim, ddpm]);
    const shape = pick(shapes);
    return {
      scheduler,
      numInferenceSteps: 1 + Math.floor(random() * 6),
      outputType: 'latent',
      seed,
      rng: pick(['torch', 'philox'] as const),
      priority: pick([0, 0, 0, 1, -1]),
      ...(scheduler === ddim ? { eta: pick([0, 0, 0.5, 1]) } : {}),
      ...(shape === shapes[0] ? {} : { latents: noise(shape, seed) }),
    };
  }

  it('2,000 random requests with cancels, failures and shapes: each ends as it would alone', async () => {
    const random = randomOf(7);
    const engine = new SamplerEngine(unet, { maxBatchSize: 16, maxQueue: 64 });
    const ends = { done: 0, aborted: 0, failed: 0, late: 0 };
    const results: { request: Latent; output: Float32Array }[] = [];
    const one = async (seed: number): Promise<void> => {
      const request: Latent = { ...randomRequest(random, seed), wait: true };
      const fate = random();
      if (fate < 0.1) {
        const controller = new AbortController();
        setTimeout(() => controller.abort(), random() * 30);
        request.signal = controller.signal;
      } else if (fate < 0.2) {
        Object.assign(request, { scheduler: learned, eta: 0 });
      } else if (fate < 0.25) {
        request.deadline = random() * 3;
      }
      try {
        const output = numbers(await engine.sample(request));
        ends.done++;
        const { signal: _signal, deadline: _deadline, ...alone } = request;
        results.push({ request: alone, output });
      } catch (error) {
        const { code } = error as { code: string };
        if (code === 'ERR_ABORTED' && fate < 0.1) ends.aborted++;
        else if (code === 'ERR_SHAPE' && fate >= 0.1 && fate < 0.2) ends.failed++;
        else if (code === 'ERR_DEADLINE' && fate >= 0.2 && fate < 0.25) ends.late++;
        else throw error;
      }
    };
    await Promise.all(Array.from({ length: 2000 }, (_, seed) => one(seed)));
    await engine.drain();
    const { queued, running, images } = engine.stats();
    assert.deepEqual({ queued, running }, { queued: 0, running: 0 });
    assert.ok(images >= ends.done);
    assert.ok(ends.done > 1400 && ends.failed > 150 && ends.aborted > 0 && ends.late > 0, JSON.stringify(ends));

    const lone = new SamplerEngine(unet, { maxBatchSize: 1 });
    for (const { request, output } of results) {
      const alone = numbers(await lone.sample(request));
      const worst = output.reduce((most, value, i) => Math.max(most, Math.abs(value - alone[i]!)), 0);
      assert.ok(worst < 1e-3, `seed ${request.seed}: off by ${worst} from the lone run`);
    }
    await Promise.all([engine.close(), lone.close()]);
  });

  it('memory stays flat over 10,000 requests', async () => {
    const engine = new SamplerEngine(unet, { maxBatchSize: 32 });
    const draw = async (count: number): Promise<void> => {
      for (let left = count; left > 0; left -= 200) {
        await Promise.all(
          Array.from({ length: 200 }, (_, i) =>
            engine.sample({ scheduler: i % 2 ? ddim : ddpm, numInferenceSteps: 1 + (i % 3), seed: i, onStep: () => undefined }),
          ),
        );
      }
      for (let i = 0; i < 3; i++) {
        gc();
        await turn();
      }
    };
    await draw(3000);
    const before = process.memoryUsage().rss;
    await draw(10_000);
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 24 * MiB, `grew by ${(grown / MiB).toFixed(1)} MiB`);
    await engine.close();
  });

  it('engines come and go: threads and memory are given back, also by the garbage collector', async () => {
    const round = async (i: number): Promise<void> => {
      const engine = new SamplerEngine(unet);
      await engine.sample({ scheduler: ddim, numInferenceSteps: 2 });
      if (i % 2 === 0) await engine.close();
    };
    for (let i = 0; i < 20; i++) await round(i);
    for (let i = 0; i < 5; i++) {
      gc();
      await turn();
    }
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 100; i++) {
      await round(i);
      if (i % 20 === 19) gc();
      await turn();
    }
    const grown = process.memoryUsage().rss - before;
    assert.ok(grown < 32 * MiB, `grew by ${(grown / MiB).toFixed(1)} MiB`);
  });

  it('a saturated engine does not hold up the event loop: a timer of 1 ms drifts by less than 20', async () => {
    const model = await UNet2DModel.fromPretrained(EMBEDDED);
    const engine = new SamplerEngine(model, { maxBatchSize: 8 });
    const draws = Array.from({ length: 24 }, (_, seed) =>
      engine.sample({ scheduler: ddpm, numInferenceSteps: 12, seed, onStep: () => undefined, previewEvery: 3 }),
    );
    await turn();
    const drifts: number[] = [];
    let due = performance.now() + 1;
    const timer = setInterval(() => {
      const now = performance.now();
      drifts.push(now - due);
      due = now + 1;
    }, 1);
    await Promise.all(draws);
    clearInterval(timer);
    drifts.sort((a, b) => a - b);
    const [median, worst] = [drifts[Math.floor(drifts.length / 2)]!, drifts.at(-1)!];
    assert.ok(drifts.length > 50, `${drifts.length} ticks`);
    assert.ok(worst < 20, `drifted by ${worst.toFixed(1)} ms, ${median.toFixed(2)} in the median`);
    await engine.close();
    model.dispose();
  });
});

describe('the end of an environment under an engine', function () {
  this.timeout(60_000);
  const busy = `
    const { DDIMScheduler, SamplerEngine, UNet2DModel } = require('./ts/index.ts');
    const work = (async () => {
      const engine = new SamplerEngine(await UNet2DModel.fromPretrained('models/fashion-mnist-ddpm'));
      let begun;
      const first = new Promise((resolve) => (begun = resolve));
      for (let seed = 0; seed < 8; seed++) {
        engine.sample({ scheduler: new DDIMScheduler(), numInferenceSteps: 1000, seed, onStep: begun }).catch(() => 0);
      }
      await first;
      return engine;
    })();
  `;
  const inChild = (program: string) =>
    spawnSync(process.execPath, ['--require', 'tsx/cjs', '--eval', program], { cwd: root, encoding: 'utf8', timeout: 50_000 });

  it('process.exit() in mid-batch ends with its own status', () => {
    const { status, signal, stderr } = inChild(`${busy} work.then(() => process.exit(7));`);
    assert.deepEqual([status, signal], [7, null], stderr);
  });

  it('an uncaught error in mid-batch ends as one', () => {
    const { status, signal, stderr } = inChild(`${busy} work.then(() => setImmediate(() => { throw new Error('on purpose'); }));`);
    assert.deepEqual([status, signal], [1, null], stderr);
    assert.match(stderr, /on purpose/);
  });

  it('worker.terminate() in mid-batch leaves the process whole', () => {
    const program = `
      const { Worker } = require('node:worker_threads');
      const worker = new Worker(${JSON.stringify(`require('tsx/cjs'); ${busy}; work.then(() => require('node:worker_threads').parentPort.postMessage(0));`)}, { eval: true });
      worker.once('message', async () => {
        await worker.terminate();
        process.exitCode = require('./ts/index.ts').zeros([3]).numel;
      });
    `;
    const { status, signal, stderr } = inChild(program);
    assert.deepEqual([status, signal], [3, null], stderr);
  });

  it('an idle engine that nobody closed does not keep the process alive', () => {
    const { status, signal, stderr } = inChild(`
      const { DDIMScheduler, SamplerEngine, UNet2DModel } = require('./ts/index.ts');
      UNet2DModel.fromPretrained('models/fashion-mnist-ddpm').then(async (unet) => {
        const engine = globalThis.engine = new SamplerEngine(unet);
        await engine.sample({ scheduler: new DDIMScheduler(), numInferenceSteps: 2 });
      });
    `);
    assert.deepEqual([status, signal], [0, null], stderr);
  });
});
