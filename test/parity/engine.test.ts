import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DDIMScheduler, DDPMScheduler, SamplerEngine, UNet2DModel } from '../../ts/index';
import { Comparison, numbersOf } from './fixture';
import { pipelinesFixture } from './recordings';

const fixture = pipelinesFixture();
const MODEL = join(__dirname, '..', '..', fixture.manifest.model);
/** The largest difference of a float pixel that still counts as the same image. */
const PIXEL_TOLERANCE = 2e-3;

describe('parity/engine: the recorded images of the pipelines with a generator per image', function () {
  this.timeout(120_000);

  it('all at once, through shared batches', async () => {
    const base = JSON.parse(readFileSync(join(MODEL, 'scheduler', 'scheduler_config.json'), 'utf8')) as object;
    const engine = new SamplerEngine(await UNet2DModel.fromPretrained(MODEL), { maxBatchSize: 5 });
    const comparison = new Comparison();
    const runs = fixture.manifest.runs.filter(({ seeds }) => Array.isArray(seeds));
    await Promise.all(
      runs.map(async (run) => {
        const { num_inference_steps: numInferenceSteps, eta, use_clipped_model_output: clipped } = run.options;
        const Scheduler = run.pipeline === 'DDIMPipeline' ? DDIMScheduler : DDPMScheduler;
        const scheduler = Scheduler.fromConfig({ ...base, ...run.config });
        const images = await Promise.all(
          (run.seeds as number[]).map((seed) =>
            engine.sample({
              scheduler,
              numInferenceSteps,
              seed,
              outputType: 'tensor',
              ...(eta === undefined ? {} : { eta }),
              ...(clipped === undefined ? {} : { useClippedModelOutput: clipped }),
            }),
          ),
        );
        comparison.check(run.name, images.flatMap(numbersOf), fixture.numbers(run.images), PIXEL_TOLERANCE);
      }),
    );
    comparison.assertAll();
    await engine.close();
  });
});
