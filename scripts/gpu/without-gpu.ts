// What an addon with CUDA says where there is no GPU: npx tsx scripts/gpu/without-gpu.ts, after scripts/gpu/build.sh.
import { join } from 'node:path';
import { DDIMPipeline, DiffusersError, randn, UNet2DModel, zeros } from '../../ts/index';

const MODEL = join(__dirname, '../../models/fashion-mnist-ddpm');

const ASKED: readonly (readonly [string, () => unknown])[] = [
  ['Tensor.to', () => zeros([2, 2]).to({ device: 'cuda' })],
  ['randn', () => randn([2, 2], { device: 'cuda' })],
  ["randn on 'cuda:0'", () => randn([2, 2], { device: 'cuda:0' })],
  ['UNet2DModel.fromPretrained', () => UNet2DModel.fromPretrained(join(MODEL, 'unet'), { device: 'cuda' })],
];

/** Fails for what is asked for in vain and does not say so. */
async function refusal(name: string, ask: () => unknown): Promise<void> {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof DiffusersError) || error.code !== 'ERR_DEVICE') throw error;
    if (!/cuda/.test(error.message) || !/no CUDA device/.test(error.message))
      throw new Error(`${name} does not say what is wrong: ${error.message}`, { cause: error });
    process.stdout.write(`${name}: ${error.code} ${error.message}\n`);
    return;
  }
  throw new Error(`${name} found a CUDA device: this check is for a machine without one`);
}

async function main(): Promise<void> {
  for (const [name, ask] of ASKED) await refusal(name, ask);
  const pipe = await DDIMPipeline.fromPretrained(MODEL);
  const { images } = await pipe.run({ batchSize: 2, numInferenceSteps: 4 });
  if (images.length !== 2) throw new Error(`the CPU drew ${images.length} images, not 2`);
  process.stdout.write('on the CPU it draws as ever\n');
}
main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
