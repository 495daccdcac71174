import { join } from 'node:path';
import { checkFolder, checkOptions, showValue } from '../arguments';
import { readJsonFile, writeJsonFile } from '../config/json-file';
import { parseSchedulerConfig, toDiskConfig, type ConfigOf, type SchedulerKind } from '../config/scheduler-config';
import { ArgumentError, NotFoundError, TimestepError } from '../errors';
import { componentFolder, HUB_OPTION_KEYS, resolveModelFolder, type HubOptions } from '../hub';
import { addon } from '../native/addon';
import type { PlanHandle, SchedulerHandle, StepCall, StepResult } from '../native/addon-types';
import { Tensor, type Generator } from '../tensor';
import { generatorHandles } from '../tensor/create';
import { wrapTensor } from '../tensor/tensor';
import { notEmpty, readBoolean, readEta, readTimestepList, readTimesteps, tensorHandle, type Timesteps } from './step-arguments';

/** What a step gives: x_s, and the clean sample x̂_0 that the model's output implies (clipped as configured). */
export interface SchedulerOutput {
  prevSample: Tensor;
  predOriginalSample: Tensor;
}

/** q(x_s | x_t, x_0): its mean `[B, …]` and its variance, a number for one timestep and a Float32Array for several. */
export interface PosteriorOutput {
  mean: Tensor;
  variance: number | Float32Array;
}

/** What every scheduler's step comes down to. */
export interface JumpOptions {
  prevTimestep?: number | ArrayLike<number>;
  eta?: number | ArrayLike<number>;
  useClippedModelOutput?: boolean;
  generator?: Generator | readonly Generator[];
  varianceNoise?: Tensor;
  returnPredOriginalSample?: boolean;
}

/** The file that holds a scheduler's config in diffusers' folder format. */
export const SCHEDULER_FILE = 'scheduler_config.json';

const NO_ETA = Float64Array.of(0);

const kinds = new WeakMap<object, SchedulerKind>();
/** The class of the scheduler whose `config` this object is; undefined for any other. @internal */
export const kindOfConfig = (config: object): SchedulerKind | undefined => kinds.get(config);

function stepCall(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, o: JumpOptions): StepCall {
  return [
    tensorHandle(modelOutput, 'modelOutput'),
    readTimesteps(timestep, 'timestep'),
    tensorHandle(sample, 'sample'),
    o.prevTimestep === undefined ? undefined : readTimesteps(o.prevTimestep, 'prevTimestep'),
    o.eta === undefined ? NO_ETA : notEmpty(readEta(o.eta), 'eta'),
    readBoolean(o.useClippedModelOutput, 'useClippedModelOutput', false),
    generatorHandles(o.generator),
    o.varianceNoise === undefined ? undefined : tensorHandle(o.varianceNoise, 'varianceNoise'),
    readBoolean(o.returnPredOriginalSample, 'returnPredOriginalSample', true),
  ];
}

function wrapStep([prev, original]: StepResult): SchedulerOutput {
  const output: Partial<SchedulerOutput> = { prevSample: wrapTensor(prev) };
  if (original !== null) output.predOriginalSample = wrapTensor(original);
  return output as SchedulerOutput;
}

/** What DDPM, DDIM and DDIMInverse share. */
export abstract class Scheduler<K extends SchedulerKind> {
  /** How many model calls a step takes. */
  readonly order = 1;
  /** The standard deviation of the noise that sampling starts from. */
  readonly initNoiseSigma: number = 1;

  protected readonly handle: SchedulerHandle;
  private readonly kind: K;
  private readonly known: Readonly<ConfigOf<K>>;
  private extra: Readonly<Record<string, unknown>> = {};
  private whole: Readonly<ConfigOf<K>> | undefined;
  private tables: ReturnType<SchedulerHandle['tables']> | undefined;
  private list: Int32Array | undefined;

  protected constructor(kind: K, config: Partial<ConfigOf<K>> | undefined) {
    this.kind = kind;
    this.known = parseSchedulerConfig(kind, config, 'constructor').config;
    this.handle = new (addon().SchedulerHandle)(kind, this.known);
  }

  /** Keeps a file's keys that this class has no use for. @internal */
  keepExtra(extra: Readonly<Record<string, unknown>>): this {
    this.extra = extra;
    this.whole = undefined;
    return this;
  }

  /** The whole config, deeply frozen, with diffusers' defaults filled in; keys of other classes' files are kept. */
  get config(): Readonly<ConfigOf<K>> {
    if (this.whole === undefined) {
      this.whole = Object.freeze(Object.assign({} as ConfigOf<K>, this.extra, this.known));
      kinds.set(this.whole, this.kind);
    }
    return this.whole;
  }

  /** The number of training timesteps. */
  get length(): number {
    return this.known.numTrainTimesteps;
  }
  /** β_t, float32, one per training timestep; a copy, as the other lists are. */
  get betas(): Float32Array {
    return this.allTables().betas.slice();
  }
  /** α_t = 1 − β_t. */
  get alphas(): Float32Array {
    return this.allTables().alphas.slice();
  }
  /** ᾱ_t = ∏ α_i over i ≤ t. */
  get alphasCumprod(): Float32Array {
    return this.allTables().alphasCumprod.slice();
  }
  /** The timesteps to go through, in order; every training timestep until {@link setTimesteps}. */
  get timesteps(): Int32Array {
    return (this.list ??= this.handle.timesteps()).slice();
  }
  /** How many steps {@link setTimesteps} chose; null before it. */
  get numInferenceSteps(): number | null {
    return this.handle.numInferenceSteps();
  }

  protected allTables(): ReturnType<SchedulerHandle['tables']> {
    return (this.tables ??= this.handle.tables());
  }

  /**
   * Chooses the timesteps to go through: `n` of them by the config's timestepSpacing, or a list of one's own.
   *
   * @param steps n in 1 … numTrainTimesteps, `{ numInferenceSteps: n }`, or `{ timesteps }`: integers in
   *   0 … numTrainTimesteps − 1, strictly descending (ascending for DDIMInverse).
   * @throws TimestepError, also where the spacing's list leaves that range.
   */
  setTimesteps(
    steps:
      | number
      | { numInferenceSteps: number; timesteps?: never }
      | { timesteps: ArrayLike<number>; numInferenceSteps?: never },
  ): void {
    const options = typeof steps === 'number' ? { numInferenceSteps: steps } : (steps ?? {});
    checkOptions('setTimesteps', options, ['numInferenceSteps', 'timesteps']);
    const { numInferenceSteps: n, timesteps } = options as { numInferenceSteps?: unknown; timesteps?: unknown };
    if ((n === undefined) === (timesteps === undefined)) {
      throw new ArgumentError('setTimesteps wants either numInferenceSteps or timesteps');
    }
    if (timesteps !== undefined) {
      this.handle.setCustomTimesteps(readTimestepList(timesteps, 'timesteps'));
    } else {
      if (!Number.isSafeInteger(n)) {
        throw new TimestepError(`numInferenceSteps must be an integer in 1 … ${this.length}, got ${showValue(n)}`);
      }
      this.handle.setNumInferenceSteps(n as number);
    }
    this.list = undefined;
  }

  /** The timestep that a step from `t` goes to; −1, the clean sample, after the last. @throws TimestepError */
  previousTimestep(t: number): number {
    if (typeof t !== 'number') throw new ArgumentError(`timestep must be one integer, got ${showValue(t)}`);
    if (!Number.isSafeInteger(t)) throw new TimestepError(`timestep must be an integer, got ${t}`);
    return this.handle.previousTimestep(t);
  }

  /** Returns `sample`: these schedulers scale nothing. */
  scaleModelInput(sample: Tensor, _timestep?: number): Tensor {
    return sample;
  }

  protected jump(modelOutput: Tensor, timestep: Timesteps, sample: Tensor, options: JumpOptions): SchedulerOutput {
    return wrapStep(this.handle.step(...stepCall(modelOutput, timestep, sample, options)));
  }

  /** The step on the addon's executor instead of the caller's thread, for the pipelines. @internal */
  async stepAsync(modelOutput: Tensor, timestep: number, sample: Tensor, options: JumpOptions): Promise<SchedulerOutput> {
    return wrapStep(await this.handle.stepAsync(...stepCall(modelOutput, timestep, sample, options)));
  }

  /** Every step over this scheduler's timesteps, for the engine; they must not be set afterwards. @internal */
  plan(eta: number, useClippedModelOutput: boolean, firstStep: number): PlanHandle {
    return this.handle.plan(eta, useClippedModelOutput, firstStep);
  }

  /**
   * Noises clean samples: √ᾱ_t x_0 + √(1 − ᾱ_t) ε (DDPM, arXiv:2006.11239, eq. 4), at one timestep or one per sample.
   *
   * @throws ShapeError, DTypeError, DeviceError, TimestepError
   */
  addNoise(originalSamples: Tensor, noise: Tensor, timesteps: Timesteps): Tensor {
    return wrapTensor(
      this.handle.addNoise(
        tensorHandle(originalSamples, 'originalSamples'),
        tensorHandle(noise, 'noise'),
        readTimesteps(timesteps, 'timesteps'),
      ),
    );
  }

  /** The velocity √ᾱ_t ε − √(1 − ᾱ_t) x (arXiv:2202.00512, section 4), at one timestep or one per sample. */
  getVelocity(sample: Tensor, noise: Tensor, timesteps: Timesteps): Tensor {
    return wrapTensor(
      this.handle.getVelocity(
        tensorHandle(sample, 'sample'),
        tensorHandle(noise, 'noise'),
        readTimesteps(timesteps, 'timesteps'),
      ),
    );
  }

  /**
   * DDPM's posterior q(x_s | x_t, x_0) (arXiv:2006.11239, eqs. 6 and 7), whatever the variance type.
   *
   * @param prevTimestep s, below t; default {@link previousTimestep} of t. −1 is the clean sample.
   */
  posterior(
    sample: Tensor,
    originalSample: Tensor,
    timestep: Timesteps,
    prevTimestep?: number | ArrayLike<number>,
  ): PosteriorOutput {
    const { mean, variance } = this.handle.posterior(
      tensorHandle(sample, 'sample'),
      tensorHandle(originalSample, 'originalSample'),
      readTimesteps(timestep, 'timestep'),
      prevTimestep === undefined ? undefined : readTimesteps(prevTimestep, 'prevTimestep'),
    );
    return { mean: wrapTensor(mean), variance: variance.length === 1 ? variance[0]! : variance };
  }

  /** Writes `scheduler_config.json` into a folder (made if need be); Python's diffusers reads it. */
  async savePretrained(folder: string): Promise<void> {
    checkFolder(folder);
    await writeJsonFile(join(folder, SCHEDULER_FILE), toDiskConfig(this.kind, this.known, this.extra));
  }
}

/** @internal Reads the scheduler's config from a folder or a hub repository. */
export async function readSchedulerConfig(
  folderOrRepo: string,
  options: HubOptions = {},
): Promise<Record<string, unknown>> {
  checkOptions('fromPretrained', options, HUB_OPTION_KEYS);
  const root = await resolveModelFolder(folderOrRepo, { allowPatterns: [`*${SCHEDULER_FILE}`], ...options });
  // A pipeline's folder keeps it in scheduler/, a scheduler's own folder at the top.
  const folder = options.subfolder === undefined ? await componentFolder(root, 'scheduler') : root;
  try {
    return await readJsonFile(join(folder, SCHEDULER_FILE));
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new NotFoundError(`${folderOrRepo} holds no ${SCHEDULER_FILE} (looked in ${folder})`, { cause: error });
  }
}
