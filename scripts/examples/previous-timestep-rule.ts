// What previousTimestepRule changes where timestepSpacing is 'linspace'. diffusers' DDIM ('stride') steps from t to
// t − ⌊T/n⌋ while its list goes on elsewhere, so the model is then asked about a noise level that the sample hasn't;
// 'schedule' steps to the list's next entry. Measured against the ODE's solution: all steps from the same noise, without
// clipping, whose correction of every single step does not fade as the steps get smaller.
//   npx tsx scripts/examples/previous-timestep-rule.ts [OUT_DIR] [SEEDS] [REFERENCE_STEPS]
import { join } from 'node:path';
// A program would import from 'node-diffusers'.
import { DDIMPipeline, DDIMScheduler, DiffusionImage, Generator, makeGrid, randn, type Tensor } from '../../ts/index';

const [out = 'out', seeds = '32', referenceSteps = '1000'] = process.argv.slice(2);
const toImage = (image: Tensor): DiffusionImage =>
  new DiffusionImage(image.mul(255).add(0.5).to({ dtype: 'uint8' }).toTypedArray() as Uint8Array, { width: 32, height: 32, channels: 1 });

async function main(): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  const generator = Array.from({ length: Number(seeds) }, (_, seed) => new Generator({ seed }));
  const latents = randn([generator.length, 1, 32, 32], { generator });
  const draw = async (previousTimestepRule: 'stride' | 'schedule', clipSample: boolean, numInferenceSteps: number) => {
    const config = { timestepSpacing: 'linspace', previousTimestepRule, clipSample } as const;
    pipe.scheduler = DDIMScheduler.fromConfig(pipe.scheduler.config, config);
    return (await pipe.run({ latents, numInferenceSteps, outputType: 'tensor' })).images;
  };
  const solution = await draw('schedule', false, Number(referenceSteps));
  const lines = ["| steps | 'stride' | 'schedule' | 'stride', clipSample | 'schedule', clipSample |", '| ---: | ---: | ---: | ---: | ---: |'];
  for (const steps of [5, 10, 20, 50]) {
    const rows: Tensor[] = [];
    for (const clipSample of [false, true]) rows.push(await draw('stride', clipSample, steps), await draw('schedule', clipSample, steps));
    const distances = rows.map((images) => images.sub(solution).pow(2).mean().sqrt().item().toFixed(4));
    lines.push(`| ${steps} | ${distances.join(' | ')} |`);
    if (steps !== 10) continue;
    const columns = Math.min(12, generator.length);
    const pictures = [rows[2]!, rows[3]!, solution].flatMap((row) => row.narrow(0, 0, columns).split(1).map(toImage));
    await (await makeGrid(pictures, { columns })).save(join(out, 'previous-timestep-rule.png'));
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
void main();
