// DDPM's ancestral sampling: the way the model was trained, in up to all of its 1000 steps, with fresh noise in each.
//   npx tsx scripts/examples/ddpm.ts [OUT_DIR] [STEPS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDPMPipeline, Generator, makeGrid } from '../../ts/index';

const [out = 'out', steps = '1000'] = process.argv.slice(2);

async function main(): Promise<void> {
  const pipe = await DDPMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const { images } = await pipe.run({
    batchSize: 4,
    numInferenceSteps: Number(steps),
    generator: new Generator({ seed: 0 }),
    onProgress: ({ step, totalSteps }) => {
      if (step % 100 === 0 || step === totalSteps) process.stdout.write(`step ${step} of ${totalSteps}\n`);
    },
  });
  await (await makeGrid(images, { columns: 4 })).save(join(out, 'ddpm.png'));
}
void main();
