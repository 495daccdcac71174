// A sketch becomes an image: noise it up to a timestep, then denoise it from there. The higher the timestep, the freer.
//   npx tsx scripts/examples/img2img.ts [OUT_DIR]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, DiffusionImage, Generator, makeGrid, randn, Tensor } from '../../ts/index';

const [out = 'out'] = process.argv.slice(2);

/** A shirt of three boxes, in [−1, 1]. */
const sketch = Float32Array.from({ length: 32 * 32 }, (_, i) => {
  const [x, y] = [i % 32, Math.floor(i / 32)];
  const body = x >= 10 && x < 22 && y >= 4 && y < 28;
  const sleeve = ((x >= 4 && x < 10) || (x >= 22 && x < 28)) && y >= 4 && y < 12;
  return body || sleeve ? 0.3 : -1;
});

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const image = Tensor.from(sketch, [1, 1, 32, 32]).expand([6, 1, 32, 32]);
  const noise = randn([6, 1, 32, 32], { generator: new Generator({ seed: 0 }) });
  const bytes = Uint8Array.from(sketch, (value) => (value + 1) * 127.5);
  const rows = [new Array<DiffusionImage>(6).fill(new DiffusionImage(bytes, { width: 32, height: 32, channels: 1 }))];
  for (const start of [300, 500, 700]) {
    const latents = pipe.scheduler.addNoise(image, noise, start);
    const timesteps = Array.from({ length: 10 }, (_, i) => Math.round(start * (1 - i / 10))); // start, …, start/10
    rows.push((await pipe.run({ latents, timesteps })).images);
  }
  await (await makeGrid(rows.flat(), { columns: 6 })).save(join(out, 'img2img.png'));
}
void main();
