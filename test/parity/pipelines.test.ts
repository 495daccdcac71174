import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler } from '../../ts/index';
import { Comparison, generatorsOf, numbersOf, worstError } from './fixture';
import { pipelinesFixture } from './recordings';

const fixture = pipelinesFixture();
const { manifest } = fixture;
const MODEL = join(__dirname, '..', '..', manifest.model);

/** The largest difference of a float pixel that still counts as the same image. */
const PIXEL_TOLERANCE = 2e-3;

describe('parity/pipelines on the embedded model', function () {
  this.timeout(120_000);
  let unet: DDIMPipeline['unet'];
  const base = JSON.parse(readFileSync(join(MODEL, 'scheduler', 'scheduler_config.json'), 'utf8')) as object;

  before(async () => {
    ({ unet } = await DDIMPipeline.fromPretrained(MODEL));
  });
  after(() => unet?.dispose());

  manifest.forwards.forEach(({ timestep, sample, output }) => {
    it(`forward of ${sample[1][0]} at ${JSON.stringify(timestep)} gives the Python UNet's numbers`, async () => {
      const got = await unet.forward(fixture.tensor(sample), timestep);
      const comparison = new Comparison();
      comparison.check(`timestep ${JSON.stringify(timestep)}`, numbersOf(got.sample), fixture.numbers(output), 1e-4);
      comparison.assertAll();
    });
  });

  for (const run of manifest.runs) {
    it(run.name, async () => {
      const { num_inference_steps: numInferenceSteps, eta, use_clipped_model_output: clipped } = run.options;
      const config = { ...base, ...run.config };
      const options = {
        batchSize: run.batch_size,
        numInferenceSteps,
        outputType: 'tensor',
        ...generatorsOf(run.seeds),
      } as const;
      const { images } =
        run.pipeline === 'DDIMPipeline'
          ? await new DDIMPipeline({ unet, scheduler: DDIMScheduler.fromConfig(config) }).run({
              ...options,
              ...(eta === undefined ? {} : { eta }),
              ...(clipped === undefined ? {} : { useClippedModelOutput: clipped }),
            })
          : await new DDPMPipeline({ unet, scheduler: DDPMScheduler.fromConfig(config) }).run(options);
      assert.deepEqual([...images.shape], run.images[1]);
      assert.equal(images.dtype, 'float32');
      const comparison = new Comparison();
      comparison.check(run.name, numbersOf(images), fixture.numbers(run.images), PIXEL_TOLERANCE);
      comparison.assertAll();
    });
  }

  it("linspace under previousTimestepRule 'schedule' gives other, right, images: one step a list entry", async () => {
    const run = manifest.runs.find((r) => r.config['timestep_spacing'] === 'linspace');
    assert.ok(run !== undefined);
    const config = { ...base, ...run.config, previous_timestep_rule: 'schedule' };
    const scheduler = DDIMScheduler.fromConfig(config);
    const visited: number[] = [];
    const { images } = await new DDIMPipeline({ unet, scheduler }).run({
      batchSize: run.batch_size,
      numInferenceSteps: run.options.num_inference_steps,
      outputType: 'tensor',
      callbackOnStepEnd: ({ timestep }) => void visited.push(timestep),
      ...generatorsOf(run.seeds),
    });
    assert.deepEqual(visited, [999, 799, 599, 400, 200, 0]);
    const difference = worstError(numbersOf(images), fixture.numbers(run.images));
    assert.ok(difference > 0.02, `the rule changes pixels by ${difference}`);
  });
});
