import { checkOptions } from '../arguments';
import { parseSchedulerConfig, type SchedulerConfigInput, type DDIMSchedulerConfig } from '../config/scheduler-config';
import type { HubOptions } from '../hub';
import type { Tensor } from '../tensor';
import type { DDPMStepOptions } from './ddpm-scheduler';
import { readSchedulerConfig, Scheduler, type SchedulerOutput } from './scheduler';
import type { Timesteps } from './step-arguments';

/** Options of {@link DDIMScheduler.step}; a list has one entry per sample. */
export interface DDIMStepOptions extends DDPMStepOptions {
  /** η ≥ 0: 0 (the default) is the deterministic ODE, 1 has DDPM's variance. With η = 0 `prevTimestep` may lie above t. */
  eta?: number | ArrayLike<number>;
  /** Whether ε is derived anew from the clipped x̂_0, as in GLIDE. Default false. */
  useClippedModelOutput?: boolean;
}

const STEP_KEYS = [
  'generator',
  'varianceNoise',
  'prevTimestep',
  'returnPredOriginalSample',
  'eta',
  'useClippedModelOutput',
] as const;

/**
 * Denoising Diffusion Implicit Models (Song et al. 2021, arXiv:2010.02502): jumps from any timestep to any other with a
 * model that DDPM trained.
 *
 * @example
 * const scheduler = new DDIMScheduler();
 * scheduler.setTimesteps({ timesteps: [999, 899, 799, 699, 599, 499, 399, 299, 199, 99] });
 */
export class DDIMScheduler extends Scheduler<'DDIMScheduler'> {
  /** @throws ConfigError for an unknown key or a value out of its range. */
  constructor(config?: Partial<DDIMSchedulerConfig>) {
    super('DDIMScheduler', config);
  }

  /**
   * A scheduler of any scheduler's config, in either spelling; keys of other classes are kept and ignored.
   *
   * @param overrides keys of this class in place of the config's, as the keywords of Python's `from_config`
   * @throws ConfigError naming the key, what it got and what it wants.
   */
  static fromConfig(config: SchedulerConfigInput, overrides?: Partial<DDIMSchedulerConfig>): DDIMScheduler {
    const parsed = parseSchedulerConfig('DDIMScheduler', config, 'file', overrides);
    return new DDIMScheduler(parsed.config).keepExtra(parsed.extra);
  }

  /** Reads `scheduler_config.json` from a folder or a hub repository, at its top or in `scheduler/`. */
  static async fromPretrained(folderOrRepo: string, options?: HubOptions): Promise<DDIMScheduler> {
    return DDIMScheduler.fromConfig(await readSchedulerConfig(folderOrRepo, options));
  }

  /** ᾱ of the clean sample, timestep −1: 1, or ᾱ_0 with `setAlphaToOne: false`. */
  get finalAlphaCumprod(): number {
    return this.allTables().finalAlphaCumprod;
  }

  /**
   * x_t → x_s = √ᾱ_s x̂_0 + √(1 − ᾱ_s − σ²) ε + σ z, eq. 12, with σ = η √((1 − ᾱ_s)/(1 − ᾱ_t)) √(1 − ᾱ_t/ᾱ_s), eq. 16.
   *
   * @param modelOutput `[B, C, …]`; of `[B, 2C, …]`, a model with learned variance, the first half.
   * @param timestep t in 0 … numTrainTimesteps − 1, for the batch or per sample.
   * @param sample x_t `[B, C, …]`. The outputs have torch's promotion of both dtypes.
   * @throws ShapeError, DTypeError, DeviceError, TimestepError, ArgumentError; ConfigError where no finite step exists.
   */
  step(
    modelOutput: Tensor,
    timestep: Timesteps,
    sample: Tensor,
    options: DDIMStepOptions & { returnPredOriginalSample: false },
  ): Pick<SchedulerOutput, 'prevSample'>;
  step(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, options?: DDIMStepOptions): SchedulerOutput;
  step(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, options: DDIMStepOptions = {}): SchedulerOutput {
    checkOptions('step', options, STEP_KEYS);
    return this.jump(modelOutput, timestep, sample, options);
  }
}
