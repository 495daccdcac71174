import { checkOptions, checkSignal, showValue } from '../arguments';
import { sampleSizeOf } from '../config/unet-config';
import { ArgumentError, ConfigError, DTypeError, ShapeError } from '../errors';
import type { DiffusionImage } from '../image';
import type { UNetLike } from '../models';
import { checkClassesOf } from '../models/class-needs';
import { toClassLabels } from '../models/unet-inputs';
import { Tensor, type Generator } from '../tensor';
import { generatorHandles } from '../tensor/create';
import { isFloating } from '../tensor/tensor-data';

/** What a step hands to {@link RunOptions.callbackOnStepEnd}. The tensors are the callback's to keep. */
export interface StepEnd {
  /** The step's index, 0 … steps − 1. */
  step: number;
  /** The timestep it came from. */
  timestep: number;
  /** x_s, the samples after the step: `[B, C, H, W]`, float32 (float64 for a float64 model). */
  latents: Tensor;
  /** x̂_0, a preview of the result, of the same shape. */
  predOriginalSample: Tensor;
}

/** How far a run is. */
export interface RunProgress {
  /** The steps done, 1 … totalSteps. */
  step: number;
  totalSteps: number;
  /** The timestep of the last step done. */
  timestep: number;
}

/** `'image'`: a list of images; `'tensor'`: one float32 NHWC tensor in [0, 1]; `'uint8'`: one uint8 NHWC tensor. */
export type OutputType = 'image' | 'tensor' | 'uint8';

/** What `images` is for an output type. */
export type ImagesOf<O extends OutputType> = O extends 'image' ? DiffusionImage[] : Tensor;

/** The options that every pipeline's `run` has. */
export interface RunOptions<O extends OutputType = OutputType> {
  /** How many images. Default 1, or the number of `latents`. */
  batchSize?: number;
  /** Draws the first noise and each step's: one for the batch, or one per image. Default: the default generator. */
  generator?: Generator | readonly Generator[];
  /** How many steps, in 1 … numTrainTimesteps. */
  numInferenceSteps?: number;
  /** Timesteps of one's own instead: strictly descending integers. */
  timesteps?: ArrayLike<number>;
  /** The classes of a class-conditional model, one per image; `[B, D]` embeddings where `classEmbedType` is `'identity'`. */
  classLabels?: Tensor | number[];
  /**
   * Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6): s ≥ 1 in ε_uncond + s (ε_cond − ε_uncond), as
   * DiT's pipeline has it. 1 (the default) is none; above, the model predicts 2B samples at once. Wants `classLabels`.
   */
  guidanceScale?: number;
  /**
   * What ε_uncond is predicted for: the class that training put in where it dropped the label. Default the last,
   * numClassEmbeds − 1; for a model that takes embeddings a tensor, default zeros.
   */
  nullClassLabel?: number | Tensor;
  /** The noise to start from, `[B, C, H, W]`, instead of the first draw. */
  latents?: Tensor;
  /** Default `'image'`. */
  outputType?: O;
  /** Called and awaited after every step; may return `{ latents }` to go on from. What it throws rejects the run. */
  callbackOnStepEnd?: (state: StepEnd) => void | { latents?: Tensor } | Promise<void | { latents?: Tensor }>;
  /** Called after every step. */
  onProgress?: (progress: RunProgress) => void;
  /** Cancels between steps: the run rejects with ERR_ABORTED. */
  signal?: AbortSignal;
}

const RUN_KEYS = [
  'batchSize',
  'generator',
  'numInferenceSteps',
  'timesteps',
  'classLabels',
  'guidanceScale',
  'nullClassLabel',
  'latents',
  'outputType',
  'callbackOnStepEnd',
  'onProgress',
  'signal',
] as const;

export const OUTPUT_TYPES: readonly OutputType[] = ['image', 'tensor', 'uint8'];


/** The largest batch: a bound on what a typing error may allocate, far above what any device holds. */
const MAX_BATCH_SIZE = 65_536;

/** Checks a run's options and returns the shape of its samples, `[B, C, H, W]`. Throws before any work. */
export function checkRunOptions(options: RunOptions, unet: UNetLike, moreKeys: readonly string[]): number[] {
  checkOptions('run', options, [...RUN_KEYS, ...moreKeys]);
  const { batchSize, latents, outputType = 'image', numInferenceSteps, timesteps, generator, classLabels } = options;
  if (!OUTPUT_TYPES.includes(outputType)) {
    throw new ArgumentError(`outputType must be one of ${OUTPUT_TYPES.join(', ')}, got ${showValue(outputType)}`);
  }
  if (numInferenceSteps !== undefined && timesteps !== undefined) {
    throw new ArgumentError('numInferenceSteps and timesteps must not both be given');
  }
  for (const key of ['callbackOnStepEnd', 'onProgress'] as const) {
    if (options[key] !== undefined && typeof options[key] !== 'function') {
      throw new ArgumentError(`${key} must be a function, got ${showValue(options[key])}`);
    }
  }
  checkSignal(options.signal);
  if (batchSize !== undefined && !(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= MAX_BATCH_SIZE)) {
    throw new ArgumentError(`batchSize must be an integer in 1 … ${MAX_BATCH_SIZE}, got ${showValue(batchSize)}`);
  }
  const shape = sampleShape(unet, batchSize, latents);
  generatorHandles(generator);
  if (Array.isArray(generator) && generator.length > 1 && generator.length !== shape[0]) {
    throw new ArgumentError(`generator must be one Generator or one per image (${shape[0]}), got ${generator.length}`);
  }
  checkClassesOf(unet, classLabels);
  if (classLabels !== undefined) toClassLabels(classLabels, shape[0]!, unet).dispose();
  return shape;
}

function sampleShape(unet: UNetLike, batchSize: number | undefined, latents: Tensor | undefined): number[] {
  const { inChannels } = unet.config;
  const size = sampleSizeOf(unet.config);
  if (latents === undefined) {
    if (size === null) throw new ConfigError('latents must be given: the model states no sampleSize');
    return [batchSize ?? 1, inChannels, ...size];
  }
  if (!(latents instanceof Tensor)) throw new ArgumentError(`latents must be a Tensor, got ${showValue(latents)}`);
  const { shape, dtype } = latents;
  if (!isFloating(dtype)) throw new DTypeError(`latents must be of a floating dtype, got ${dtype}`);
  if (shape.length !== 4 || shape[0] === 0 || shape[1] !== inChannels || (batchSize !== undefined && shape[0] !== batchSize)) {
    throw new ShapeError(`latents must be [${batchSize ?? 'B'}, ${inChannels}, H, W], got [${shape.join(', ')}]`);
  }
  return [...shape];
}
