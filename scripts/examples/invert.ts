// Finds the noise that DDIM would turn into an image, and draws the image from it again: the nearer, the more steps.
//   npx tsx scripts/examples/invert.ts [OUT_DIR] [STEPS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { cat, DDIMInverseScheduler, DDIMPipeline, DDIMScheduler, DiffusionImage, Generator, makeGrid, type Tensor } from '../../ts/index';

const [out = 'out', steps = '200'] = process.argv.slice(2);
const numInferenceSteps = Number(steps);

function toImages(samples: Tensor): DiffusionImage[] {
  const bytes = samples.clamp(-1, 1).add(1).mul(127.5).to({ dtype: 'uint8' });
  return bytes.split(1).map((one) => new DiffusionImage(one.toTypedArray() as Uint8Array, { width: 32, height: 32, channels: 1 }));
}

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const { images } = await pipe.run({ batchSize: 4, generator: new Generator({ seed: 3 }), numInferenceSteps, outputType: 'tensor' });
  const original = images.permute([0, 3, 1, 2]).mul(2).sub(1); // NHWC in [0, 1] → NCHW in [−1, 1]

  const config = { ...pipe.scheduler.config, clipSample: false }; // what is clipped can't be undone
  const inverse = DDIMInverseScheduler.fromConfig(config);
  inverse.setTimesteps(numInferenceSteps);
  let x = original;
  for (const t of inverse.timesteps) x = inverse.step((await pipe.unet.forward(x, t)).sample, t, x).prevSample;

  pipe.scheduler = DDIMScheduler.fromConfig(config);
  const again = await pipe.run({ latents: x, numInferenceSteps, outputType: 'tensor' });
  const back = again.images.permute([0, 3, 1, 2]).mul(2).sub(1);
  const distance = back.sub(original).pow(2).mean().sqrt().item();
  process.stdout.write(`noise: mean ${x.mean().item().toFixed(3)}, std ${x.std().item().toFixed(3)}\n`);
  process.stdout.write(`RMS distance of the image drawn again: ${distance.toFixed(4)} of a range of 2\n`);
  await (await makeGrid(toImages(cat([original, x.mul(0.4), back])), { columns: 4 })).save(join(out, 'invert.png'));
}
void main();
