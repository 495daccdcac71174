// A program of Python's diffusers, line by line: names in camelCase, keyword arguments in one object, and the same
// pixels for the same seeds.
//   npx tsx scripts/examples/porting.ts [OUT_DIR] [STEPS]
import { join } from 'node:path';
// import torch; from diffusers import DDIMPipeline, DDIMScheduler
// A program would import from 'node-diffusers'.
import { DDIMPipeline, DDIMScheduler, Generator, randn } from '../../ts/index';

const [out = 'out', steps = '50'] = process.argv.slice(2);

async function main(): Promise<void> {
  // pipe = DDIMPipeline.from_pretrained("fashion-mnist-ddpm")
  const pipe = await DDIMPipeline.fromPretrained(join(__dirname, '../../models/fashion-mnist-ddpm'));
  // pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
  pipe.scheduler = DDIMScheduler.fromConfig(pipe.scheduler.config, { timestepSpacing: 'trailing' });

  // generator = torch.Generator().manual_seed(0)
  const generator = new Generator().manualSeed(0);
  // image = pipe(generator=generator, eta=0.5, num_inference_steps=50).images[0]
  const { images } = await pipe.run({ generator, eta: 0.5, numInferenceSteps: Number(steps) });
  // image.save("porting.png")
  await images[0]?.save(join(out, 'porting.png'));

  // x = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
  let x = randn([1, 1, 32, 32], { generator: new Generator({ seed: 0 }) });
  // pipe.scheduler.set_timesteps(50)
  pipe.scheduler.setTimesteps(Number(steps));
  // for t in pipe.scheduler.timesteps:
  for (const t of pipe.scheduler.timesteps) {
    // noise = pipe.unet(x, t).sample
    const { sample: noise } = await pipe.unet.forward(x, t);
    // x = pipe.scheduler.step(noise, t, x, eta=0.0).prev_sample
    x = pipe.scheduler.step(noise, t, x, { eta: 0 }).prevSample;
  }
  // print(x.mean(), x.std())
  process.stdout.write(`mean ${x.mean().item().toFixed(4)}, std ${x.std().item().toFixed(4)}\n`);
}
void main();
