import { join } from 'node:path';
import { DDIMPipeline, Generator } from '../../ts/index';
import { CACHE, EMBEDDED } from './bench-model';
import { measure, type Contender } from './measure';
import { readFloats, type PythonPeers } from './python-peers';
import type { CaseResult } from './report';
import { timeCalls, type TurnOptions } from './turns';

const STEPS = 50;

interface PipelineArm extends Contender {
  images(): Promise<Float32Array>;
}

/** DDIM with 50 steps of the embedded model, from noise to images. */
export async function measurePipelines(batch: number, peers: PythonPeers, options: TurnOptions): Promise<CaseResult> {
  const pipe = await DDIMPipeline.fromPretrained(EMBEDDED);
  const draw = async (seed: number): Promise<Float32Array> => {
    const generator = new Generator({ seed });
    const run = { batchSize: batch, generator, numInferenceSteps: STEPS, outputType: 'tensor' } as const;
    const { images } = await pipe.run(run);
    try {
      return images.toTypedArray() as Float32Array;
    } finally {
      images.dispose();
    }
  };
  const arms: PipelineArm[] = [
    {
      name: 'node-diffusers fp32',
      dtype: 'float32',
      own: true,
      run: (calls) => timeCalls(calls, async (call) => void (await draw(call))),
      images: () => draw(0),
    },
  ];
  const leftOut: { name: string; reason: string }[] = [];
  const name = 'diffusers eager fp32';
  const id = peers.newId();
  try {
    await peers.ask('load_pipeline', { id, folder: EMBEDDED, batch, steps: STEPS });
    const file = join(CACHE, 'images.f32');
    const images = async (): Promise<Float32Array> => {
      await peers.ask('output_pipeline', { id, seed: 0, file });
      return readFloats(file);
    };
    const runner = peers.runner(id, 'run_pipeline', 'seeds', (call) => call);
    arms.push({ name, dtype: 'float32', own: false, ...runner, images });
  } catch (error) {
    leftOut.push({ name, reason: (error as Error).message });
  }
  const title = `fashion-mnist-ddpm, batch ${batch}: DDIM, ${STEPS} steps, ${batch === 1 ? 'one image' : `${batch} images`}`;
  try {
    return await measure(title, arms, leftOut, (arm) => arm.images(), options);
  } finally {
    pipe.unet.dispose();
    if (leftOut.length === 0) await peers.ask('unload', { id });
  }
}
