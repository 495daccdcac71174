import assert from 'node:assert/strict';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, Tensor, type RunProgress, type StepEnd } from '../../../ts/index';
import { assertClose, assertSame, fresh, MODEL, rejects, seeded, TinyUNet } from './helpers';

const ddim = (unet = new TinyUNet()) => new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });
const later = () => new Promise<void>((resolve) => setTimeout(resolve, 2));

describe('pipelines: callbackOnStepEnd', () => {
  it('is called after every step with its index, timestep, x_s and x̂_0', async () => {
    const states: StepEnd[] = [];
    const unet = new TinyUNet();
    const { images } = await ddim(unet).run({
      numInferenceSteps: 4,
      latents: seeded(1, [2, 1, 4, 4]),
      outputType: 'tensor',
      callbackOnStepEnd: (state) => void states.push(state),
    });
    assert.deepEqual(states.map(({ step, timestep }) => [step, timestep]), [[0, 750], [1, 500], [2, 250], [3, 0]]);
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(4);
    let x = seeded(1, [2, 1, 4, 4]);
    for (const { timestep, latents, predOriginalSample, ...rest } of states) {
      assert.deepEqual(Object.keys(rest), ['step']);
      const out = (await new TinyUNet().forward(x, timestep)).sample;
      const expected = scheduler.step(out, timestep, x);
      assertSame(latents, expected.prevSample);
      assertSame(predOriginalSample, expected.predOriginalSample);
      x = expected.prevSample;
    }
    assertSame(images, x.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]));
  });

  it('gets previews that become the image, on the embedded model with DDPM', async () => {
    const pipe = await DDPMPipeline.fromPretrained(MODEL);
    let last: Tensor | undefined;
    const { images } = await pipe.run({
      timesteps: [999, 500, 0],
      generator: fresh(1),
      outputType: 'tensor',
      callbackOnStepEnd: ({ predOriginalSample }) => void (last = predOriginalSample),
    });
    // DDPM adds no noise at the last step, whose mean is x̂_0.
    assertClose(images, last!.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]), 1e-6);
    pipe.dispose();
  });

  it('keeps its tensors, and may dispose them, without the run’s notice', async () => {
    const expected = await ddim().run({ numInferenceSteps: 5, generator: fresh(1), outputType: 'tensor' });
    const kept: Tensor[] = [];
    const keeping = await ddim().run({
      numInferenceSteps: 5,
      generator: fresh(1),
      outputType: 'tensor',
      callbackOnStepEnd: ({ latents, predOriginalSample }) => void kept.push(latents, predOriginalSample),
    });
    assertSame(keeping.images, expected.images);
    assert.equal(kept.length, 10);
    for (const tensor of kept) assert.equal(tensor.toTypedArray().length, 16);
    const disposing = await ddim().run({
      numInferenceSteps: 5,
      generator: fresh(1),
      outputType: 'tensor',
      callbackOnStepEnd: ({ latents, predOriginalSample }) => {
        latents.dispose();
        predOriginalSample.dispose();
      },
    });
    assertSame(disposing.images, expected.images);
  });

  it('is awaited before the next step begins, and onProgress comes after it', async () => {
    const events: string[] = [];
    const unet = new TinyUNet({
      predict: (x, t) => {
        events.push(`forward ${t}`);
        return x.mul(0.5);
      },
    });
    await ddim(unet).run({
      timesteps: [900, 100],
      callbackOnStepEnd: async ({ step }) => {
        events.push(`begin ${step}`);
        await later();
        events.push(`end ${step}`);
      },
      onProgress: ({ step }) => void events.push(`progress ${step}`),
    });
    const expected = ['forward 900', 'begin 0', 'end 0', 'progress 1', 'forward 100', 'begin 1', 'end 1', 'progress 2'];
    assert.deepEqual(events, expected);
  });

  it('may replace the latents, at once or later, which stay the callback’s own', async () => {
    const other = seeded(77, [1, 1, 4, 4]);
    const before = other.toTypedArray();
    const options = { timesteps: [900, 500, 100], generator: fresh(1), outputType: 'tensor' } as const;
    for (const wait of [false, true]) {
      const { images } = await ddim().run({
        ...options,
        callbackOnStepEnd: ({ step }) => {
          if (step !== 1) return undefined;
          return wait ? later().then(() => ({ latents: other })) : { latents: other };
        },
      });
      assertSame(images, (await ddim().run({ timesteps: [100], latents: other, outputType: 'tensor' })).images);
      assert.deepEqual(other.toTypedArray(), before);
    }
    const { images } = await ddim().run({ ...options, callbackOnStepEnd: () => ({ latents: other }) });
    assertSame(images, other.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]), 'after the last step');
    assert.deepEqual(other.toTypedArray(), before);
  });

  it('may replace them by ones of another dtype or by what it was given', async () => {
    const options = { numInferenceSteps: 3, outputType: 'tensor' } as const;
    const expected = await ddim().run({ ...options, generator: fresh(1) });
    const same = await ddim().run({ ...options, generator: fresh(1), callbackOnStepEnd: ({ latents }) => ({ latents }) });
    assertSame(same.images, expected.images);
    const wide = await ddim().run({
      ...options,
      generator: fresh(1),
      callbackOnStepEnd: ({ latents }) => ({ latents: latents.to({ dtype: 'float64' }) }),
    });
    assertSame(wide.images, expected.images);
    const nothing = await ddim().run({ ...options, generator: fresh(1), callbackOnStepEnd: () => ({}) });
    assertSame(nothing.images, expected.images);
  });

  it('must replace them by a tensor of their shape', async () => {
    const returning = (latents: unknown) =>
      ddim().run({ numInferenceSteps: 2, callbackOnStepEnd: () => ({ latents }) as { latents: Tensor } });
    const wrong = seeded(1, [1, 1, 4, 5]);
    await rejects(() => returning(wrong), 'ERR_SHAPE', /of shape \[1, 1, 4, 4\], got \[1, 1, 4, 5\]/);
    assert.equal(wrong.numel, 20);
    await rejects(() => returning([0]), 'ERR_ARGUMENT', /callbackOnStepEnd must return latents as a Tensor, got \[0\]/);
    await rejects(() => returning(null), 'ERR_ARGUMENT', /got null/);
  });

  it('rejects the run with what it throws, and the pipeline stays usable', async () => {
    const unet = new TinyUNet();
    const pipe = ddim(unet);
    const mine = new Error('mine');
    const throwing: (() => Promise<void> | void)[] = [
      () => {
        throw mine;
      },
      () => Promise.reject(mine),
    ];
    for (const callbackOnStepEnd of throwing) {
      const before = unet.calls.length;
      await assert.rejects(pipe.run({ numInferenceSteps: 5, callbackOnStepEnd }), (error) => error === mine);
      assert.equal(unet.calls.length, before + 1, 'no step follows');
    }
    const onProgress = () => {
      throw mine;
    };
    await assert.rejects(pipe.run({ numInferenceSteps: 5, onProgress }), (error) => error === mine);
    assert.equal((await pipe.run({ numInferenceSteps: 2 })).images.length, 1);
  });
});

describe('pipelines: onProgress', () => {
  it('counts the steps done, of all, and their timesteps', async () => {
    const seen: RunProgress[] = [];
    await ddim().run({ numInferenceSteps: 3, onProgress: (progress) => seen.push(progress) });
    assert.deepEqual(seen, [
      { step: 1, totalSteps: 3, timestep: 666 },
      { step: 2, totalSteps: 3, timestep: 333 },
      { step: 3, totalSteps: 3, timestep: 0 },
    ]);
    const pipe = new DDPMPipeline({ unet: new TinyUNet(), scheduler: new DDPMScheduler({ numTrainTimesteps: 1000 }) });
    let count = 0;
    await pipe.run({ onProgress: ({ step, totalSteps }) => void assert.deepEqual([step, totalSteps], [++count, 1000]) });
    assert.equal(count, 1000);
  });
});
