import assert from 'node:assert/strict';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, randn, type StepEnd, type Tensor } from '../../../ts/index';
import { assertClose, assertSame, fresh, MODEL, rejects, TinyUNet } from './helpers';

describe('pipelines: half types', () => {
  it('only the model is half: the latents of every step are float32, and so are the images', async () => {
    const pipe = await DDIMPipeline.fromPretrained(MODEL);
    const options = { numInferenceSteps: 3, latents: randn([1, 1, 32, 32], { generator: fresh(1) }), outputType: 'tensor' } as const;
    const full = (await pipe.run(options)).images;
    for (const dtype of ['bfloat16', 'float16'] as const) {
      assert.equal(await pipe.to({ dtype }), pipe);
      assert.equal(pipe.unet.dtype, dtype);
      const seen: StepEnd[] = [];
      const callbackOnStepEnd = (state: StepEnd) => void seen.push(state);
      const { images } = await pipe.run({ ...options, callbackOnStepEnd });
      assert.deepEqual(seen.map(({ latents, predOriginalSample }) => [latents.dtype, predOriginalSample.dtype]), [
        ['float32', 'float32'],
        ['float32', 'float32'],
        ['float32', 'float32'],
      ]);
      assert.equal(images.dtype, 'float32');
      const last = seen[2]!.latents;
      assert.ok(last.to({ dtype }).to({ dtype: 'float32' }).sub(last).abs().amax().item() > 0, 'no half holds them');
      assertClose(images, full, 0.2, dtype);
      assert.ok(images.sub(full).abs().amax().item() > 0);
    }
    await pipe.to({ dtype: 'float32' });
    assertClose((await pipe.run(options)).images, full, 0.05, 'weights that were float16 once');
    pipe.dispose();
  });

  for (const dtype of ['bfloat16', 'float16'] as const) {
    /** The loop in float32 with a half model and half noise; gives x_0. */
    const byHand = async (scheduler: DDIMScheduler | DDPMScheduler, options: { eta?: number }): Promise<Tensor> => {
      const unet = new TinyUNet({ dtype });
      const generator = fresh(5);
      const draw = () => randn([2, 1, 4, 4], { generator, dtype }).to({ dtype: 'float32' });
      let x = draw();
      for (const t of scheduler.timesteps) {
        const out = (await unet.forward(x, t)).sample.to({ dtype: 'float32' });
        const draws = scheduler instanceof DDPMScheduler ? t > 0 : (options.eta ?? 0) > 0;
        x = scheduler.step(out, t, x, { ...options, ...(draws ? { varianceNoise: draw() } : {}) }).prevSample;
      }
      return x;
    };
    const image = (x: Tensor): Tensor => x.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]);
    const options = { batchSize: 2, numInferenceSteps: 4, outputType: 'tensor' } as const;

    it(`the first noise and every step’s are randn in ${dtype}`, async () => {
      const ddim = new DDIMScheduler();
      ddim.setTimesteps(4);
      const unet = new TinyUNet({ dtype });
      const pipe = new DDIMPipeline({ unet, scheduler: ddim });
      assertSame((await pipe.run({ ...options, generator: fresh(5) })).images, image(await byHand(ddim, {})));
      assert.equal(unet.calls[0]!.dtype, 'float32');
      const { images } = await pipe.run({ ...options, eta: 1, generator: fresh(5) });
      assertSame(images, image(await byHand(ddim, { eta: 1 })), 'with η = 1');
      const ddpm = new DDPMScheduler();
      ddpm.setTimesteps(4);
      const ancestral = new DDPMPipeline({ unet: new TinyUNet({ dtype }), scheduler: ddpm });
      assertSame((await ancestral.run({ ...options, generator: fresh(5) })).images, image(await byHand(ddpm, {})), 'DDPM');
    });
  }

  it('a float64 model has float64 latents and noise, and float32 images', async () => {
    const pipe = new DDIMPipeline({ unet: new TinyUNet({ dtype: 'float64' }), scheduler: new DDIMScheduler() });
    const dtypes: string[] = [];
    const { images } = await pipe.run({
      numInferenceSteps: 2,
      outputType: 'tensor',
      callbackOnStepEnd: ({ latents }) => void dtypes.push(latents.dtype),
    });
    assert.deepEqual([images.dtype, ...dtypes], ['float32', 'float64', 'float64']);
  });

  it('to wants a dtype and device that there are', async () => {
    const pipe = await DDIMPipeline.fromPretrained(MODEL);
    await rejects(() => pipe.to({ dtype: 'float8' as never }), 'ERR_DTYPE', /float8/);
    await rejects(() => pipe.to({ device: 'cuda:77' }), 'ERR_DEVICE', /cuda:77/);
    await rejects(() => pipe.to({ dtyp: 'float16' } as never), 'ERR_ARGUMENT', /unknown option "dtyp"; did you mean dtype/);
    assert.deepEqual([pipe.unet.dtype, pipe.unet.device], ['float32', 'cpu']);
    pipe.dispose();
  });
});
