import assert from 'node:assert/strict';
import { DDIMPipeline, DDIMScheduler, Generator, SamplerEngine, Tensor, UNet2DModel, zeros } from '../../../ts/index';
import { loadUNet } from '../../../ts/models';
import { archive, rejects } from '../models/fixtures';
import { tinyUNet } from '../models/tiny-unet';
import { assertClose, assertSame, seeded } from '../pipelines/helpers';

const scheduler = new DDIMScheduler();
const RUN = { numInferenceSteps: 4, outputType: 'tensor' } as const;

describe('engine: classifier-free guidance', () => {
  const unet = tinyUNet({ numClassEmbeds: 5 });
  const engine = new SamplerEngine(unet, { maxBatchSize: 5 });
  after(() => engine.close());

  const piped = async (model: UNet2DModel, seed: number, options: object): Promise<Tensor> =>
    (await new DDIMPipeline({ unet: model, scheduler }).run({ ...RUN, generator: new Generator({ seed }), ...options })).images.squeeze(0);

  it("gives the pipelines' images, whatever shares the batch", async () => {
    const asked = [
      { seed: 1, classLabel: 0, guidanceScale: 3 },
      { seed: 2, classLabel: 3 },
      { seed: 3, classLabel: 2, guidanceScale: 7.5, nullClassLabel: 1 },
      { seed: 4, classLabel: 3, guidanceScale: 1 },
      { seed: 5, classLabel: 3, guidanceScale: 1.5 },
      { seed: 6, classLabel: 1, guidanceScale: 3 },
    ];
    const got = await Promise.all(asked.map((one) => engine.sample({ ...RUN, scheduler, ...one })));
    for (const [i, { seed, classLabel, ...options }] of asked.entries()) {
      assertClose(got[i]!, await piped(unet, seed, { classLabels: [classLabel], ...options }), 1e-4);
    }
    const unguided = await engine.sample({ ...RUN, scheduler, seed: 1, classLabel: 0 });
    assert.ok(got[0]!.sub(unguided).abs().amax().item() > 1e-3);
    assert.equal(engine.stats().sampleSteps, 7 * 4);
  });

  it('takes embeddings, and a null one of the own', async () => {
    const embedded = tinyUNet({ classEmbedType: 'identity' });
    const other = new SamplerEngine(embedded);
    const [classLabel, one] = [seeded(1, [32]), seeded(2, [32])];
    const labels = { classLabels: classLabel.reshape([1, 32]), guidanceScale: 2 };
    const draw = (options: object): Promise<Tensor> =>
      other.sample({ ...RUN, scheduler, seed: 3, classLabel, guidanceScale: 2, ...options });
    assertClose(await draw({}), await piped(embedded, 3, labels), 1e-4);
    assertSame(await draw({ nullClassLabel: zeros([32]) }), await draw({}));
    assertClose(await draw({ nullClassLabel: one }), await piped(embedded, 3, { ...labels, nullClassLabel: one }), 1e-4);
    await rejects(() => draw({ nullClassLabel: 3 }), 'ERR_ARGUMENT', /nullClassLabel must be an embedding/);
    await other.close();
  });

  it('of a TorchScript model', async () => {
    const scripted = await loadUNet(archive('tiny-unet'));
    const other = new SamplerEngine(scripted);
    const guided = { classLabel: 1, guidanceScale: 4, nullClassLabel: 0 };
    const got = await other.sample({ ...RUN, scheduler, seed: 4, ...guided });
    const { classLabel, ...options } = guided;
    const pipe = new DDIMPipeline({ unet: scripted, scheduler });
    const { images } = await pipe.run({ ...RUN, generator: new Generator({ seed: 4 }), classLabels: [classLabel], ...options });
    assertClose(got, images.squeeze(0), 1e-4);
    await other.close();
  });

  it('with padded batches has the same bits alone and in company', async () => {
    const padded = new SamplerEngine(unet, { maxBatchSize: 7, padBatches: true });
    const draw = (seed: number): Promise<Tensor> =>
      padded.sample({ ...RUN, scheduler, seed, classLabel: seed % 4, guidanceScale: 1 + seed });
    const alone = await draw(3);
    const [, , company] = await Promise.all([1, 2, 3, 4, 5].map(draw));
    assertSame(company!, alone);
    await padded.close();
  });

  it('is warmed up by itself', async () => {
    await engine.warmup({ guided: true });
    assert.ok(engine.stats().batchLimit <= 4, 'two requests at most, of two samples each');
    await rejects(() => engine.warmup({ guided: true, batchSizes: [3] }), 'ERR_ARGUMENT', /batchSizes must be an integer in 1 … 2, got 3/);
    await rejects(() => engine.warmup({ guided: 1 as never }), 'ERR_ARGUMENT', /guided must be a boolean/);
    const plain = new SamplerEngine(tinyUNet());
    await rejects(() => plain.warmup({ guided: true }), 'ERR_ARGUMENT', /guided must not be true: the model takes no classes/);
    await plain.close();
  });

  const wrong: [name: string, options: object, message: RegExp][] = [
    ['a scale below 1', { classLabel: 0, guidanceScale: 0.5 }, /guidanceScale must be a finite number from 1 \(none\) up, got 0\.5/],
    ['a scale that is none', { classLabel: 0, guidanceScale: '2' }, /guidanceScale must be .*, got "2"/],
    ['an endless scale', { classLabel: 0, guidanceScale: Infinity }, /guidanceScale must be .*, got Infinity/],
    ['a null class without a scale', { classLabel: 0, nullClassLabel: 1 }, /nullClassLabel goes with a guidanceScale above 1/],
    ['a null class beyond the table', { classLabel: 0, guidanceScale: 2, nullClassLabel: 5 }, /0 … 4, got 5/],
    ['half a null class', { classLabel: 0, guidanceScale: 2, nullClassLabel: 0.5 }, /nullClassLabel must be an integer, got 0\.5/],
    ['a scale without a class', { guidanceScale: 2 }, /class-conditional/],
  ];
  for (const [name, options, message] of wrong) {
    it(`refuses ${name}`, () => rejects(() => engine.sample({ ...RUN, scheduler, ...options }), 'ERR_ARGUMENT', message));
  }

  it('refuses a scale where the model has no classes', async () => {
    const plain = new SamplerEngine(tinyUNet());
    await rejects(() => plain.sample({ ...RUN, scheduler, guidanceScale: 2 }), 'ERR_ARGUMENT', /guidanceScale 2 wants a classLabel/);
    await plain.close();
  });
});
