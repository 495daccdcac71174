import assert from 'node:assert/strict';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, Tensor, type RunOptions } from '../../../ts/index';
import { freedBy } from '../tensor/freed';
import { fresh, isDisposed, MODEL, rejects, seeded, TinyUNet } from './helpers';

/** Runs it, and checks that every sample the model got and every output it gave is freed. */
async function freesAll(options: RunOptions, ends: (run: Promise<unknown>) => Promise<unknown>): Promise<void> {
  const unet = new TinyUNet();
  await ends(new DDPMPipeline({ unet, scheduler: new DDPMScheduler() }).run(options));
  assert.ok(unet.calls.length > 0);
  for (const [i, { sample, output }] of unet.calls.entries()) {
    assert.ok(isDisposed(sample), `the samples of step ${i}`);
    assert.ok(isDisposed(output), `the output of step ${i}`);
  }
}

describe('pipelines: memory', () => {
  const done = (run: Promise<unknown>) => run;
  const fails = (run: Promise<unknown>) => assert.rejects(run);

  it('of every step is freed when the step is done, without the garbage collector', async () => {
    for (const outputType of ['image', 'tensor', 'uint8'] as const) await freesAll({ numInferenceSteps: 6, outputType }, done);
    await freesAll({ numInferenceSteps: 6, latents: seeded(1, [2, 1, 4, 4]) }, done);
    await freesAll({ numInferenceSteps: 6, latents: seeded(1, [2, 1, 4, 4], 'float16') }, done);
    const alive: number[] = [];
    const unet = new TinyUNet();
    await new DDIMPipeline({ unet, scheduler: new DDIMScheduler() }).run({
      numInferenceSteps: 6,
      onProgress: () => void alive.push(unet.calls.filter(({ sample, output }) => !isDisposed(sample) || !isDisposed(output)).length),
    });
    assert.deepEqual(alive, [0, 0, 0, 0, 0, 0]);
  });

  it('is freed with a callback too, but for what the callback was given', async () => {
    const given: Tensor[] = [];
    await freesAll({ numInferenceSteps: 4, callbackOnStepEnd: ({ latents }) => void given.push(latents) }, done);
    assert.ok(given.every((tensor) => !isDisposed(tensor)));
    const other = seeded(3, [1, 1, 4, 4]);
    await freesAll({ numInferenceSteps: 4, callbackOnStepEnd: () => ({ latents: other }) }, done);
    assert.ok(!isDisposed(other));
  });

  it('is freed where a run fails or is aborted', async () => {
    const fail = () => {
      throw new Error('mine');
    };
    await freesAll({ numInferenceSteps: 4, callbackOnStepEnd: fail }, fails);
    await freesAll({ numInferenceSteps: 4, onProgress: fail }, fails);
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    await freesAll({ numInferenceSteps: 4, signal: controller.signal, onProgress }, fails);
    const unet = new TinyUNet();
    const forward = unet.forward.bind(unet);
    unet.forward = async (sample, timestep, options) => {
      if (timestep === 250) throw new Error('mine');
      return forward(sample, timestep, options);
    };
    let last: Tensor | undefined;
    const pipe = new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });
    await fails(pipe.run({ numInferenceSteps: 4, callbackOnStepEnd: ({ latents }) => void (last = latents) }));
    assert.equal(unet.calls.length, 2);
    assert.ok(unet.calls.every(({ sample, output }) => isDisposed(sample) && isDisposed(output)));
    assert.ok(!isDisposed(last!));
  });

  it('is freed of the copy of latents in another dtype', async () => {
    const pipe = new DDIMPipeline({ unet: new TinyUNet(), scheduler: new DDIMScheduler() });
    const freedFor = async (latents: Tensor) => (await freedBy(() => pipe.run({ numInferenceSteps: 2, latents }))).length;
    const same = await freedFor(seeded(1, [1, 1, 4, 4]));
    assert.equal(await freedFor(seeded(1, [1, 1, 4, 4], 'float16')), same + 1);
  });

  it('of a run does not grow with its steps', async () => {
    // 36 MiB a tensor: malloc gives blocks above 32 MiB back to the system. All of the run's would be 864 MiB.
    const latents = seeded(1, [1, 1, 3072, 3072]);
    const pipe = new DDIMPipeline({ unet: new TinyUNet({ predict: (x) => x.mul(0.5) }), scheduler: new DDIMScheduler() });
    const before = process.memoryUsage().rss;
    let peak = 0;
    const onProgress = () => void (peak = Math.max(peak, process.memoryUsage().rss - before));
    await pipe.run({ latents, numInferenceSteps: 8, onProgress });
    latents.dispose();
    assert.ok(peak < 300 * 2 ** 20, `the run held ${Math.round(peak / 2 ** 20)} MiB`);
  });
});

describe('pipelines: dispose', () => {
  it('frees the unet, once or twice, and with `using`', async () => {
    for (const Pipeline of [DDIMPipeline, DDPMPipeline]) {
      const unet = new TinyUNet();
      const pipe = new Pipeline({ unet, scheduler: new DDPMScheduler() });
      pipe.dispose();
      assert.ok(unet.disposed);
      pipe.dispose();
      const other = new TinyUNet();
      new Pipeline({ unet: other, scheduler: new DDPMScheduler() })[Symbol.dispose]();
      assert.ok(other.disposed);
    }
  });

  it('ends what comes after it with ERR_DISPOSED, in the middle of a run too', async () => {
    const pipe = await DDIMPipeline.fromPretrained(MODEL);
    const generator = fresh(1);
    let steps = 0;
    const onProgress = () => {
      steps++;
      pipe.dispose();
    };
    await rejects(() => pipe.run({ numInferenceSteps: 3, onProgress }), 'ERR_DISPOSED', /disposed/);
    assert.equal(steps, 1);
    await rejects(() => pipe.run({ numInferenceSteps: 3, generator }), 'ERR_DISPOSED', /disposed/);
    await rejects(() => pipe.to({ dtype: 'float16' }), 'ERR_DISPOSED', /disposed/);
  });

  it('waits for no step under way: it ends, then the run does', async () => {
    const pipe = await DDIMPipeline.fromPretrained(MODEL);
    const pending = rejects(() => pipe.run({ numInferenceSteps: 3 }), 'ERR_DISPOSED', /disposed/);
    pipe.dispose();
    await pending;
  });
});
