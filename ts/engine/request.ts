import type { SchedulerConfigInput } from '../config/scheduler-config';
import type { DiffusionImage } from '../image';
import type { Generator, Tensor } from '../tensor';
import type { EngineScheduler } from './scheduler-of';

/**
 * `'image'`: a DiffusionImage; `'tensor'`: float32 [H, W, C] in [0, 1]; `'uint8'`: uint8 [H, W, C]; `'latent'`: x_0 itself,
 * float32 [C, H, W].
 */
export type EngineOutputType = 'image' | 'tensor' | 'uint8' | 'latent';

/** What a request of an output type gives. */
export type SampleOf<O extends EngineOutputType> = O extends 'image' ? DiffusionImage : Tensor;

/** Where random numbers come from: torch's generator, or counter-based Philox, the same numbers on every device. */
export type RandomSource = 'torch' | 'philox';

/** What {@link SampleRequest.onStep} is told. */
export interface EngineProgress<O extends EngineOutputType = EngineOutputType> {
  /** The steps done, 1 … totalSteps. */
  step: number;
  totalSteps: number;
  /** The timestep of the last step done. */
  timestep: number;
  /** x̂_0 so far, in the request's output type, after every `previewEvery` steps. */
  preview?: SampleOf<O>;
}

/** One image asked of a {@link SamplerEngine}. */
export interface SampleRequest<O extends EngineOutputType = EngineOutputType> {
  /**
   * A scheduler, or its `config`, or a config that names its class (`_class_name`), as the copy of a scheduler's must. It is
   * not changed.
   */
  scheduler: EngineScheduler | SchedulerConfigInput;
  /** How many steps, in 1 … numTrainTimesteps. Default 1000 for DDPM, else 50. */
  numInferenceSteps?: number;
  /** Timesteps of one's own instead: strictly descending integers (ascending for DDIMInverse). */
  timesteps?: ArrayLike<number>;
  /** DDIM's η ≥ 0. Default 0. */
  eta?: number;
  /** DDIM: whether ε is derived anew from the clipped x̂_0. Default false. */
  useClippedModelOutput?: boolean;
  /** Of a generator of the request's own, on the CPU. Default: the default generator draws. */
  seed?: number | bigint;
  /** Draws instead of a `seed`; it advances while the request runs, and should be no other request's meanwhile. */
  generator?: Generator;
  /** Default `'torch'`, whose numbers are Python's; `'philox'` wants a `seed`. */
  rng?: RandomSource;
  /** The class of a class-conditional model; its embedding [D] where `classEmbedType` is `'identity'`. */
  classLabel?: number | Tensor;
  /**
   * Classifier-free guidance, as {@link RunOptions.guidanceScale}: 1 (the default) is none; above, the model sees two samples for
   * this one. Wants a `classLabel`.
   */
  guidanceScale?: number;
  /** As {@link RunOptions.nullClassLabel}; an embedding [D] where `classEmbedType` is `'identity'`. */
  nullClassLabel?: number | Tensor;
  /** Default `'image'`; `'latent'` with a DDIMInverseScheduler. */
  outputType?: O;
  /** A higher one goes first; any integer. Default 0. */
  priority?: number;
  /** When it must be done, waiting included: milliseconds from now, or a point in time; else it fails with ERR_DEADLINE. */
  deadline?: Date | number;
  /** Cancels: rejects with ERR_ABORTED at once, and the place in the batch is free at the next step. */
  signal?: AbortSignal;
  /** Whether to wait, in order, for a place where the queue is full, rather than fail with ERR_QUEUE_FULL. Default false. */
  wait?: boolean;
  /** x_T, [C, H, W] or [1, C, H, W], instead of the first draw. */
  latents?: Tensor;
  /**
   * Image-to-image: x_0 as `outputType` `'image'` or `'tensor'` gives it, noised as far as `strength` says. With a
   * DDIMInverseScheduler it is what is inverted.
   */
  image?: DiffusionImage | Tensor;
  /** How far `image` is noised, in (0, 1]: that part of the steps is gone through. Default 0.8, as in diffusers. */
  strength?: number;
  /** Told of every step, without holding up the engine. What it throws rejects the request. */
  onStep?: (progress: EngineProgress<O>) => void;
  /** After how many steps `onStep` gets a preview; default never. */
  previewEvery?: number;
}
