// Four images by DDIM: as files, and as one grid.
//   npx tsx scripts/examples/quickstart.ts [OUT_DIR] [STEPS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, Generator, makeGrid } from '../../ts/index';

const [out = 'out', steps = '50'] = process.argv.slice(2);

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const { images } = await pipe.run({
    batchSize: 4,
    numInferenceSteps: Number(steps),
    generator: [0, 1, 2, 3].map((seed) => new Generator({ seed })), // image i depends on its own seed only
  });
  for (const [seed, image] of images.entries()) await image.save(join(out, `quickstart-${seed}.webp`));
  const grid = join(out, 'quickstart.png');
  await (await makeGrid(images)).save(grid);
  process.stdout.write(`${grid}\n`);
}
void main();
