// Any model that torch.jit.save wrote, with a config of one's own, as a pipeline's UNet and by itself.
// A TorchScript file is a program: load only files you trust.
//   npx tsx scripts/examples/torchscript.ts [OUT_DIR] [STEPS] [FILE.pt], of a UNet of grey 32×32 images
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, DDIMScheduler, Generator, randn, Tensor, TorchScriptModel } from '../../ts/index';

/** A UNet with random weights: it draws noise. */
const TINY = join(__dirname, '../../test/fixtures/torchscript/tiny-grey.pt');
const [out = 'out', steps = '20', file = TINY] = process.argv.slice(2);

async function main(): Promise<void> {
  const model = await TorchScriptModel.load(file);
  for (const { name, type } of model.inputs) process.stdout.write(`takes ${name}: ${type}\n`);
  const noise = await model.forward<Tensor>(randn([2, 1, 32, 32]), Tensor.from([999n, 10n]));
  process.stdout.write(`gives ${noise.dtype} [${noise.shape.join(', ')}]\n`);

  const unet = model.asUNet({ inChannels: 1, outChannels: 1, sampleSize: 32 });
  const scheduler = new DDIMScheduler({ betaSchedule: 'linear', numTrainTimesteps: 1000, timestepSpacing: 'trailing' });
  const pipe = new DDIMPipeline({ unet, scheduler });
  const { images } = await pipe.run({ numInferenceSteps: Number(steps), generator: new Generator({ seed: 1 }) });
  await images[0]?.save(join(out, 'torchscript.png'));
}
void main();
