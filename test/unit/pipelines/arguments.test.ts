import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, Generator, randn, Tensor, zeros } from '../../../ts/index';
import type { ErrorCode } from '../../../ts/errors';
import { checkRunOptions } from '../../../ts/pipelines/run-options';
import { freedBy } from '../tensor/freed';
import { fresh, nextDraws, rejects, seeded, throwsCode, TinyUNet } from './helpers';

type Case = readonly [options: unknown, code: ErrorCode, message: RegExp];

const BOTH: readonly Case[] = [
  [null, 'ERR_ARGUMENT', /run: options must be an object, got null/],
  [[], 'ERR_ARGUMENT', /run: options must be an object, got \[\]/],
  [7, 'ERR_ARGUMENT', /run: options must be an object, got 7/],
  [{ batchsize: 2 }, 'ERR_ARGUMENT', /run: unknown option "batchsize"; did you mean batchSize\?/],
  [{ num_inference_steps: 2 }, 'ERR_ARGUMENT', /unknown option "num_inference_steps"; did you mean numInferenceSteps\?/],
  [{ guidanceWeight: 2 }, 'ERR_ARGUMENT', /unknown option "guidanceWeight"; it wants batchSize, generator,/],
  [{ batchSize: 0 }, 'ERR_ARGUMENT', /batchSize must be an integer in 1 … 65536, got 0/],
  [{ batchSize: 1.5 }, 'ERR_ARGUMENT', /batchSize must be .* got 1\.5/],
  [{ batchSize: '2' }, 'ERR_ARGUMENT', /batchSize must be .* got "2"/],
  [{ batchSize: 1e9 }, 'ERR_ARGUMENT', /batchSize must be .* got 1000000000/],
  [{ numInferenceSteps: 5, timesteps: [1] }, 'ERR_ARGUMENT', /numInferenceSteps and timesteps must not both be given/],
  [{ numInferenceSteps: 0 }, 'ERR_TIMESTEP', /numInferenceSteps must be an integer in 1 … 1000 \(numTrainTimesteps\), got 0/],
  [{ numInferenceSteps: 1001 }, 'ERR_TIMESTEP', /numInferenceSteps must be an integer in 1 … 1000 \(numTrainTimesteps\), got 1001/],
  [{ numInferenceSteps: 2.5 }, 'ERR_TIMESTEP', /numInferenceSteps must be an integer in 1 … 1000, got 2\.5/],
  [{ numInferenceSteps: '5' }, 'ERR_TIMESTEP', /numInferenceSteps must be an integer in 1 … 1000, got "5"/],
  [{ timesteps: [] }, 'ERR_TIMESTEP', /timesteps/],
  [{ timesteps: [3, 7] }, 'ERR_TIMESTEP', /timesteps .*descending/],
  [{ timesteps: [7, 7] }, 'ERR_TIMESTEP', /timesteps .*descending/],
  [{ timesteps: [1000, 7] }, 'ERR_TIMESTEP', /timesteps .*1000/],
  [{ timesteps: [7, -1] }, 'ERR_TIMESTEP', /timesteps .*-1/],
  [{ timesteps: [7.5] }, 'ERR_TIMESTEP', /timesteps must be an integer, got 7\.5/],
  [{ timesteps: ['7'] }, 'ERR_ARGUMENT', /timesteps must hold numbers, got "7" at index 0/],
  [{ timesteps: '7' }, 'ERR_ARGUMENT', /timesteps must be .* got "7"/],
  [{ timesteps: 7 }, 'ERR_ARGUMENT', /timesteps must be an array of integers, got 7/],
  [{ timesteps: Tensor.from([7n]) }, 'ERR_ARGUMENT', /timesteps must be an array of integers, got an object/],
  [{ generator: 1 }, 'ERR_ARGUMENT', /generator must be a Generator or a non-empty list of them, got 1/],
  [{ generator: [] }, 'ERR_ARGUMENT', /generator must be a Generator or a non-empty list of them, got \[\]/],
  [{ generator: [new Generator(), 1] }, 'ERR_ARGUMENT', /generator must be a Generator or a non-empty list of them/],
  [{ generator: [new Generator(), new Generator()] }, 'ERR_ARGUMENT', /one Generator or one per image \(1\), got 2/],
  [{ batchSize: 3, generator: [fresh(1), fresh(2)] }, 'ERR_ARGUMENT', /one Generator or one per image \(3\), got 2/],
  [{ latents: new Float32Array(16) }, 'ERR_ARGUMENT', /latents must be a Tensor, got an array of 16/],
  [{ latents: zeros([1, 4, 4]) }, 'ERR_SHAPE', /latents must be \[B, 1, H, W\], got \[1, 4, 4\]/],
  [{ latents: zeros([1, 2, 4, 4]) }, 'ERR_SHAPE', /latents must be \[B, 1, H, W\], got \[1, 2, 4, 4\]/],
  [{ latents: zeros([0, 1, 4, 4]) }, 'ERR_SHAPE', /latents must be \[B, 1, H, W\], got \[0, 1, 4, 4\]/],
  [{ latents: zeros([2, 1, 4, 4]), batchSize: 3 }, 'ERR_SHAPE', /latents must be \[3, 1, H, W\], got \[2, 1, 4, 4\]/],
  [{ latents: zeros([1, 1, 4, 4], { dtype: 'int64' }) }, 'ERR_DTYPE', /latents must be of a floating dtype, got int64/],
  [{ outputType: 'pil' }, 'ERR_ARGUMENT', /outputType must be one of image, tensor, uint8, got "pil"/],
  [{ outputType: null }, 'ERR_ARGUMENT', /outputType must be one of image, tensor, uint8, got null/],
  [{ callbackOnStepEnd: {} }, 'ERR_ARGUMENT', /callbackOnStepEnd must be a function, got an object/],
  [{ onProgress: true }, 'ERR_ARGUMENT', /onProgress must be a function, got true/],
  [{ signal: new AbortController() }, 'ERR_ARGUMENT', /signal must be an AbortSignal, got an object/],
  [{ classLabels: 'shirt' }, 'ERR_ARGUMENT', /classLabels must be an array of integers or a Tensor, got "shirt"/],
  [{ classLabels: [0.5] }, 'ERR_ARGUMENT', /classLabels must be an array of integers/],
  [{ classLabels: [0, 1] }, 'ERR_ARGUMENT', /classLabels must be 1, one a sample, got 2/],
  [{ classLabels: zeros([2], { dtype: 'int64' }) }, 'ERR_SHAPE', /classLabels must be 1, one a sample, got shape \[2\]/],
  [{ classLabels: [3] }, 'ERR_ARGUMENT', /classLabels must be in 0 … 2, got 3/],
  [{ classLabels: zeros([1]) }, 'ERR_DTYPE', /classLabels must be 1 integers, got float32/],
];

const DDIM_ONLY: readonly Case[] = [
  [{ eta: -0.1 }, 'ERR_ARGUMENT', /eta must be a finite number ≥ 0, got -0\.1/],
  [{ eta: Number.NaN }, 'ERR_ARGUMENT', /eta must be a finite number ≥ 0, got NaN/],
  [{ eta: Infinity }, 'ERR_ARGUMENT', /eta must be a finite number ≥ 0, got Infinity/],
  [{ eta: '1' }, 'ERR_ARGUMENT', /eta must be a number ≥ 0 or one per sample, got "1"/],
  [{ eta: null }, 'ERR_ARGUMENT', /eta must be .* got null/],
  [{ eta: [0, 1], batchSize: 3 }, 'ERR_ARGUMENT', /eta must be one number or one per image \(3\), got 2/],
  [{ eta: 1.1, classLabels: [0] }, 'ERR_CONFIG', /eta must leave 1 − ᾱ_s − σ² ≥ 0, got eta 1\.1/],
  [{ eta: [0, 1.1], batchSize: 2, classLabels: [0, 0] }, 'ERR_CONFIG', /eta must leave 1 − ᾱ_s − σ² ≥ 0, got eta 1\.1/],
  [{ eta: [], batchSize: 3 }, 'ERR_ARGUMENT', /eta must be one number or one per image \(3\), got 0/],
  [{ useClippedModelOutput: 1 }, 'ERR_ARGUMENT', /useClippedModelOutput must be a boolean, got 1/],
];

const DDPM_ONLY: readonly Case[] = [
  [{ eta: 0 }, 'ERR_ARGUMENT', /unknown option "eta"/],
  [{ useClippedModelOutput: true }, 'ERR_ARGUMENT', /unknown option "useClippedModelOutput"/],
];

describe('pipelines: wrong arguments of run', () => {
  const unet = () => new TinyUNet({ numClassEmbeds: 3 });
  const pipelines = [
    ['DDIMPipeline', () => new DDIMPipeline({ unet: unet(), scheduler: new DDIMScheduler() }), DDIM_ONLY],
    ['DDPMPipeline', () => new DDPMPipeline({ unet: unet(), scheduler: new DDPMScheduler() }), DDPM_ONLY],
  ] as const;

  for (const [name, make, own] of pipelines) {
    it(`${name} rejects before any work: nothing is drawn, the model is not asked`, async () => {
      const pipe = make();
      for (const [options, code, message] of [...BOTH, ...own]) {
        const generator = fresh(1);
        const isObject = typeof options === 'object' && options !== null && !Array.isArray(options);
        const given = isObject && !('generator' in options) ? { ...options, generator } : options;
        await rejects(() => pipe.run(given as never), code, message);
        assert.deepEqual(nextDraws(generator), nextDraws(fresh(1)), String(message));
      }
      assert.equal((pipe.unet as TinyUNet).calls.length, 0);
      assert.equal((await pipe.run({ numInferenceSteps: 2 })).images.length, 1, 'and is usable afterwards');
    });
  }

  it('what is made of class labels to check them is freed', async () => {
    const freed = await freedBy(() => checkRunOptions({ classLabels: [2] }, unet(), []));
    assert.equal(freed.length, 2); // the list's, and the labels
  });

  it('options that are undefined are left out', async () => {
    const options = { batchSize: undefined, timesteps: undefined, latents: undefined, generator: undefined, eta: undefined };
    const pipe = pipelines[0][1]();
    assert.equal((await pipe.run({ ...options, numInferenceSteps: 2, outputType: undefined } as never)).images.length, 1);
  });

  it('the default of 1000 steps is too many for a DDPM of fewer', async () => {
    const pipe = new DDPMPipeline({ unet: new TinyUNet(), scheduler: new DDPMScheduler({ numTrainTimesteps: 100 }) });
    await rejects(() => pipe.run(), 'ERR_TIMESTEP', /numInferenceSteps must be an integer in 1 … 100 \(numTrainTimesteps\), got 1000/);
  });

  it('latents that are disposed are none', async () => {
    const latents = seeded(1, [1, 1, 4, 4]);
    latents.dispose();
    await rejects(() => pipelines[0][1]().run({ latents }), 'ERR_DISPOSED', /disposed/);
  });

  it('a model without a size wants latents', async () => {
    const pipe = new DDIMPipeline({ unet: new TinyUNet({ sampleSize: null }), scheduler: new DDIMScheduler() });
    await rejects(() => pipe.run(), 'ERR_CONFIG', /latents must be given: the model states no sampleSize/);
  });

  it('class labels go to the model, as they are given, at every step', async () => {
    const pipe = pipelines[0][1]();
    const classLabels = Tensor.from([2n, 0n]);
    await pipe.run({ batchSize: 2, classLabels, numInferenceSteps: 2 });
    await pipe.run({ batchSize: 2, classLabels: [1, 2], numInferenceSteps: 1 });
    const given = (pipe.unet as TinyUNet).calls.map(({ options }) => options);
    assert.deepEqual(given, [{ classLabels }, { classLabels }, { classLabels: [1, 2] }]);
    assert.deepEqual(classLabels.tolist(), [2, 0]);
  });
});

describe('pipelines: wrong parts', () => {
  it('must be a unet and a scheduler', () => {
    for (const [Pipeline, name] of [
      [DDIMPipeline, 'DDIMPipeline'],
      [DDPMPipeline, 'DDPMPipeline'],
    ] as const) {
      const make = (parts: unknown) => () => new Pipeline(parts as never);
      const scheduler = new DDPMScheduler();
      throwsCode(make(undefined), 'ERR_ARGUMENT', new RegExp(`${name}: options must be an object, got null`));
      throwsCode(make(new TinyUNet()), 'ERR_ARGUMENT', new RegExp(`${name} wants one object, got a UNet: new ${name}\\(\\{ unet, scheduler`));
      throwsCode(make({ scheduler }), 'ERR_ARGUMENT', /unet must be a model with config and forward, got undefined/);
      throwsCode(make({ unet: 'unet.pt', scheduler }), 'ERR_ARGUMENT', /unet must be .* got "unet\.pt"/);
      for (const unet of [{ config: {} }, { forward: () => undefined }, { config: null, forward: () => undefined }]) {
        throwsCode(make({ unet, scheduler }), 'ERR_ARGUMENT', /unet must be .* got an object/);
      }
      throwsCode(make({ unet: new TinyUNet() }), 'ERR_ARGUMENT', /scheduler must be .* got undefined/);
      for (const wrong of [null, new DDIMInverseScheduler(), scheduler.config]) {
        const message = /scheduler must be a DDPMScheduler or a DDIMScheduler, got (null|an object)$/;
        throwsCode(make({ unet: new TinyUNet(), scheduler: wrong }), 'ERR_ARGUMENT', message);
      }
      throwsCode(
        make({ unet: new TinyUNet(), scheduler, vae: 1 }),
        'ERR_ARGUMENT',
        new RegExp(`${name}: unknown option "vae"; it wants unet, scheduler`),
      );
    }
  });

  it('a model that gives no tensor, or one of another shape, is told of', async () => {
    const run = (output: unknown) => {
      const unet = new TinyUNet();
      unet.forward = async () => output as { sample: Tensor };
      return new DDIMPipeline({ unet, scheduler: new DDIMScheduler() }).run({ numInferenceSteps: 2 });
    };
    const message = /unet\.forward must give \{ sample \} with a Tensor, got/;
    for (const wrong of [undefined, null, {}, { sample: [1] }, randn([1])]) {
      await rejects(() => run(wrong), 'ERR_ARGUMENT', message);
    }
    await rejects(() => run({ sample: zeros([1, 1, 4, 5]) }), 'ERR_SHAPE', /modelOutput/);
    await rejects(() => run({ sample: zeros([1, 1, 4, 4], { dtype: 'int64' }) }), 'ERR_DTYPE', /modelOutput/);
  });

  it('a model that fails rejects the run with its own error', async () => {
    const mine = new Error('mine');
    const unet = new TinyUNet({ predict: () => Promise.reject(mine) });
    const pipe = new DDPMPipeline({ unet, scheduler: new DDPMScheduler() });
    await assert.rejects(pipe.run({ numInferenceSteps: 2 }), (error) => error === mine);
  });
});
