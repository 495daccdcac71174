import assert from 'node:assert/strict';
import { cat, DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, randn, Tensor, UNet2DModel, zeros } from '../../../ts/index';
import { tinyUNet } from '../models/tiny-unet';
import { assertClose, assertSame, fresh, rejects, seeded, TinyUNet } from './helpers';

const RUN = { batchSize: 2, numInferenceSteps: 4, outputType: 'tensor' } as const;
const pipeOf = (unet: UNet2DModel) => new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });
const classes = () => tinyUNet({ numClassEmbeds: 5 });

/** The same run by hand: two calls of the model a step. */
async function byHand(unet: UNet2DModel, conditional: Tensor | number[], unconditional: Tensor | number[], scale: number) {
  const scheduler = new DDIMScheduler();
  scheduler.setTimesteps(4);
  let x = seeded(3, [2, 2, 8, 8]);
  for (const t of scheduler.timesteps) {
    const [c, u] = await Promise.all(
      [conditional, unconditional].map(async (classLabels) => (await unet.forward(x, t, { classLabels })).sample),
    );
    x = scheduler.step(u!.add(c!.sub(u!).mul(scale)), t, x).prevSample;
  }
  return x.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]);
}

describe('pipelines: classifier-free guidance', () => {
  it('is ε_uncond + s (ε_cond − ε_uncond), the last class being the null one', async () => {
    const unet = classes();
    const run = (options: object) => pipeOf(unet).run({ ...RUN, generator: fresh(3), classLabels: [1, 3], ...options });
    const { images } = await run({ guidanceScale: 3 });
    assertClose(images, await byHand(unet, [1, 3], [4, 4], 3), 1e-4);
    const other = await run({ guidanceScale: 3, nullClassLabel: 0 });
    assertClose(other.images, await byHand(unet, [1, 3], [0, 0], 3), 1e-4);
    assert.ok(other.images.sub(images).abs().amax().item() > 1e-3);
  });

  it('of 1, the default, is none', async () => {
    const unet = classes();
    const plain = await pipeOf(unet).run({ ...RUN, generator: fresh(3), classLabels: [1, 3] });
    const one = await pipeOf(unet).run({ ...RUN, generator: fresh(3), classLabels: [1, 3], guidanceScale: 1 });
    assertSame(one.images, plain.images);
    assertClose(plain.images, await byHand(unet, [1, 3], [1, 3], 1), 1e-4);
  });

  it('towards the null class itself changes nothing', async () => {
    const unet = classes();
    const plain = await pipeOf(unet).run({ ...RUN, generator: fresh(3), classLabels: [4, 4] });
    const guided = await pipeOf(unet).run({ ...RUN, generator: fresh(3), classLabels: [4, 4], guidanceScale: 7 });
    assertClose(guided.images, plain.images, 1e-4);
  });

  it('takes embeddings: the null one is zeros, or given for all images or each', async () => {
    const unet = tinyUNet({ classEmbedType: 'identity' });
    const classLabels = seeded(1, [2, 32]);
    const run = async (options: object) =>
      (await pipeOf(unet).run({ ...RUN, generator: fresh(3), classLabels, guidanceScale: 2, ...options })).images;
    assertClose(await run({}), await byHand(unet, classLabels, zeros([2, 32]), 2), 1e-4);
    const one = seeded(2, [32]);
    const both = one.reshape([1, 32]).expand([2, 32]);
    assertClose(await run({ nullClassLabel: one }), await byHand(unet, classLabels, both, 2), 1e-4);
    assertClose(await run({ nullClassLabel: both }), await run({ nullClassLabel: one }), 1e-6);
    await rejects(() => run({ nullClassLabel: 3 }), 'ERR_ARGUMENT', /nullClassLabel must be an embedding \(a Tensor\)/);
  });

  it('asks the model once a step, for 2B samples, and frees what it made', async () => {
    const unet = new TinyUNet({ numClassEmbeds: 3 });
    await new DDIMPipeline({ unet, scheduler: new DDIMScheduler() }).run({ ...RUN, classLabels: [0, 1], guidanceScale: 2 });
    assert.deepEqual(unet.calls.map(({ shape }) => shape), Array(4).fill([4, 1, 4, 4]));
    const { sample, output, options } = unet.calls[0]!;
    for (const tensor of [sample, output, options!.classLabels as Tensor]) {
      assert.throws(() => tensor.item(), { code: 'ERR_DISPOSED' });
    }
  });

  it('of learned variance guides ε alone; the variance is the conditional one', async () => {
    const unet = tinyUNet({ numClassEmbeds: 5, outChannels: 4 });
    const scheduler = new DDPMScheduler({ varianceType: 'learned_range' });
    const run = { ...RUN, generator: fresh(3), classLabels: [1, 2], guidanceScale: 4 };
    const { images } = await new DDPMPipeline({ unet, scheduler }).run(run);
    scheduler.setTimesteps(4);
    const generator = fresh(3);
    let x = randn([2, 2, 8, 8], { generator });
    for (const t of scheduler.timesteps) {
      const c = (await unet.forward(x, t, { classLabels: [1, 2] })).sample;
      const u = (await unet.forward(x, t, { classLabels: [4, 4] })).sample;
      const [cond, uncond] = [c.narrow(1, 0, 2), u.narrow(1, 0, 2)];
      const out = cat([uncond.add(cond.sub(uncond).mul(4)), c.narrow(1, 2, 2)], 1);
      x = scheduler.step(out, t, x, { generator }).prevSample;
    }
    assertClose(images, x.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]), 1e-4);
  });

  it('refuses what it can’t be given, before any work', async () => {
    const pipe = pipeOf(classes());
    const run = (options: object) => () => pipe.run({ ...RUN, classLabels: [0, 1], ...options });
    for (const guidanceScale of [0.5, -1, NaN, Infinity, '2']) {
      await rejects(run({ guidanceScale }), 'ERR_ARGUMENT', /guidanceScale must be a finite number from 1 \(none\) up, got/);
    }
    await rejects(run({ nullClassLabel: 0 }), 'ERR_ARGUMENT', /nullClassLabel goes with a guidanceScale above 1/);
    await rejects(run({ guidanceScale: 2, nullClassLabel: 5 }), 'ERR_ARGUMENT', /0 … 4, got 5/);
    await rejects(run({ guidanceScale: 2, nullClassLabel: 0.5 }), 'ERR_ARGUMENT', /nullClassLabel must be an integer, got 0\.5/);
    await rejects(() => pipe.run({ ...RUN, guidanceScale: 2 }), 'ERR_ARGUMENT', /classLabels is missing/);
    const plain = new DDIMPipeline({ unet: new TinyUNet(), scheduler: new DDIMScheduler() });
    await rejects(() => plain.run({ ...RUN, guidanceScale: 2 }), 'ERR_ARGUMENT', /guidanceScale 2 wants classLabels/);
    await rejects(() => plain.run({ ...RUN, guidanceScale: 2, classLabels: [0, 1] }), 'ERR_ARGUMENT', /nullClassLabel must be given/);
    await rejects(() => pipeOf(tinyUNet()).run({ ...RUN, classLabels: [0, 1] }), 'ERR_ARGUMENT', /takes no classes/);
  });
});
