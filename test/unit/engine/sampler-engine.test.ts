import assert from 'node:assert/strict';
import {
  DDIMInverseScheduler,
  DDIMPipeline,
  DDIMScheduler,
  DDPMPipeline,
  DDPMScheduler,
  DiffusionImage,
  Generator,
  SamplerEngine,
  Tensor,
  UNet2DModel,
  type EngineProgress,
} from '../../../ts/index';
import { loadUNet } from '../../../ts/models';
import { archive, rejects } from '../models/fixtures';
import { noise, tinyUNet } from '../models/tiny-unet';

const numbers = (tensor: Tensor): number[] => Array.from(tensor.toTypedArray() as Float32Array);
const closeTo = (a: Tensor, b: Tensor): void => {
  assert.deepEqual(a.shape, b.shape);
  const error = a.sub(b).abs().amax().item();
  assert.ok(error < 1e-4, `off by ${error}`);
};

describe('engine/sampler-engine', () => {
  const scheduler = new DDIMScheduler();
  let unet: UNet2DModel;
  let engine: SamplerEngine;
  before(() => {
    unet = tinyUNet();
    engine = new SamplerEngine(unet, { maxBatchSize: 8 });
  });
  after(async () => {
    await engine.close();
    unet.dispose();
  });

  it('gives the pipelines\' images for the same seeds, whatever shares the batch', async () => {
    const ddpm = new DDPMScheduler();
    const asked = [
      { scheduler, numInferenceSteps: 5, seed: 1 },
      { scheduler, numInferenceSteps: 9, eta: 0.6, seed: 2 },
      { scheduler: ddpm, numInferenceSteps: 7, seed: 3 },
      { scheduler, timesteps: [900, 500, 20], seed: 4 },
      { scheduler, numInferenceSteps: 4, eta: 1, useClippedModelOutput: true, seed: 5 },
    ];
    const got = await Promise.all(asked.map((one) => engine.sample({ ...one, outputType: 'tensor' })));
    for (const [i, { seed, scheduler: kind, ...options }] of asked.entries()) {
      const run = { ...options, generator: new Generator({ seed }), outputType: 'tensor' } as const;
      const { images } =
        kind instanceof DDPMScheduler
          ? await new DDPMPipeline({ unet, scheduler: kind }).run(run)
          : await new DDIMPipeline({ unet, scheduler: kind }).run(run);
      closeTo(got[i]!, images.squeeze(0));
    }
  });

  it('takes a generator, which advances as in a pipeline', async () => {
    const [mine, theirs] = [new Generator({ seed: 8 }), new Generator({ seed: 8 })];
    const sample = await engine.sample({ scheduler, numInferenceSteps: 3, eta: 1, generator: mine, outputType: 'tensor' });
    const pipe = new DDIMPipeline({ unet, scheduler });
    const { images } = await pipe.run({ numInferenceSteps: 3, eta: 1, generator: theirs, outputType: 'tensor' });
    closeTo(sample, images.squeeze(0));
    assert.deepEqual(numbers(mine.getState().to({ dtype: 'float32' })), numbers(theirs.getState().to({ dtype: 'float32' })));
  });

  it('gives each output type its own', async () => {
    const request = { scheduler, numInferenceSteps: 2, seed: 0 } as const;
    const [image, tensor, uint8, latent] = await Promise.all([
      engine.sample({ ...request }),
      engine.sample({ ...request, outputType: 'tensor' }),
      engine.sample({ ...request, outputType: 'uint8' }),
      engine.sample({ ...request, outputType: 'latent' }),
    ]);
    assert.ok(image instanceof DiffusionImage);
    assert.deepEqual([image.width, image.height, image.channels], [8, 8, 2]);
    assert.deepEqual([...tensor.shape, tensor.dtype], [8, 8, 2, 'float32']);
    assert.deepEqual([...uint8.shape, uint8.dtype], [8, 8, 2, 'uint8']);
    assert.deepEqual([...latent.shape, latent.dtype], [2, 8, 8, 'float32']);
    assert.deepEqual(Array.from(image.data), Array.from(uint8.toTypedArray() as Uint8Array));
    closeTo(latent.permute([1, 2, 0]).div(2).add(0.5).clamp(0, 1), tensor);
  });

  it('Philox: the same image again, another for another seed', async () => {
    const draw = (seed: number) =>
      engine.sample({ scheduler: new DDPMScheduler(), numInferenceSteps: 4, seed, rng: 'philox', outputType: 'latent' });
    const [a, b, c] = await Promise.all([draw(1), draw(1), draw(2)]);
    closeTo(a, b);
    assert.ok(a.sub(c).abs().amax().item() > 0.1);
  });

  it('inverts an image, and gets it back', async () => {
    const image = noise([8, 8, 2]).mul(0.2).add(0.5).clamp(0, 1);
    // The ODE turns back where nothing is clipped; far up in the noise, errors grow by 1/√ᾱ_t.
    const config = { clipSample: false };
    const timesteps = Array.from({ length: 61 }, (_, i) => 5 * i);
    const inverted = await engine.sample({ scheduler: new DDIMInverseScheduler(config), timesteps, image, outputType: 'latent' });
    assert.deepEqual(inverted.shape, [2, 8, 8]);
    const back = await engine.sample({
      scheduler: new DDIMScheduler(config),
      timesteps: [...timesteps].reverse(),
      latents: inverted,
      outputType: 'tensor',
    });
    const error = back.sub(image).abs().mean().item();
    assert.ok(error < 0.02, `off by ${error} on average`);
  });

  it('image-to-image goes through the last part of the steps', async () => {
    const steps: number[] = [];
    const image = new DiffusionImage(new Uint8Array(8 * 8 * 2).fill(200), { width: 8, height: 8, channels: 2 });
    const onStep = ({ timestep, totalSteps }: EngineProgress<'tensor'>) => steps.push(timestep, totalSteps);
    await engine.sample({ scheduler, numInferenceSteps: 10, image, strength: 0.35, seed: 1, onStep, outputType: 'tensor' });
    assert.deepEqual(steps, [200, 3, 100, 3, 0, 3]);
  });

  it('noises an image as diffusers does: with strength 1 from addNoise at the first timestep', async () => {
    const image = noise([8, 8, 2], 5).mul(0.1).add(0.5);
    const got = await engine.sample({ scheduler, numInferenceSteps: 4, image, strength: 1, seed: 6, outputType: 'latent' });
    const x0 = image.mul(2).sub(1).permute([2, 0, 1]).unsqueeze(0).contiguous();
    const latents = scheduler.addNoise(x0, noise([1, 2, 8, 8], 6), [750]);
    const want = await engine.sample({ scheduler, numInferenceSteps: 4, latents, outputType: 'latent' });
    closeTo(got, want);
  });

  it('serves other shapes beside its own', async () => {
    const latents = noise([2, 16, 8]);
    const [small, large] = await Promise.all([
      engine.sample({ scheduler, numInferenceSteps: 3, seed: 1 }),
      engine.sample({ scheduler, numInferenceSteps: 3, latents }),
    ]);
    assert.deepEqual([small.height, small.width, large.height, large.width], [8, 8, 16, 8]);
    const wide = new SamplerEngine(unet, { shape: [2, 8, 16] });
    assert.equal((await wide.sample({ scheduler, numInferenceSteps: 1 })).width, 16);
    await wide.close();
  });

  it('padded batches give the same bits alone and in company, in any place', async () => {
    const classes = tinyUNet({ numClassEmbeds: 3 });
    for (const maxBatchSize of [5, 7]) {
      const padded = new SamplerEngine(classes, { maxBatchSize, padBatches: true });
      const draw = (seed: number) =>
        padded.sample({ scheduler, numInferenceSteps: 3 + (seed % 4), seed, classLabel: seed % 3, outputType: 'latent' });
      const alone = numbers(await draw(7));
      for (let place = 0; place < maxBatchSize; place++) {
        const company = await Promise.all([1, 2, 3, 4, 5, 6, 8].toSpliced(place, 0, 7).map(draw));
        assert.deepEqual(numbers(company[place]!), alone, `place ${place} of ${maxBatchSize}`);
      }
      await padded.close();
    }
    classes.dispose();
  });

  it('takes classes, where the model has some', async () => {
    const classes = tinyUNet({ numClassEmbeds: 3 });
    const conditional = new SamplerEngine(classes);
    const draw = (classLabel: number) =>
      conditional.sample({ scheduler, numInferenceSteps: 3, seed: 1, classLabel, outputType: 'latent' });
    const [a, b] = await Promise.all([draw(0), draw(2)]);
    const { images } = await new DDIMPipeline({ unet: classes, scheduler }).run({
      numInferenceSteps: 3, generator: new Generator({ seed: 1 }), classLabels: [2], outputType: 'tensor',
    }); // prettier-ignore
    closeTo(b.permute([1, 2, 0]).div(2).add(0.5).clamp(0, 1), images.squeeze(0));
    assert.ok(a.sub(b).abs().amax().item() > 1e-4);
    await conditional.warmup({ batchSizes: [1, 2] });
    await rejects(() => conditional.sample({ scheduler }), 'ERR_ARGUMENT', /class-conditional/);
    await rejects(() => draw(3), 'ERR_ARGUMENT', /0 … 2/);
    await rejects(() => engine.sample({ scheduler, classLabel: 1 }), 'ERR_ARGUMENT', /no classes/);
    await conditional.close();
  });

  it('runs TorchScript models', async () => {
    const scripted = await loadUNet(archive('tiny-unet'));
    const other = new SamplerEngine(scripted);
    const options = { numInferenceSteps: 3, outputType: 'tensor' } as const;
    const got = await other.sample({ ...options, scheduler, seed: 4, classLabel: 1 });
    const pipe = new DDIMPipeline({ unet: scripted, scheduler });
    const { images } = await pipe.run({ ...options, generator: new Generator({ seed: 4 }), classLabels: [1] });
    closeTo(got, images.squeeze(0));
    await other.close();
  });

  it('keeps the weights it began with', async () => {
    const own = tinyUNet({}, 3);
    const keeps = new SamplerEngine(own);
    const draw = () => keeps.sample({ scheduler, numInferenceSteps: 3, seed: 1, outputType: 'latent' });
    const before = await draw();
    own.dispose();
    assert.deepEqual(numbers(await draw()), numbers(before));
    await keeps.close();
    assert.throws(() => new SamplerEngine(own), { code: 'ERR_DISPOSED' });
  });

  it('half models: the pipeline\'s numbers', async () => {
    const half = tinyUNet();
    await half.to({ dtype: 'bfloat16' });
    const other = new SamplerEngine(half);
    const options = { numInferenceSteps: 3, eta: 1, outputType: 'tensor' } as const;
    const got = await other.sample({ ...options, scheduler, seed: 4 });
    const pipe = new DDIMPipeline({ unet: half, scheduler });
    const { images } = await pipe.run({ ...options, generator: new Generator({ seed: 4 }) });
    const error = got.sub(images.squeeze(0)).abs().amax().item();
    assert.ok(error < 0.02, `off by ${error}`);
    await other.close();
  });
});
