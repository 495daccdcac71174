// The UNet by itself: one forward at two noise levels, bfloat16, a copy on disk; then a class-conditional one with guidance.
//   npx tsx scripts/examples/unet.ts [OUT_DIR] [STEPS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, DDIMScheduler, Generator, manualSeed, randn, UNet2DModel } from '../../ts/index';

const MODEL = join(__dirname, '../../models/fashion-mnist-ddpm');
const [out = 'out', steps = '20'] = process.argv.slice(2);

async function main(): Promise<void> {
  const unet = await UNet2DModel.fromPretrained(MODEL, { subfolder: 'unet' });
  const noisy = randn([2, 1, 32, 32], { generator: manualSeed(0) });
  const { sample } = await unet.forward(noisy, [999, 10]); // ε_θ(x_t, t), a timestep per sample
  process.stdout.write(`gives ${sample.dtype} [${sample.shape.join(', ')}]\n`);

  await unet.to({ dtype: 'bfloat16' });
  await unet.savePretrained(join(out, 'unet-bf16')); // Python's UNet2DModel.from_pretrained reads it
  const copy = await UNet2DModel.fromPretrained(join(out, 'unet-bf16'), { dtype: 'bfloat16' });
  process.stdout.write(`copy is ${copy.dtype} on ${copy.device}\n`);

  // Untrained, so it draws noise: ten classes and an eleventh for "none", which guidance steers away from.
  const conditional = UNet2DModel.fromConfig(
    { ...unet.config, numClassEmbeds: 11 },
    { generator: new Generator({ seed: 0 }) },
  );
  const pipe = new DDIMPipeline({ unet: conditional, scheduler: new DDIMScheduler() });
  const { images } = await pipe.run({
    numInferenceSteps: Number(steps),
    generator: new Generator({ seed: 1 }),
    classLabels: [3],
    guidanceScale: 3,
  });
  await images[0]?.save(join(out, 'class-3.png'));
}
void main();
