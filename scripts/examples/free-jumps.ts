// DDIM from any timestep to any other: through lists of one's own, and step by step with prevTimestep.
//   npx tsx scripts/examples/free-jumps.ts [OUT_DIR]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, Generator, makeGrid, randn, type DiffusionImage } from '../../ts/index';

const [out = 'out'] = process.argv.slice(2);

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const latents = randn([6, 1, 32, 32], { generator: new Generator({ seed: 5 }) });
  const rows: DiffusionImage[] = [];
  for (const timesteps of [
    [999, 899, 799, 699, 599, 499, 399, 299, 199, 99],
    [999, 970, 920, 840, 730, 600, 450, 300, 150, 30], // small jumps first
    [999, 500, 100],
  ]) {
    rows.push(...(await pipe.run({ latents, timesteps })).images);
  }
  await (await makeGrid(rows, { columns: 6 })).save(join(out, 'free-jumps.png'));

  // One step by hand: each sample of a batch may jump to a timestep of its own; −1 is the image.
  const { sample } = await pipe.unet.forward(latents, 999);
  const to = [899, 799, 699, 599, 499, -1];
  const { prevSample } = pipe.scheduler.step(sample, 999, latents, { prevTimestep: to });
  const spread = prevSample.reshape([6, -1]).std(1).tolist() as number[];
  process.stdout.write(`after one jump from 999: ${to.map((s, i) => `to ${s}, std ${spread[i]!.toFixed(3)}`).join('; ')}\n`);
}
void main();
