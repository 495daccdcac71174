import { checkOptions } from '../arguments';
import { parseSchedulerConfig, type SchedulerConfigInput, type DDPMSchedulerConfig } from '../config/scheduler-config';
import type { HubOptions } from '../hub';
import type { Generator, Tensor } from '../tensor';
import { readSchedulerConfig, Scheduler, type SchedulerOutput } from './scheduler';
import type { Timesteps } from './step-arguments';

/** Options of {@link DDPMScheduler.step}; a list has one entry per sample. */
export interface DDPMStepOptions {
  /** Draws the noise: one for the batch, or one per sample. Default: the default generator. */
  generator?: Generator | readonly Generator[];
  /** The noise itself, of the sample's shape; not together with `generator`. */
  varianceNoise?: Tensor;
  /** The timestep to go to, below `timestep`; default the schedule's next. −1 is the clean sample. */
  prevTimestep?: number | ArrayLike<number>;
  /** Whether to make `predOriginalSample`. Default true. */
  returnPredOriginalSample?: boolean;
}

const STEP_KEYS = ['generator', 'varianceNoise', 'prevTimestep', 'returnPredOriginalSample'] as const;

/**
 * Denoising Diffusion Probabilistic Models (Ho et al. 2020, arXiv:2006.11239): ancestral sampling from
 * q(x_s | x_t, x̂_0).
 *
 * @example
 * const scheduler = new DDPMScheduler({ betaSchedule: 'squaredcos_cap_v2' });
 * scheduler.setTimesteps(100);
 */
export class DDPMScheduler extends Scheduler<'DDPMScheduler'> {
  /** @throws ConfigError for an unknown key or a value out of its range. */
  constructor(config?: Partial<DDPMSchedulerConfig>) {
    super('DDPMScheduler', config);
  }

  /**
   * A scheduler of any scheduler's config, in either spelling; keys of other classes are kept and ignored.
   *
   * @param overrides keys of this class in place of the config's, as the keywords of Python's `from_config`
   * @throws ConfigError naming the key, what it got and what it wants.
   */
  static fromConfig(config: SchedulerConfigInput, overrides?: Partial<DDPMSchedulerConfig>): DDPMScheduler {
    const parsed = parseSchedulerConfig('DDPMScheduler', config, 'file', overrides);
    return new DDPMScheduler(parsed.config).keepExtra(parsed.extra);
  }

  /** Reads `scheduler_config.json` from a folder or a hub repository, at its top or in `scheduler/`. */
  static async fromPretrained(folderOrRepo: string, options?: HubOptions): Promise<DDPMScheduler> {
    return DDPMScheduler.fromConfig(await readSchedulerConfig(folderOrRepo, options));
  }

  /**
   * x_t → x_s: the posterior's mean at the clipped x̂_0, plus noise of the configured variance where t > 0.
   *
   * @param modelOutput `[B, C, …]`, or `[B, 2C, …]` for a learned variance.
   * @param timestep t in 0 … numTrainTimesteps − 1, for the batch or per sample.
   * @param sample x_t `[B, C, …]`. The outputs have torch's promotion of both dtypes.
   * @throws ShapeError, DTypeError, DeviceError, TimestepError, ArgumentError; ConfigError where no finite step exists.
   */
  step(
    modelOutput: Tensor,
    timestep: Timesteps,
    sample: Tensor,
    options: DDPMStepOptions & { returnPredOriginalSample: false },
  ): Pick<SchedulerOutput, 'prevSample'>;
  step(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, options?: DDPMStepOptions): SchedulerOutput;
  step(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, options: DDPMStepOptions = {}): SchedulerOutput {
    checkOptions('step', options, STEP_KEYS);
    return this.jump(modelOutput, timestep, sample, options);
  }
}
