import assert from 'node:assert/strict';
import { cat, DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, randn, type Tensor } from '../../../ts/index';
import { assertSame, fresh, rejects, TinyUNet } from './helpers';

/** The mean of a {@link TinyUNet} and, beside it in the channels, what it says of the variance. */
const withVariance = (variance: (mean: Tensor) => Tensor) =>
  new TinyUNet({
    inChannels: 2,
    outChannels: 4,
    predict: (x) => {
      const mean = x.mul(0.4).add(0.05);
      return cat([mean, variance(mean)], 1);
    },
  });

const meanOnly = () => new TinyUNet({ inChannels: 2, outChannels: 2, predict: (x) => x.mul(0.4).add(0.05) });
const options = { batchSize: 2, numInferenceSteps: 6, outputType: 'tensor' } as const;

describe('pipelines: a model with learned variance', () => {
  for (const [varianceType, variance] of [
    ['learned_range', (mean: Tensor) => mean.clamp(-1, 1)],
    ['learned', (mean: Tensor) => mean.pow(2).mul(0.01)],
  ] as const) {
    it(`of type ${varianceType} sets DDPM’s noise`, async () => {
      const unet = withVariance(variance);
      const scheduler = new DDPMScheduler({ varianceType });
      const { images } = await new DDPMPipeline({ unet, scheduler }).run({ ...options, generator: fresh(1) });
      assert.deepEqual(images.shape, [2, 4, 4, 2]);
      assert.deepEqual(unet.calls[1]!.shape, [2, 2, 4, 4], 'the samples keep the model’s input channels');
      scheduler.setTimesteps(6);
      const generator = fresh(1);
      let x = randn([2, 2, 4, 4], { generator });
      for (const t of scheduler.timesteps) {
        x = scheduler.step((await unet.forward(x, t)).sample, t, x, { generator }).prevSample;
      }
      assertSame(images, x.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]));
      const fixed = new DDPMPipeline({ unet: meanOnly(), scheduler: new DDPMScheduler() });
      const other = (await fixed.run({ ...options, generator: fresh(1) })).images;
      assert.ok(images.sub(other).abs().amax().item() > 1e-3);
    });
  }

  it('loses its variance half under DDIM', async () => {
    const scheduler = new DDPMScheduler({ varianceType: 'learned_range' });
    for (const eta of [0, 1]) {
      const pipe = new DDIMPipeline({ unet: withVariance((mean) => mean.mul(1e6)), scheduler });
      const plain = new DDIMPipeline({ unet: meanOnly(), scheduler: new DDIMScheduler() });
      const { images } = await pipe.run({ ...options, eta, generator: fresh(1) });
      assertSame(images, (await plain.run({ ...options, eta, generator: fresh(1) })).images);
    }
  });

  it('is wanted where the scheduler wants it, and only of twice the channels', async () => {
    const scheduler = new DDPMScheduler({ varianceType: 'learned' });
    const unet = meanOnly();
    await rejects(() => new DDPMPipeline({ unet, scheduler }).run(options), 'ERR_SHAPE', /modelOutput/);
    const thrice = new TinyUNet({ inChannels: 1, outChannels: 3, predict: (x) => cat([x, x, x], 1) });
    await rejects(() => new DDIMPipeline({ unet: thrice, scheduler }).run(options), 'ERR_SHAPE', /modelOutput/);
    const negative = withVariance((mean) => mean.mul(0).add(-1));
    await rejects(() => new DDPMPipeline({ unet: negative, scheduler }).run(options), 'ERR_ARGUMENT', /negative/);
  });
});
