import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler } from '../../ts/index';
import type { Tensor } from '../../ts/index';
import { Fixture, type ClassName, type Config, type Ref, type Seeds } from './fixture';

export interface TableCase {
  class: ClassName;
  config: Config;
  betas: Ref;
  alphas: Ref;
  alphas_cumprod: Ref;
  final_alpha_cumprod?: [number, number];
}
export interface TimestepsCase {
  config: Config;
  n: number;
  extra: boolean;
  timesteps: Ref;
  inverse?: Ref;
}
export interface SetBy {
  n?: number;
  timesteps?: number[];
}
export interface StepCase {
  class: ClassName;
  config: Config;
  set: SetBy;
  sample: Ref;
  model_output: Ref;
  options?: { eta: number; use_clipped_model_output: boolean };
  seeds?: Seeds;
}
export interface StepGroup extends StepCase {
  steps: { t: number; prev_sample: Ref; pred_original_sample: Ref }[];
}
export interface ForwardCase {
  class: ClassName;
  config: Config;
  timesteps: number[];
  original: Ref;
  noise: Ref;
  noisy: Ref;
  velocity: Ref;
}
export interface PerSampleCase {
  class: ClassName;
  config: Config;
  sample: Ref;
  model_output: Ref;
  rows: { t: number; s: number; eta?: number; seed: number }[];
  prev_sample: Ref;
  pred_original_sample: Ref;
}
export interface LoopCase {
  class: ClassName;
  config: Config;
  n: number;
  options: { eta?: number; use_clipped_model_output?: boolean };
  seeds: Seeds;
  start: Ref;
  last: Ref;
  after: Record<string, Ref>;
}
export interface TestFigure {
  test: string;
  class: ClassName;
  config: Config;
  n: number | null;
  seed: number | null;
  start: number;
  expected: number;
  sum: number;
  last: Ref;
}
export interface RandnCase {
  kind: 'one' | 'sequence' | 'list' | 'mixed';
  dtype: string;
  seeds: (string | number)[];
  shapes: number[][];
  dtypes?: string[];
  values: Ref[];
}
export interface Outcome {
  finite?: boolean;
  error?: string;
  message?: string;
  prev_sample?: Ref;
  pred_original_sample?: Ref;
  class: ClassName;
  config: Config;
  n: number | null;
  timesteps: number[] | null;
  t: number;
}
export interface SchedulersManifest {
  command: string;
  versions: Record<string, string>;
  seed: number;
  binary: { file: string; bytes: number };
  tables: TableCase[];
  nonfinite_tables: { class: ClassName; config: Config }[];
  timesteps: TimestepsCase[];
  steps: StepGroup[];
  nonfinite_steps: (StepCase & { t: number })[];
  step_count: number;
  forward: ForwardCase[];
  per_sample: PerSampleCase[];
  differences: { sample: Ref; model_output: Ref; learned_output: Ref } & Record<string, Outcome>;
  negative_remainder: {
    config: Config;
    n: number;
    t: number;
    remainder: number;
    finite: boolean;
    pred_original_sample: Ref;
  }[];
  previous: { config: Config; n: number; timesteps: number[]; ddim: number[]; ddpm: number[] }[];
  loops: LoopCase[];
  test_figures: TestFigure[];
  randn: RandnCase[];
  default_seed: string;
  default_generator: { seed: number; values: Ref[] };
}
export interface PipelinesManifest {
  model: string;
  runs: {
    name: string;
    pipeline: 'DDIMPipeline' | 'DDPMPipeline';
    seeds: Seeds;
    batch_size: number;
    config: Config;
    options: { num_inference_steps: number; eta?: number; use_clipped_model_output?: boolean };
    images: Ref;
  }[];
  forwards: { timestep: number | number[]; sample: Ref; output: Ref }[];
}

let schedulers: Fixture<SchedulersManifest> | undefined;
let pipelines: Fixture<PipelinesManifest> | undefined;

/** What diffusers' schedulers and torch.randn gave. */
export const schedulersFixture = (): Fixture<SchedulersManifest> => (schedulers ??= new Fixture('schedulers'));
/** What diffusers' pipelines gave on the embedded model. */
export const pipelinesFixture = (): Fixture<PipelinesManifest> => (pipelines ??= new Fixture('pipelines'));

export type AnyScheduler = DDPMScheduler | DDIMScheduler | DDIMInverseScheduler;

/** A scheduler of ours with a recorded (snake_case) config. */
export function makeScheduler(name: ClassName, config: Config): AnyScheduler {
  if (name === 'DDPMScheduler') return DDPMScheduler.fromConfig(config);
  if (name === 'DDIMScheduler') return DDIMScheduler.fromConfig(config);
  return DDIMInverseScheduler.fromConfig(config);
}

export function setTimesteps(scheduler: AnyScheduler, by: SetBy): void {
  if (by.timesteps !== undefined) scheduler.setTimesteps({ timesteps: by.timesteps });
  else if (by.n !== undefined) scheduler.setTimesteps(by.n);
}

/** A step with the recorded options, on whichever class. */
export function runStep(
  scheduler: AnyScheduler,
  output: Tensor,
  t: number,
  sample: Tensor,
  options: { eta?: number; use_clipped_model_output?: boolean } | undefined,
  noise: { generator?: never } | object,
): { prevSample: Tensor; predOriginalSample: Tensor } {
  if (scheduler instanceof DDIMScheduler) {
    return scheduler.step(output, t, sample, {
      ...(options?.eta === undefined ? {} : { eta: options.eta }),
      ...(options?.use_clipped_model_output === undefined
        ? {}
        : { useClippedModelOutput: options.use_clipped_model_output }),
      ...noise,
    });
  }
  if (scheduler instanceof DDPMScheduler) return scheduler.step(output, t, sample, { ...noise });
  return scheduler.step(output, t, sample);
}
