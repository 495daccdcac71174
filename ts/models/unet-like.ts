import type { UNetConfig } from '../config/unet-config';
import type { DType } from '../native/addon-types';
import type { Tensor } from '../tensor';
import type { SaveOptions } from './weight-files';

/** What a sampler reads of a UNet's config: channels and size of the samples, and whatever else the model states. */
export type UNetLikeConfig = Readonly<
  Pick<UNetConfig, 'inChannels' | 'outChannels' | 'sampleSize'> & Partial<UNetConfig>
>;

/** A timestep for the whole batch, or one for each sample (an array or tensor of B entries). */
export type UNetTimestep = number | ArrayLike<number> | Tensor;

/** Options of a UNet's forward. */
export interface UNetForwardOptions {
  /** The classes of a class-conditional model: B integers in 0 … numClassEmbeds − 1, or a tensor of them. */
  classLabels?: Tensor | readonly number[];
  /** Cancels the call: it rejects with ERR_ABORTED. */
  signal?: AbortSignal;
}

/** The noise predictor that schedulers, pipelines and the engine work with. */
export interface UNetLike {
  readonly config: UNetLikeConfig;
  /** The dtype it computes in, and of its output. */
  readonly dtype: DType;
  /** `'cpu'` or `'cuda:N'`. */
  readonly device: string;
  /** The file that its weights were read from (of a sharded model the index); null or missing for a model made here. */
  readonly file?: string | null;
  /**
   * One prediction for a batch of noisy samples.
   *
   * @param sample [B, inChannels, H, W], on the model's device; cast to the model's dtype.
   * @param timestep one number for the batch or one a sample; integers go in as int64, fractional ones as float32.
   * @returns `sample`: [B, outChannels, H, W] in the model's dtype.
   */
  forward(sample: Tensor, timestep: UNetTimestep, options?: UNetForwardOptions): Promise<{ sample: Tensor }>;
  /** Moves or casts the model in place; calls under way finish with the old weights. */
  to(options: { device?: string; dtype?: DType }): Promise<this>;
  /** Writes the model into a folder, made where missing, from which it loads again. */
  savePretrained(folder: string, options?: SaveOptions): Promise<void>;
  /** Frees the model; calls under way finish. Idempotent. */
  dispose(): void;
}
