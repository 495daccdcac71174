import assert from 'node:assert/strict';
import {
  DDIMPipeline,
  DDIMScheduler,
  DDPMPipeline,
  DDPMScheduler,
  Generator,
  manualSeed,
  randn,
  Tensor,
  type DDIMStepOptions,
} from '../../../ts/index';
import { assertClose, assertSame, fresh, MODEL, nextDraws, seeded, TinyUNet } from './helpers';

const ddim = (unet = new TinyUNet(), scheduler = new DDIMScheduler()) => new DDIMPipeline({ unet, scheduler });
const ddpm = (unet = new TinyUNet(), scheduler = new DDPMScheduler()) => new DDPMPipeline({ unet, scheduler });

/** The loop that a run stands for, step by step; gives the image tensor. */
async function byHand(
  scheduler: DDIMScheduler | DDPMScheduler,
  x: Tensor,
  timesteps: ArrayLike<number>,
  options: DDIMStepOptions = {},
): Promise<Tensor> {
  const unet = new TinyUNet();
  for (const t of Array.from(timesteps)) x = scheduler.step((await unet.forward(x, t)).sample, t, x, options).prevSample;
  return x.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]);
}

describe('pipelines: the steps of a run', () => {
  it('are 50 of DDIM and 1000 of DDPM by default, for one image', async () => {
    const few = ddim();
    const { images } = await few.run();
    assert.equal(images.length, 1);
    assert.deepEqual((few.unet as TinyUNet).timesteps, Array.from({ length: 50 }, (_, i) => 980 - 20 * i));
    assert.deepEqual((few.unet as TinyUNet).calls[0]!.shape, [1, 1, 4, 4]);
    const many = ddpm();
    assert.equal((await many.run()).images.length, 1);
    assert.deepEqual((many.unet as TinyUNet).timesteps, Array.from({ length: 1000 }, (_, i) => 999 - i));
  });

  it('follow numInferenceSteps and the scheduler’s own spacing', async () => {
    const pipe = ddim(new TinyUNet(), new DDIMScheduler({ timestepSpacing: 'trailing' }));
    await pipe.run({ numInferenceSteps: 4 });
    assert.deepEqual((pipe.unet as TinyUNet).timesteps, [999, 749, 499, 249]);
    const all = ddim(new TinyUNet(), new DDIMScheduler({ numTrainTimesteps: 5 }));
    await all.run({ numInferenceSteps: 5 });
    assert.deepEqual((all.unet as TinyUNet).timesteps, [4, 3, 2, 1, 0]);
  });

  for (const [name, make] of [
    ['DDIM', ddim],
    ['DDPM', ddpm],
  ] as const) {
    it(`${name} goes through a list of one’s own, and what the list jumps over is jumped over`, async () => {
      const pipe = make();
      for (const timesteps of [[999, 700, 40, 7], Int32Array.of(999, 700, 40, 7)]) {
        const before = (pipe.unet as TinyUNet).calls.length;
        const { images } = await pipe.run({ timesteps, outputType: 'tensor', generator: fresh(3) });
        assert.deepEqual((pipe.unet as TinyUNet).timesteps.slice(before), [999, 700, 40, 7]);
        const scheduler = name === 'DDIM' ? new DDIMScheduler() : new DDPMScheduler();
        scheduler.setTimesteps({ timesteps: [999, 700, 40, 7] });
        const generator = fresh(3);
        assertSame(images, await byHand(scheduler, randn([1, 1, 4, 4], { generator }), timesteps, { generator }));
      }
    });
  }

  it('are the scheduler’s steps: with η, with the clipped output, with DDPM’s noise', async () => {
    const runs = [{}, { eta: 0.7 }, { eta: 1, useClippedModelOutput: true }];
    for (const ofStep of runs) {
      const { images } = await ddim().run({
        ...ofStep,
        batchSize: 2,
        numInferenceSteps: 5,
        generator: fresh(1),
        outputType: 'tensor',
      });
      const scheduler = new DDIMScheduler();
      scheduler.setTimesteps(5);
      const generator = fresh(1);
      const start = randn([2, 1, 4, 4], { generator });
      assertSame(images, await byHand(scheduler, start, scheduler.timesteps, { ...ofStep, generator }));
    }
    const { images } = await ddpm().run({ numInferenceSteps: 5, generator: fresh(1), outputType: 'tensor' });
    const scheduler = new DDPMScheduler();
    scheduler.setTimesteps(5);
    const generator = fresh(1);
    assertSame(images, await byHand(scheduler, randn([1, 1, 4, 4], { generator }), scheduler.timesteps, { generator }));
  });

  it('change with η, which is 0 by default', async () => {
    const run = async (eta: { eta?: number }) =>
      (await ddim().run({ numInferenceSteps: 5, generator: fresh(1), outputType: 'tensor', ...eta })).images;
    assertSame(await run({}), await run({ eta: 0 }));
    assert.ok((await run({ eta: 1 })).sub(await run({})).abs().amax().item() > 0.01);
  });

  it('take an η of its own for every image', async () => {
    const etas = [0, 0.5, 1];
    const seeds = [5, 6, 7];
    const { images } = await ddim().run({
      batchSize: 3,
      eta: etas,
      generator: seeds.map(fresh),
      numInferenceSteps: 6,
      outputType: 'tensor',
    });
    for (const [i, eta] of etas.entries()) {
      const alone = await ddim().run({ eta, generator: fresh(seeds[i]!), numInferenceSteps: 6, outputType: 'tensor' });
      assertSame(images.narrow(0, i, 1).contiguous(), alone.images, `image ${i}`);
    }
    const typed = await ddim().run({
      batchSize: 3,
      eta: Float32Array.from(etas),
      generator: seeds.map(fresh),
      numInferenceSteps: 6,
      outputType: 'tensor',
    });
    assertSame(typed.images, images);
  });
});

describe('pipelines: generators', () => {
  it('in a list give the images drawn one by one; one for all draws the whole batch', async () => {
    for (const pipe of [ddim(), ddpm()]) {
      const options = { numInferenceSteps: 8, outputType: 'tensor' } as const;
      const together = await pipe.run({ ...options, batchSize: 3, generator: [11, 12, 13].map(fresh) });
      for (const [i, seed] of [11, 12, 13].entries()) {
        const alone = await pipe.run({ ...options, generator: fresh(seed) });
        assertSame(together.images.narrow(0, i, 1).contiguous(), alone.images, `seed ${seed}`);
      }
      const one = await pipe.run({ ...options, batchSize: 3, generator: fresh(11) });
      const inList = await pipe.run({ ...options, batchSize: 3, generator: [fresh(11)] });
      assertSame(one.images, inList.images, 'a list of one');
      assert.ok(one.images.sub(together.images).abs().amax().item() > 0.01);
    }
  });

  it('do so on the embedded model, to float rounding', async () => {
    const pipe = await DDIMPipeline.fromPretrained(MODEL);
    const options = { numInferenceSteps: 3, eta: 0.5, outputType: 'tensor' } as const;
    const { images } = await pipe.run({ ...options, batchSize: 2, generator: [1, 2].map(fresh) });
    for (const [i, seed] of [1, 2].entries()) {
      const alone = await pipe.run({ ...options, generator: fresh(seed) });
      assertClose(images.narrow(0, i, 1), alone.images, 1e-4);
    }
    pipe.dispose();
  });

  it('advance by what is drawn: the first noise, and a step’s where η > 0', async () => {
    const plain = fresh(4);
    await ddim().run({ batchSize: 2, numInferenceSteps: 3, generator: plain });
    const expected = fresh(4);
    randn([2, 1, 4, 4], { generator: expected });
    assert.deepEqual(nextDraws(plain), nextDraws(expected));

    const [still, drawing] = [fresh(5), fresh(6)];
    await ddim().run({ batchSize: 2, numInferenceSteps: 3, generator: [still, drawing], eta: [0, 1] });
    const one = fresh(5);
    randn([1, 1, 4, 4], { generator: one });
    assert.deepEqual(nextDraws(still), nextDraws(one));
    const four = fresh(6);
    for (let draw = 0; draw < 4; draw++) randn([1, 1, 4, 4], { generator: four });
    assert.deepEqual(nextDraws(drawing), nextDraws(four));
  });

  it('left out, the default one draws', async () => {
    const options = { numInferenceSteps: 3, outputType: 'tensor', eta: 1 } as const;
    manualSeed(21);
    const first = (await ddim().run(options)).images;
    manualSeed(21);
    assertSame((await ddim().run(options)).images, first);
    assertSame((await ddim().run({ ...options, generator: fresh(21) })).images, first);
    assert.ok((await ddim().run(options)).images.sub(first).abs().amax().item() > 0.01);
  });

  it('of a list may be exchanged once the run has begun, and so may η', async () => {
    const generator = [fresh(1), fresh(2)];
    const eta = [0, 1];
    const options = { batchSize: 2, numInferenceSteps: 4, outputType: 'tensor' } as const;
    const pending = ddim().run({ ...options, generator, eta });
    generator.fill(new Generator());
    eta.fill(0.5);
    const expected = await ddim().run({ ...options, generator: [fresh(1), fresh(2)], eta: [0, 1] });
    assertSame((await pending).images, expected.images);
  });
});

describe('pipelines: latents', () => {
  it('replace the first draw, and set the batch and the size', async () => {
    const latents = seeded(9, [3, 1, 6, 2]);
    const { images } = await ddim().run({ latents, numInferenceSteps: 4, outputType: 'tensor' });
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(4);
    assertSame(images, await byHand(scheduler, latents, scheduler.timesteps));
    assert.deepEqual(images.shape, [3, 6, 2, 1]);
    const same = await ddim().run({ latents, batchSize: 3, numInferenceSteps: 4, outputType: 'tensor' });
    assertSame(same.images, images);
  });

  it('that are the first draw of a generator give its images, and the generator is not asked for them', async () => {
    const options = { numInferenceSteps: 4, outputType: 'tensor' } as const;
    const drawn = await ddpm().run({ ...options, generator: fresh(2) });
    const generator = fresh(2);
    const latents = randn([1, 1, 4, 4], { generator });
    assertSame((await ddpm().run({ ...options, latents, generator })).images, drawn.images);
  });

  it('are neither written nor disposed, and may be disposed once the run has begun', async () => {
    const latents = seeded(9, [2, 1, 4, 4]);
    const before = latents.toTypedArray();
    const { images } = await ddpm().run({ latents, numInferenceSteps: 3, generator: fresh(0), outputType: 'tensor' });
    assert.deepEqual(latents.toTypedArray(), before);
    const pending = ddpm().run({ latents, numInferenceSteps: 3, generator: fresh(0), outputType: 'tensor' });
    latents.dispose();
    assertSame((await pending).images, images);
  });

  it('of another floating dtype are taken as float32', async () => {
    const latents = seeded(9, [1, 1, 4, 4], 'bfloat16');
    const options = { numInferenceSteps: 4, outputType: 'tensor' } as const;
    const wide = latents.to({ dtype: 'float64' });
    const { images } = await ddim().run({ ...options, latents });
    assertSame((await ddim().run({ ...options, latents: wide })).images, images);
    assertSame((await ddim().run({ ...options, latents: latents.to({ dtype: 'float32' }) })).images, images);
  });

  it('are wanted where the model states no size', async () => {
    const pipe = ddim(new TinyUNet({ sampleSize: null }));
    const { images } = await pipe.run({ latents: seeded(1, [1, 1, 2, 6]), numInferenceSteps: 2 });
    assert.deepEqual([images[0]!.width, images[0]!.height], [6, 2]);
  });

  it('of a model that is not square are of its height and width', async () => {
    const { images } = await ddim(new TinyUNet({ sampleSize: [2, 8] })).run({ numInferenceSteps: 2 });
    assert.deepEqual([images[0]!.width, images[0]!.height], [8, 2]);
  });
});
