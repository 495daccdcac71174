// The same package for CommonJS, in both of its spellings; compiled, never run.
import { DDIMPipeline, DDIMScheduler, DiffusersError, Generator, randn, type Tensor } from 'node-diffusers';
import diffusers = require('node-diffusers');

const scheduler: DDIMScheduler = new diffusers.DDIMScheduler({ clipSample: false });
scheduler.setTimesteps(10);
const x: Tensor = randn([1, 3, 8, 8], { generator: new Generator({ seed: 0 }) });
const twice: Tensor[] = diffusers.tidy(() => [x.mul(2)]);
const { prevSample } = scheduler.step(x, scheduler.timesteps[0] ?? 0, x, { eta: 0 });

export async function draw(): Promise<number> {
  const pipe = await DDIMPipeline.fromPretrained('folder');
  const { images } = await pipe.run({ outputType: 'uint8', latents: twice[0] ?? prevSample });
  const error: unknown = new diffusers.ShapeError('message');
  return error instanceof DiffusersError ? images.numel : 0;
}
