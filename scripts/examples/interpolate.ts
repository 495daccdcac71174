// From one image to another: DDIM with η = 0 is a map from noise to images, so between two noises lie images too.
//   npx tsx scripts/examples/interpolate.ts [OUT_DIR] [STEPS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { cat, DDIMPipeline, Generator, makeGrid, randn, slerp } from '../../ts/index';

const [out = 'out', steps = '50'] = process.argv.slice(2);

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const noise = (seed: number) => randn([4, 1, 32, 32], { generator: new Generator({ seed }) });
  const [from, to] = [noise(1), noise(2)];
  // Along the great circle: a straight line would leave the shell that normal noise lies on.
  const frames = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => slerp(from, to, i / 7));
  const latents = cat(frames.map((frame) => frame.unsqueeze(1)), 1).reshape([32, 1, 32, 32]); // a row for each pair
  const { images } = await pipe.run({ latents, numInferenceSteps: Number(steps) });
  await (await makeGrid(images, { columns: 8 })).save(join(out, 'interpolate.png'));
}
void main();
