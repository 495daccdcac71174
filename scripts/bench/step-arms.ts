import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { DDIMScheduler, DDPMScheduler, Generator, Tensor } from '../../ts/index';
import { LeftOut, type Plan } from './arms';
import { CACHE } from './bench-model';
import type { Contender } from './measure';
import { readFloats, type PythonPeers } from './python-peers';
import { timestepsOf, type StepCase } from './step-cases';

/** One contender of a step's table. */
export interface StepArm extends Contender {
  /** x_s of the first call, its generators seeded 0, 1, …. */
  output(): Promise<Float32Array>;
  close(): Promise<void> | void;
}

type Outputs = { prevSample: Tensor; predOriginalSample?: Tensor };

/** What this package is asked for. */
function stepper(stepCase: StepCase, generators: Generator[], withX0: boolean) {
  const [sample, output, noise] = stepCase.tensors.map((data) => Tensor.from(data, [...stepCase.shape])) as [Tensor, Tensor, Tensor];
  const options = {
    ...(stepCase.noise === 'given' ? { varianceNoise: noise } : {}),
    ...(stepCase.noise === 'generators' ? { generator: generators } : {}),
    ...(withX0 ? {} : { returnPredOriginalSample: false as const }),
  };
  const make = (): ((timesteps: number[]) => Outputs) => {
    if (stepCase.scheduler === 'DDPMScheduler') {
      const scheduler = new DDPMScheduler();
      scheduler.setTimesteps(50);
      return (timesteps) => scheduler.step(output, timesteps.length === 1 ? timesteps[0]! : timesteps, sample, options);
    }
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(50);
    const of = { ...options, eta: stepCase.eta };
    return (timesteps) => scheduler.step(output, timesteps.length === 1 ? timesteps[0]! : timesteps, sample, of);
  };
  return { step: make(), close: () => [sample, output, noise].forEach((tensor) => tensor.dispose()) };
}

/** This package's step, with x0, as diffusers always makes it, or without. */
export function nodeStepArm(withX0: boolean): Plan<StepCase, StepArm> {
  const name = `node-diffusers${withX0 ? '' : ', without x0'}`;
  const open = async (stepCase: StepCase): Promise<StepArm> => {
    const generators = Array.from({ length: stepCase.shape[0] }, () => new Generator());
    const { step, close } = stepper(stepCase, generators, withX0);
    const once = (timesteps: number[]): void => {
      const { prevSample, predOriginalSample } = step(timesteps);
      prevSample.dispose();
      predOriginalSample?.dispose();
    };
    const run = async (calls: number): Promise<number[]> => {
      const seconds: number[] = [];
      for (let call = 0; call < calls; call += 1) {
        const timesteps = timestepsOf(stepCase, call);
        await turn(); // Node frees the handles of the last call's tensors
        const started = performance.now();
        for (let i = 0; i < stepCase.repeats; i += 1) once(timesteps);
        seconds.push((performance.now() - started) / 1000 / stepCase.repeats);
      }
      return seconds;
    };
    const output = async (): Promise<Float32Array> => {
      generators.forEach((generator, seed) => generator.manualSeed(seed));
      const { prevSample } = step(timestepsOf(stepCase, 0));
      return prevSample.toTypedArray() as Float32Array;
    };
    return { name, dtype: 'float32', own: true, run, output, close };
  };
  return { name, open };
}

/** diffusers' step in Python; for timesteps of their own, a call a sample. */
export function pythonStepArm(peers: PythonPeers): Plan<StepCase, StepArm> {
  const name = 'diffusers eager';
  const open = async (stepCase: StepCase): Promise<StepArm> => {
    const { scheduler, noise, shape, files, eta, repeats } = stepCase;
    if (scheduler === 'DDPMScheduler' && noise === 'given') throw new LeftOut('its DDPMScheduler.step takes no noise');
    const id = peers.newId();
    await peers.ask('load_step', { id, scheduler, shape, files, eta, noise, repeats });
    return {
      name,
      dtype: 'float32',
      own: false,
      ...peers.runner(id, 'run_step', 'timesteps', (call) => timestepsOf(stepCase, call)),
      output: async () => {
        const file = join(CACHE, 'step-output.f32');
        await peers.ask('output_step', { id, timesteps: timestepsOf(stepCase, 0), file });
        return readFloats(file);
      },
      close: async () => void (await peers.ask('unload', { id })),
    };
  };
  return { name, open };
}
