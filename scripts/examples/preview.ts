// Watch an image come: every step predicts the end, and the callback gets that prediction.
//   npx tsx scripts/examples/preview.ts [OUT_DIR] [STEPS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, DiffusionImage, Generator, makeGrid } from '../../ts/index';

const [out = 'out', steps = '10'] = process.argv.slice(2);

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const previews: DiffusionImage[] = [];
  const { images } = await pipe.run({
    numInferenceSteps: Number(steps),
    generator: new Generator({ seed: 3 }),
    callbackOnStepEnd: async ({ step, timestep, predOriginalSample }) => {
      const bytes = predOriginalSample.clamp(-1, 1).add(1).mul(127.5).to({ dtype: 'uint8' });
      const preview = new DiffusionImage(bytes.toTypedArray() as Uint8Array, { width: 32, height: 32, channels: 1 });
      previews.push(preview);
      await preview.save(join(out, `preview-${step}.png`)); // awaited: the next step begins when it is written
      process.stdout.write(`step ${step}, timestep ${timestep}\n`);
    },
  });
  await (await makeGrid([...previews, ...images], { columns: previews.length + 1 })).save(join(out, 'preview.png'));
}
void main();
