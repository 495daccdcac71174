import { ArgumentError } from '../errors';
import type { UNetLike } from '../models';
import { DDIMScheduler, type DDPMScheduler } from '../schedulers';
import { checkScheduler } from '../schedulers/check-scheduler';
import { readBoolean, readEta } from '../schedulers/step-arguments';
import { loadPipelineParts, type PipelineOptions } from './load';
import { checkParts, UNetPipeline, type StepOptions } from './pipeline';
import type { ImagesOf, OutputType, RunOptions } from './run-options';

/** Options of {@link DDIMPipeline.run}. */
export interface DDIMRunOptions<O extends OutputType = OutputType> extends RunOptions<O> {
  /** η ≥ 0, for the batch or per image: 0 (the default) is deterministic, 1 has DDPM's variance. */
  eta?: number | ArrayLike<number>;
  /** Whether ε is derived anew from the clipped x̂_0. Default false. */
  useClippedModelOutput?: boolean;
}

function asDDIM(given: DDIMScheduler | DDPMScheduler): DDIMScheduler {
  const scheduler = checkScheduler(given);
  return scheduler instanceof DDIMScheduler ? scheduler : DDIMScheduler.fromConfig(scheduler.config);
}

/** DDIM's own options of a step, checked; η copied, so that the caller's list may change. @throws ArgumentError */
function ddimStep({ eta, useClippedModelOutput }: DDIMRunOptions, batchSize: number): StepOptions {
  const etas = eta === undefined ? Float64Array.of(0) : readEta(eta);
  if (etas.length !== 1 && etas.length !== batchSize) {
    throw new ArgumentError(`eta must be one number or one per image (${batchSize}), got ${etas.length}`);
  }
  return { eta: etas, useClippedModelOutput: readBoolean(useClippedModelOutput, 'useClippedModelOutput', false) };
}

/**
 * Draws images with DDIM in few steps, from any model that DDPM trained, as Python's DDIMPipeline: the same checkpoint,
 * seeds and options give the same images. A DDPM scheduler is turned into DDIM.
 *
 * @example
 * const pipe = await DDIMPipeline.fromPretrained(EMBEDDED_MODEL);
 * const { images } = await pipe.run({ batchSize: 4, numInferenceSteps: 20 });
 * await images[0]!.save('sample.png');
 */
export class DDIMPipeline extends UNetPipeline<DDIMScheduler> {
  protected override readonly className = 'DDIMPipeline';
  private ddim: DDIMScheduler;

  constructor(parts: { unet: UNetLike; scheduler: DDIMScheduler | DDPMScheduler }) {
    checkParts('DDIMPipeline', parts);
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
   * Reads a UNet and any scheduler's config, as DDIM's, from a folder in diffusers' format or from a hub repository.
   *
   * @throws NotFoundError, NetworkError, CheckpointError, ConfigError, DeviceError, DTypeError
   */
  static async fromPretrained(folderOrRepo: string, options: PipelineOptions = {}): Promise<DDIMPipeline> {
    return new DDIMPipeline(await loadPipelineParts(folderOrRepo, options, 'DDIMPipeline'));
  }

  /** Draws images in 50 steps, unless told otherwise. Rejects before any work for a wrong option. */
  async run<O extends OutputType = 'image'>(options: DDIMRunOptions<O> = {}): Promise<{ images: ImagesOf<O> }> {
    return this.sample(options, 50, ['eta', 'useClippedModelOutput'], (batchSize) => ddimStep(options, batchSize));
  }

  protected override newScheduler(): DDIMScheduler {
    return DDIMScheduler.fromConfig(this.ddim.config);
  }
}
