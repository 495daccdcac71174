import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, Generator, ones, randn, SamplerEngine, zeros } from '../../../ts/index';
import { rejects } from '../models/fixtures';
import { tinyUNet } from '../models/tiny-unet';
import { freedBy } from '../tensor/freed';

const scheduler = new DDIMScheduler();
const image = ones([8, 8, 2]);

describe('engine/arguments', () => {
  const unet = tinyUNet();
  const engine = new SamplerEngine(unet);
  after(() => engine.close());

  const wrong: [name: string, request: unknown, code: string, message: RegExp][] = [
    ['no options', undefined, 'ERR_ARGUMENT', /options must be an object, got null/],
    ['a misspelled option', { scheduler, sede: 1 }, 'ERR_ARGUMENT', /unknown option "sede"; did you mean seed\?/],
    ['no scheduler', {}, 'ERR_ARGUMENT', /scheduler must be a DDPMScheduler, .*got undefined/],
    ['a config of no class', { scheduler: { numTrainTimesteps: 10 } }, 'ERR_CONFIG', /_class_name/],
    ['a config of another class', { scheduler: { _class_name: 'PNDMScheduler' } }, 'ERR_CONFIG', /got "PNDMScheduler"/],
    ['a config of what every object has', { scheduler: { _class_name: 'toString' } }, 'ERR_CONFIG', /got "toString"/],
    ['a wrong config', { scheduler: { _class_name: 'DDIMScheduler', beta_start: 'x' } }, 'ERR_CONFIG', /beta_start/],
    ['no step', { scheduler, numInferenceSteps: 0 }, 'ERR_TIMESTEP', /1 … 1000|numInferenceSteps/],
    ['half a step', { scheduler, numInferenceSteps: 1.5 }, 'ERR_TIMESTEP', /got 1.5/],
    ['a list for the number of steps', { scheduler, numInferenceSteps: [900, 500] }, 'ERR_TIMESTEP', /numInferenceSteps must be/],
    ['a bigint in a config', { scheduler: { _class_name: 'DDIMScheduler', num_train_timesteps: 10n } }, 'ERR_CONFIG', /num_train/],
    ['both kinds of steps', { scheduler, numInferenceSteps: 1, timesteps: [1] }, 'ERR_ARGUMENT', /not both/],
    ['rising timesteps', { scheduler, timesteps: [1, 2] }, 'ERR_TIMESTEP', /descending/],
    ['a negative eta', { scheduler, eta: -1 }, 'ERR_ARGUMENT', /eta must be a finite number ≥ 0, got -1/],
    ['DDPM with eta', { scheduler: new DDPMScheduler(), eta: 0.5 }, 'ERR_ARGUMENT', /eta is DDIM's/],
    ['eta that no step allows', { scheduler, eta: 40, numInferenceSteps: 5 }, 'ERR_CONFIG', /1 − ᾱ_s − σ²/],
    ['a fractional seed', { scheduler, seed: 0.5 }, 'ERR_ARGUMENT', /seed must be an integer/],
    ['seed and generator', { scheduler, seed: 1, generator: new Generator() }, 'ERR_ARGUMENT', /not both/],
    ['a generator that is none', { scheduler, generator: 5 }, 'ERR_ARGUMENT', /generator must be a Generator, got 5/],
    ['an unknown rng', { scheduler, seed: 1, rng: 'mt' }, 'ERR_ARGUMENT', /rng must be one of torch, philox, got "mt"/],
    ['philox without a seed', { scheduler, rng: 'philox' }, 'ERR_ARGUMENT', /wants a seed/],
    ['an unknown output', { scheduler, outputType: 'pil' }, 'ERR_ARGUMENT', /image, tensor, uint8, latent, got "pil"/],
    ['a priority that is no integer', { scheduler, priority: 0.5 }, 'ERR_ARGUMENT', /priority must be an integer/],
    ['a deadline in the past', { scheduler, deadline: -1 }, 'ERR_ARGUMENT', /milliseconds from now/],
    ['a deadline as of the epoch', { scheduler, deadline: Date.now() }, 'ERR_ARGUMENT', /milliseconds from now/],
    ['a date that is none', { scheduler, deadline: new Date(NaN) }, 'ERR_ARGUMENT', /Invalid Date/],
    ['a signal that is none', { scheduler, signal: {} }, 'ERR_ARGUMENT', /signal must be an AbortSignal/],
    ['wait as a word', { scheduler, wait: 'yes' }, 'ERR_ARGUMENT', /wait must be a boolean/],
    ['one timestep for a list', { scheduler, timesteps: 5 }, 'ERR_ARGUMENT', /timesteps must be an array of integers, got 5/],
    ['classes where there are none', { scheduler, classLabel: 1 }, 'ERR_ARGUMENT', /^classLabel must not be given, got 1/],
    ['onStep that is none', { scheduler, onStep: 1 }, 'ERR_ARGUMENT', /onStep must be a function/],
    ['previews for nobody', { scheduler, previewEvery: 2 }, 'ERR_ARGUMENT', /wants an onStep/],
    ['previews every 0', { scheduler, previewEvery: 0, onStep: () => 0 }, 'ERR_ARGUMENT', /from 1 up, got 0/],
    ['latents that are none', { scheduler, latents: [1] }, 'ERR_ARGUMENT', /latents must be a Tensor/],
    ['latents of other channels', { scheduler, latents: zeros([3, 8, 8]) }, 'ERR_SHAPE', /\[B, 2, H, W\], got \[1, 3, 8, 8\]/],
    ['latents of two samples', { scheduler, latents: zeros([2, 2, 8, 8]) }, 'ERR_SHAPE', /\[1, C, H, W\]/],
    ['latents of an odd size', { scheduler, latents: zeros([2, 7, 8]) }, 'ERR_SHAPE', /multiples of 2/],
    ['latents of integers', { scheduler, latents: zeros([2, 8, 8], { dtype: 'int64' }) }, 'ERR_DTYPE', /floating/],
    ['an image that is none', { scheduler, image: 'x.png' }, 'ERR_ARGUMENT', /image must be a DiffusionImage or a Tensor/],
    ['an image of integers', { scheduler, image: zeros([8, 8, 2], { dtype: 'uint8' }) }, 'ERR_DTYPE', /image must be of a floating dtype, got uint8/],
    ['a batch of images', { scheduler, image: zeros([1, 8, 8, 2]) }, 'ERR_SHAPE', /image must be \[H, W, C\], got \[1, 8, 8, 2\]/],
    ['an image and latents', { scheduler, image, latents: zeros([2, 8, 8]) }, 'ERR_ARGUMENT', /not both/],
    ['strength without an image', { scheduler, strength: 0.5 }, 'ERR_ARGUMENT', /strength goes with an image/],
    ['strength 0', { scheduler, image, strength: 0 }, 'ERR_ARGUMENT', /\(0, 1\], got 0/],
    ['strength of less than a step', { scheduler, image, numInferenceSteps: 2, strength: 0.3 }, 'ERR_ARGUMENT', /leaves none/],
    ['nothing to invert', { scheduler: new DDIMInverseScheduler() }, 'ERR_ARGUMENT', /image or latents to invert/],
  ];
  for (const [name, request, code, message] of wrong) {
    it(`refuses ${name}`, () => rejects(() => engine.sample(request as never), code, message));
  }

  it('nothing of a refused request is left in the engine', () => {
    const { queued, running, images, failed } = engine.stats();
    assert.deepEqual({ queued, running, images, failed }, { queued: 0, running: 0, images: 0, failed: 0 });
  });

  it('frees what it made of a refused request', async () => {
    const latents = zeros([2, 8, 8]);
    const freed = await freedBy(() => rejects(() => engine.sample({ scheduler, latents, numInferenceSteps: 5000 }), 'ERR_TIMESTEP', /got 5000/));
    assert.deepEqual([freed.length, freed.includes(latents)], [1, false]);
    const aborted = await freedBy(() => rejects(() => engine.sample({ scheduler, latents, signal: AbortSignal.abort() }), 'ERR_ABORTED', /aborted/));
    assert.deepEqual([aborted.length, aborted.includes(latents)], [1, false]);
  });

  it('takes configs that tell their class', async () => {
    const steps = { numInferenceSteps: 2, seed: 1 };
    await engine.sample({ ...steps, scheduler: scheduler.config });
    await engine.sample({ ...steps, scheduler: new DDPMScheduler().config });
    await engine.sample({ ...steps, scheduler: { _class_name: 'DDIMScheduler', num_train_timesteps: 100 } });
  });

  it("takes a scheduler's own config for its class, whatever else it keeps", async () => {
    const kept = DDIMScheduler.fromConfig(new DDPMScheduler().config); // a variance_type, which is DDPM's
    const inverse = new DDIMInverseScheduler();
    const start = { numInferenceSteps: 3, latents: randn([2, 8, 8], { generator: new Generator({ seed: 1 }) }) };
    for (const one of [kept, inverse, DDPMScheduler.fromConfig(scheduler.config)]) {
      const [expected, got] = await Promise.all(
        [one, one.config].map((given) => engine.sample({ ...start, seed: 2, scheduler: given, outputType: 'latent' })),
      );
      assert.deepEqual(got!.tolist(), expected!.tolist(), one.constructor.name);
    }
  });

  it('names the label of a class-conditional model as its own option', async () => {
    const conditional = new SamplerEngine(tinyUNet({ numClassEmbeds: 3 }));
    const steps = { scheduler, numInferenceSteps: 2 };
    await rejects(() => conditional.sample(steps), 'ERR_ARGUMENT', /^classLabel is missing/);
    await rejects(() => conditional.sample({ ...steps, classLabel: 3 }), 'ERR_ARGUMENT', /^classLabel must be in 0 … 2, got 3/);
    const guided = { ...steps, classLabel: 0, guidanceScale: 2, nullClassLabel: 3 };
    await rejects(() => conditional.sample(guided), 'ERR_ARGUMENT', /^nullClassLabel must be in 0 … 2, got 3/);
    await conditional.close();
  });

  it('the constructor refuses by name', () => {
    const make = (model: unknown, options?: object) => () => new SamplerEngine(model as never, options);
    assert.throws(make({ forward: () => 0, config: {} }), { code: 'ERR_ARGUMENT', message: /unet must be a UNet2DModel/ });
    assert.throws(make(unet, { maxBatchsize: 4 }), { code: 'ERR_ARGUMENT', message: /did you mean maxBatchSize\?/ });
    assert.throws(make(unet, { maxBatchSize: 0 }), { code: 'ERR_ARGUMENT', message: /maxBatchSize must be an integer in 1 … 4096, got 0/ });
    assert.throws(make(unet, { padBatches: 1 as never }), { code: 'ERR_ARGUMENT', message: /padBatches must be true or false, got 1/ });
    assert.throws(make(unet, { maxQueue: 1.5 }), { code: 'ERR_ARGUMENT', message: /maxQueue must be an integer/ });
    assert.throws(make(unet, { shape: [2, 8] }), { code: 'ERR_SHAPE', message: /shape must be \[C, H, W\]/ });
    assert.throws(make(unet, { shape: [3, 8, 8] }), { code: 'ERR_SHAPE', message: /shape must have shape \[B, 2, H, W\]/ });
  });

  it('wants a shape where the model states none', async () => {
    const anySize = new SamplerEngine(tinyUNet({ sampleSize: null }));
    await rejects(() => anySize.sample({ scheduler }), 'ERR_CONFIG', /sampleSize/);
    await rejects(() => anySize.warmup(), 'ERR_CONFIG', /sampleSize/);
    await anySize.close();
  });
});
