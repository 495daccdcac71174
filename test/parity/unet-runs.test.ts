import assert from 'node:assert/strict';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, Generator, randn, UNet2DModel } from '../../ts/index';
import { generatorsOf, numbersOf } from './fixture';
import { TOLERANCE, withUNet } from './unet-checks';
import { CheckpointFolders, relativeError, unetFixture } from './unet-recordings';

const fixture = unetFixture();
const { runs, guidance } = fixture.manifest;

describe('parity/unet: whole runs', function () {
  this.timeout(60_000);
  const folders = new CheckpointFolders();
  after(() => folders.remove());

  for (const run of runs) {
    const options = {
      batchSize: run.batch_size,
      numInferenceSteps: run.options.num_inference_steps,
      ...(run.options.eta === undefined ? {} : { eta: run.options.eta }),
      outputType: 'tensor',
    } as const;
    const pipelineOf = (unet: UNet2DModel): DDIMPipeline | DDPMPipeline =>
      run.pipeline === 'DDIMPipeline'
        ? new DDIMPipeline({ unet, scheduler: DDIMScheduler.fromConfig(run.scheduler) })
        : new DDPMPipeline({ unet, scheduler: DDPMScheduler.fromConfig(run.scheduler) });

    it(`${run.name}: latents after steps ${Object.keys(run.latents_after).join(', ')} and images`, () =>
      withUNet(folders.of(run.model), 'float32', async (unet) => {
        const seen = new Map<string, number[]>();
        const { images } = await pipelineOf(unet).run({
          ...options,
          ...generatorsOf(run.seeds),
          callbackOnStepEnd: ({ step, latents }) => void seen.set(String(step + 1), numbersOf(latents)),
        });
        for (const [after, ref] of Object.entries(run.latents_after)) {
          const error = relativeError(seen.get(after) ?? [], fixture.numbers(ref));
          assert.ok(error <= TOLERANCE.float32, `latents after step ${after}: relative error ${error}`);
        }
        assert.deepEqual([...images.shape], run.images[1]);
        const error = relativeError(numbersOf(images), fixture.numbers(run.images));
        assert.ok(error <= TOLERANCE.float32, `images: relative error ${error}`);
      }));

    if (run.options.eta === 0) {
      it(`${run.name}: in bfloat16 from the same noise`, () =>
        withUNet(folders.of(run.model), 'bfloat16', async (unet) => {
          const [, ...shape] = fixture.tensor(run.latents_after['1']!).shape;
          const seeds = run.seeds as number[];
          const latents = randn([seeds.length, ...shape], generatorsOf(seeds));
          const { images } = await pipelineOf(unet).run({ ...options, latents });
          const error = relativeError(numbersOf(images), fixture.numbers(run.images));
          assert.ok(error <= TOLERANCE.bfloat16, `images: relative error ${error}`);
        }));
    }
  }

  it("classifier-free guidance, as diffusers' DiTPipeline guides", () =>
    withUNet(folders.of(guidance.model), 'float32', async (unet) => {
      const { labels, null_class: nullClassLabel, scale: guidanceScale } = guidance;
      const { num_inference_steps: numInferenceSteps } = guidance;
      const latents = randn([labels.length, 3, 8, 8], { generator: new Generator({ seed: guidance.seed }) });
      for (const given of [{}, { nullClassLabel }]) {
        let last: number[] = [];
        await new DDIMPipeline({ unet, scheduler: DDIMScheduler.fromConfig(guidance.scheduler) }).run({
          batchSize: labels.length,
          numInferenceSteps,
          latents,
          classLabels: labels,
          guidanceScale,
          ...given,
          outputType: 'tensor',
          callbackOnStepEnd: (state) => void (last = numbersOf(state.latents)),
        });
        const error = relativeError(last, fixture.numbers(guidance.latents));
        assert.ok(error <= TOLERANCE.float32, `latents: relative error ${error}`);
      }
    }));
});
