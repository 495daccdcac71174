import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, type SchedulerConfigInput, type Tensor } from '../../../ts/index';
import { assertSame, fresh, MODEL, seeded, throwsCode, TinyUNet } from './helpers';

describe('pipelines: runs at once', () => {
  it('are independent: each equals the same run alone', async () => {
    const unet = new TinyUNet({ predict: async (x, t) => (await new Promise(setImmediate), x.mul(0.6 - t / 4000)) });
    const pipe = new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });
    const runs = [
      () => pipe.run({ numInferenceSteps: 7, generator: fresh(1), outputType: 'tensor' }),
      () => pipe.run({ timesteps: [900, 30], generator: fresh(2), eta: 1, outputType: 'tensor' }),
      () => pipe.run({ numInferenceSteps: 20, batchSize: 3, generator: fresh(3), eta: 0.5, outputType: 'tensor' }),
      () => pipe.run({ latents: seeded(4, [2, 1, 4, 4]), numInferenceSteps: 11, outputType: 'tensor' }),
    ];
    const alone: Tensor[] = [];
    for (const run of runs) alone.push((await run()).images);
    const together = await Promise.all(runs.map((run) => run()));
    for (const [i, { images }] of together.entries()) assertSame(images, alone[i]!, `run ${i}`);
  });

  it('are so on the embedded model', async () => {
    const pipe = await DDPMPipeline.fromPretrained(MODEL);
    const run = async (seed: number) =>
      (await pipe.run({ timesteps: [999, 600, 200, 0], generator: fresh(seed), outputType: 'uint8' })).images;
    const alone = [await run(1), await run(2), await run(3)];
    const together = await Promise.all([run(1), run(2), run(3)]);
    for (const [i, images] of together.entries()) assertSame(images, alone[i]!);
    pipe.dispose();
  });

  it('keep the classes that they began with, though the list changes', async () => {
    const unet = new TinyUNet({ numClassEmbeds: 3 });
    const classLabels = [2];
    const onProgress = () => void (classLabels[0] = 0);
    await new DDIMPipeline({ unet, scheduler: new DDIMScheduler() }).run({ numInferenceSteps: 3, classLabels, onProgress });
    assert.deepEqual(unet.calls.map(({ options }) => options?.classLabels), [[2], [2], [2]]); // prettier-ignore
  });

  it('keep the generators and the η that they began with', async () => {
    const pipe = new DDIMPipeline({ unet: new TinyUNet(), scheduler: new DDIMScheduler() });
    const options = { batchSize: 2, numInferenceSteps: 4, outputType: 'tensor' } as const;
    const expected = await pipe.run({ ...options, generator: [fresh(1), fresh(2)], eta: [0.5, 1] });
    const [generator, eta] = [[fresh(1), fresh(2)], [0.5, 1]];
    const onProgress = (): void => {
      generator.reverse();
      eta.fill(0);
    };
    assertSame((await pipe.run({ ...options, generator, eta, onProgress })).images, expected.images);
  });

  it('keep the unet and the scheduler that they began with', async () => {
    const slow = new TinyUNet({ predict: async (x) => (await new Promise(setImmediate), x.mul(0.5)) });
    const pipe = new DDIMPipeline({ unet: slow, scheduler: new DDIMScheduler() });
    const options = { numInferenceSteps: 5, outputType: 'tensor' } as const;
    const expected = await pipe.run({ ...options, generator: fresh(1) });
    const pending = pipe.run({ ...options, generator: fresh(1) });
    const other = new TinyUNet();
    pipe.unet = other;
    pipe.scheduler = new DDIMScheduler({ predictionType: 'v_prediction', timestepSpacing: 'trailing' });
    assertSame((await pending).images, expected.images);
    assert.equal(other.calls.length, 0);
    await pipe.run({ ...options, generator: fresh(1) });
    assert.deepEqual(other.timesteps, [999, 799, 599, 399, 199]);
  });
});

describe('pipelines: scheduler', () => {
  it('is never changed by a run', async () => {
    const set = new DDIMScheduler();
    set.setTimesteps(7);
    const schedulers = [new DDIMScheduler(), set, new DDPMScheduler()];
    for (const scheduler of schedulers) {
      const pipe = new DDPMPipeline({ unet: new TinyUNet(), scheduler });
      const { timesteps, numInferenceSteps, config } = scheduler;
      const before = [...timesteps];
      await pipe.run({ numInferenceSteps: 3 });
      await pipe.run({ timesteps: [800, 3] });
      assert.equal(pipe.scheduler, scheduler);
      assert.deepEqual([[...scheduler.timesteps], scheduler.numInferenceSteps], [before, numInferenceSteps]);
      assert.equal(scheduler.config, config);
    }
    assert.equal(set.previousTimestep(852), 852 - 142);
  });

  it('runs by its own rule: a run does not see its timesteps, only its config', async () => {
    const scheduler = new DDIMScheduler({ previousTimestepRule: 'schedule', timestepSpacing: 'linspace' });
    scheduler.setTimesteps({ timesteps: [5, 2] });
    const unet = new TinyUNet();
    await new DDIMPipeline({ unet, scheduler }).run({ numInferenceSteps: 3 });
    assert.deepEqual(unet.timesteps, [999, 500, 0]);
    assert.deepEqual([...scheduler.timesteps], [5, 2]);
  });

  it('of DDIMPipeline is turned into DDIM, in the constructor and where it is assigned', async () => {
    const ddpm = new DDPMScheduler({ betaSchedule: 'squaredcos_cap_v2', clipSampleRange: 2, varianceType: 'fixed_large' });
    const pipe = new DDIMPipeline({ unet: new TinyUNet(), scheduler: ddpm });
    assert.ok(pipe.scheduler instanceof DDIMScheduler);
    assert.deepEqual([pipe.scheduler.config.betaSchedule, pipe.scheduler.config.clipSampleRange], ['squaredcos_cap_v2', 2]);
    assert.deepEqual(pipe.scheduler.config, DDIMScheduler.fromConfig(ddpm.config).config);
    const ddim = new DDIMScheduler();
    pipe.scheduler = ddim;
    assert.equal(pipe.scheduler, ddim, 'a DDIMScheduler stays the one it is');
    pipe.scheduler = ddpm;
    assert.ok(pipe.scheduler instanceof DDIMScheduler);
    assert.equal(pipe.scheduler.config.clipSampleRange, 2);
    const options = { numInferenceSteps: 4, outputType: 'tensor' } as const;
    const equal = new DDIMPipeline({ unet: new TinyUNet(), scheduler: DDIMScheduler.fromConfig(ddpm.config) });
    assertSame(
      (await pipe.run({ ...options, generator: fresh(1) })).images,
      (await equal.run({ ...options, generator: fresh(1) })).images,
    );
  });

  it('may be DDIM’s in DDPMPipeline, which then takes η = 0 and draws only the first noise', async () => {
    const scheduler = new DDIMScheduler();
    const options = { numInferenceSteps: 5, outputType: 'tensor' } as const;
    const asDDPM = await new DDPMPipeline({ unet: new TinyUNet(), scheduler }).run({ ...options, generator: fresh(1) });
    const asDDIM = await new DDIMPipeline({ unet: new TinyUNet(), scheduler }).run({ ...options, generator: fresh(1) });
    assertSame(asDDPM.images, asDDIM.images);
    const pipe = new DDPMPipeline({ unet: new TinyUNet(), scheduler: new DDPMScheduler() });
    assert.ok(pipe.scheduler instanceof DDPMScheduler);
    pipe.scheduler = scheduler;
    assert.equal(pipe.scheduler, scheduler);
    assertSame((await pipe.run({ ...options, generator: fresh(1) })).images, asDDIM.images);
  });

  it('must be one that samples', () => {
    const unet = new TinyUNet();
    for (const wrong of [new DDIMInverseScheduler(), undefined, null, {}, 'ddim']) {
      const parts = { unet, scheduler: wrong as never };
      const message = /scheduler must be a DDPMScheduler or a DDIMScheduler, got/;
      throwsCode(() => new DDIMPipeline(parts), 'ERR_ARGUMENT', message);
      throwsCode(() => new DDPMPipeline(parts), 'ERR_ARGUMENT', message);
      for (const pipe of [
        new DDIMPipeline({ unet, scheduler: new DDIMScheduler() }),
        new DDPMPipeline({ unet, scheduler: new DDPMScheduler() }),
      ]) {
        const { scheduler } = pipe;
        throwsCode(() => void ((pipe as { scheduler: unknown }).scheduler = wrong), 'ERR_ARGUMENT', message);
        assert.equal(pipe.scheduler, scheduler);
      }
    }
  });

  it('of a config in either spelling is the same; two spellings that differ are refused', async () => {
    const run = async (config: SchedulerConfigInput) => {
      const pipe = new DDIMPipeline({ unet: new TinyUNet(), scheduler: DDIMScheduler.fromConfig(config) });
      return (await pipe.run({ numInferenceSteps: 4, generator: fresh(1), outputType: 'tensor' })).images;
    };
    assertSame(await run({ prediction_type: 'sample' }), await run({ predictionType: 'sample', _class_name: 'DDPMScheduler' }));
    throwsCode(
      () => DDIMScheduler.fromConfig({ prediction_type: 'sample', predictionType: 'epsilon' }),
      'ERR_CONFIG',
      /two spellings of one key/,
    );
  });
});
