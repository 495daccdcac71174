import { checkOptions } from '../arguments';
import { parseSchedulerConfig, type SchedulerConfigInput, type DDIMInverseSchedulerConfig } from '../config/scheduler-config';
import type { HubOptions } from '../hub';
import type { Tensor } from '../tensor';
import { readSchedulerConfig, Scheduler, type SchedulerOutput } from './scheduler';
import { readTimesteps, type Timesteps } from './step-arguments';

/** Options of {@link DDIMInverseScheduler.step}. */
export interface DDIMInverseStepOptions {
  /** The timestep to come from; default the schedule's, one entry below. −1 is the clean sample. */
  sourceTimestep?: number | ArrayLike<number>;
  /** Whether to make `predOriginalSample`. Default true. */
  returnPredOriginalSample?: boolean;
}

const STEP_KEYS = ['sourceTimestep', 'returnPredOriginalSample'] as const;

/**
 * DDIM run backwards (section 4.3 of arXiv:2010.02502): from a clean sample to the noise that DDIM with η = 0 would turn
 * into it. The timesteps ascend; a step's `timestep` is its target, and the one to give the model.
 *
 * @example
 * const inverse = DDIMInverseScheduler.fromConfig(scheduler.config);
 * inverse.setTimesteps(50);
 */
export class DDIMInverseScheduler extends Scheduler<'DDIMInverseScheduler'> {
  /** @throws ConfigError for an unknown key or a value out of its range. */
  constructor(config?: Partial<DDIMInverseSchedulerConfig>) {
    super('DDIMInverseScheduler', config);
  }

  /**
   * A scheduler of any scheduler's config, in either spelling; keys of other classes are kept and ignored.
   *
   * @param overrides keys of this class in place of the config's, as the keywords of Python's `from_config`
   * @throws ConfigError naming the key, what it got and what it wants.
   */
  static fromConfig(config: SchedulerConfigInput, overrides?: Partial<DDIMInverseSchedulerConfig>): DDIMInverseScheduler {
    const parsed = parseSchedulerConfig('DDIMInverseScheduler', config, 'file', overrides);
    return new DDIMInverseScheduler(parsed.config).keepExtra(parsed.extra);
  }

  /** Reads `scheduler_config.json` from a folder or a hub repository, at its top or in `scheduler/`. */
  static async fromPretrained(folderOrRepo: string, options?: HubOptions): Promise<DDIMInverseScheduler> {
    return DDIMInverseScheduler.fromConfig(await readSchedulerConfig(folderOrRepo, options));
  }

  /** ᾱ of the clean sample, timestep −1: 1, or ᾱ_0 with `setAlphaToOne: false`. */
  get initialAlphaCumprod(): number {
    return this.allTables().finalAlphaCumprod;
  }

  /**
   * x_s → x_t = √ᾱ_t x̂_0 + √(1 − ᾱ_t) ε, eq. 12 with σ = 0, upwards from s, one entry below t.
   *
   * @param modelOutput `[B, C, …]`; of `[B, 2C, …]`, a model with learned variance, the first half.
   * @param timestep t in 0 … numTrainTimesteps − 1, for the batch or per sample.
   * @param sample x_s `[B, C, …]`. The outputs have torch's promotion of both dtypes.
   * @throws ShapeError, DTypeError, DeviceError, TimestepError, ArgumentError; ConfigError where no finite step exists.
   */
  step(
    modelOutput: Tensor,
    timestep: Timesteps,
    sample: Tensor,
    options: DDIMInverseStepOptions & { returnPredOriginalSample: false },
  ): Pick<SchedulerOutput, 'prevSample'>;
  step(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, options?: DDIMInverseStepOptions): SchedulerOutput;
  step(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, options: DDIMInverseStepOptions = {}): SchedulerOutput {
    checkOptions('step', options, STEP_KEYS);
    const { sourceTimestep, ...rest } = options;
    return this.jump(modelOutput, timestep, sample, {
      ...rest,
      ...(sourceTimestep === undefined ? {} : { prevTimestep: readTimesteps(sourceTimestep, 'sourceTimestep') }),
    });
  }
}
