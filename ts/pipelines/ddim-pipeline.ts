import { checkOptions, showValue } from '../arguments';
import { ArgumentError } from '../errors';
import type { UNetLike } from '../models';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { readEta } from '../schedulers/step-arguments';
import { loadPipelineParts, type PipelineOptions } from './load';
import { UNetPipeline } from './pipeline';
import type { ImagesOf, OutputType, RunOptions } from './run-options';

/** Options of {@link DDIMPipeline.run}. */
export interface DDIMRunOptions<O extends OutputType = OutputType> extends RunOptions<O> {
  /** η ≥ 0, for the batch or per image: 0 (the default) is deterministic, 1 has DDPM's variance. */
  eta?: number | ArrayLike<number>;
  /** Whether ε is derived anew from the clipped x̂_0. Default false. */
  useClippedModelOutput?: boolean;
}

function asDDIM(scheduler: DDIMScheduler | DDPMScheduler): DDIMScheduler {
  if (scheduler instanceof DDIMScheduler) return scheduler;
  if (scheduler instanceof DDPMScheduler) return DDIMScheduler.fromConfig(scheduler.config);
  throw new ArgumentError(`scheduler must be a DDIMScheduler or a DDPMScheduler, got ${showValue(scheduler)}`);
}

/**
 * Draws images with DDIM in few steps, from any model that DDPM trained, as Python's DDIMPipeline: the same checkpoint,
 * seeds and options give the same images. A DDPM scheduler is turned into DDIM.
 *
 * @example
 * const pipe = await DDIMPipeline.fromPretrained('models/fashion-mnist-ddpm');
 * const { images } = await pipe.run({ batchSize: 4, numInferenceSteps: 20 });
 * await images[0].save('sample.png');
 */
export class DDIMPipeline extends UNetPipeline<DDIMScheduler> {
  private ddim: DDIMScheduler;

  constructor(parts: { unet: UNetLike; scheduler: DDIMScheduler | DDPMScheduler }) {
    checkOptions('DDIMPipeline', parts, ['unet', 'scheduler']);
    super(parts.unet);
    this.ddim = asDDIM(parts.scheduler);
  }

  /** The scheduler; a DDPMScheduler that is assigned is turned into DDIM. */
  override get scheduler(): DDIMScheduler {
    return this.ddim;
  }
  override set scheduler(scheduler: DDIMScheduler | DDPMScheduler) {
    this.ddim = asDDIM(scheduler);
  }

  /**
   * Reads a pipeline, DDPM's or DDIM's, from a folder in diffusers' format or from a hub repository.
   *
   * @throws NotFoundError, NetworkError, CheckpointError, ConfigError, DeviceError, DTypeError
   */
  static async fromPretrained(folderOrRepo: string, options: PipelineOptions = {}): Promise<DDIMPipeline> {
    return new DDIMPipeline(await loadPipelineParts(folderOrRepo, options));
  }

  /** Draws images in 50 steps, unless told otherwise. Rejects before any work for a wrong option. */
  async run<O extends OutputType = 'image'>(options: DDIMRunOptions<O> = {}): Promise<{ images: ImagesOf<O> }> {
    const { eta, useClippedModelOutput } = options;
    if (eta !== undefined) readEta(eta);
    if (useClippedModelOutput !== undefined && typeof useClippedModelOutput !== 'boolean') {
      throw new ArgumentError(`useClippedModelOutput must be a boolean, got ${showValue(useClippedModelOutput)}`);
    }
    return this.sample(options, 50, ['eta', 'useClippedModelOutput'], {
      ...(eta === undefined ? {} : { eta }),
      ...(useClippedModelOutput === undefined ? {} : { useClippedModelOutput }),
    });
  }

  protected override newScheduler(): DDIMScheduler {
    return DDIMScheduler.fromConfig(this.ddim.config);
  }
}
