// A list of images into a folder, each once, however often the program is run.
//   npx tsx scripts/examples/batch.ts [OUT]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, runBatch, type BatchJob } from '../../ts/index';

async function main([out = '.']: string[]): Promise<void> {
  const { unet, scheduler } = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const jobs: BatchJob[] = [
    { id: 'ten-steps', seed: 1, numInferenceSteps: 10 },
    { id: 'noisy', seed: 1, numInferenceSteps: 20, eta: 1 },
    { id: 'ddpm', seed: 1, numInferenceSteps: 30, scheduler: 'ddpm' },
    { id: 'too-many', seed: 1, numInferenceSteps: 2000 },
  ];
  for (const run of ['first', 'second']) {
    const { drawn, kept, failed } = await runBatch({
      jobs,
      out: join(out, 'batch'),
      unet,
      scheduler,
      onFailure: ({ error }) => process.stdout.write(`${error.message}\n`),
    });
    process.stdout.write(`${run}: ${drawn} drawn, ${kept} kept, ${failed} failed\n`);
  }
}
void main(process.argv.slice(2));
