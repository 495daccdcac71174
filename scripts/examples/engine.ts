// Requests of different step counts, schedulers and seeds through one batch, with progress.
//   npx tsx scripts/examples/engine.ts [OUT]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMScheduler, DDPMScheduler, makeGrid, SamplerEngine, UNet2DModel } from '../../ts/index';

const MODEL = join(__dirname, '../../models/fashion-mnist-ddpm');

async function main([out = '.']: string[]): Promise<void> {
  const ddim = await DDIMScheduler.fromPretrained(MODEL);
  const ddpm = await DDPMScheduler.fromPretrained(MODEL);
  const engine = new SamplerEngine(await UNet2DModel.fromPretrained(MODEL), { maxBatchSize: 16 });
  const images = await Promise.all([
    ...[10, 20, 30].map((numInferenceSteps) => engine.sample({ scheduler: ddim, numInferenceSteps, seed: 0 })),
    engine.sample({ scheduler: ddim, numInferenceSteps: 20, eta: 1, seed: 0 }),
    engine.sample({ scheduler: ddpm, numInferenceSteps: 50, seed: 0, priority: -1 }),
    engine.sample({
      scheduler: ddim,
      numInferenceSteps: 20,
      seed: 1,
      onStep: ({ step, totalSteps }) => void (step % 10 === 0 && process.stdout.write(`seed 1: ${step}/${totalSteps}\n`)),
    }),
  ]);
  const { steps, sampleSteps } = engine.stats();
  process.stdout.write(`${sampleSteps} steps of ${images.length} images in ${steps} batches\n`);
  await (await makeGrid(images, { columns: 3 })).save(join(out, 'engine.png'));
  await engine.close();
}
void main(process.argv.slice(2));
