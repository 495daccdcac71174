import { checkOptions, showValue } from '../arguments';
import { ArgumentError } from '../errors';
import type { UNetLike } from '../models';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { loadPipelineParts, type PipelineOptions } from './load';
import { UNetPipeline } from './pipeline';
import type { ImagesOf, OutputType, RunOptions } from './run-options';

/** Options of {@link DDPMPipeline.run}. */
export type DDPMRunOptions<O extends OutputType = OutputType> = RunOptions<O>;

/**
 * Draws images with DDPM's ancestral sampling, as Python's DDPMPipeline: the same checkpoint, seeds and options give the
 * same images.
 *
 * @example
 * const pipe = await DDPMPipeline.fromPretrained('models/fashion-mnist-ddpm');
 * const { images } = await pipe.run({ numInferenceSteps: 100, generator: new Generator({ seed: 0 }) });
 */
export class DDPMPipeline extends UNetPipeline<DDPMScheduler | DDIMScheduler> {
  override scheduler: DDPMScheduler | DDIMScheduler;

  constructor(parts: { unet: UNetLike; scheduler: DDPMScheduler | DDIMScheduler }) {
    checkOptions('DDPMPipeline', parts, ['unet', 'scheduler']);
    super(parts.unet);
    const { scheduler } = parts;
    if (!(scheduler instanceof DDPMScheduler) && !(scheduler instanceof DDIMScheduler)) {
      throw new ArgumentError(`scheduler must be a DDPMScheduler or a DDIMScheduler, got ${showValue(scheduler)}`);
    }
    this.scheduler = scheduler;
  }

  /**
   * Reads a pipeline from a folder in diffusers' format or from a hub repository.
   *
   * @throws NotFoundError, NetworkError, CheckpointError, ConfigError, DeviceError, DTypeError
   */
  static async fromPretrained(folderOrRepo: string, options: PipelineOptions = {}): Promise<DDPMPipeline> {
    return new DDPMPipeline(await loadPipelineParts(folderOrRepo, options));
  }

  /** Draws images in 1000 steps, unless told otherwise. Rejects before any work for a wrong option. */
  async run<O extends OutputType = 'image'>(options: DDPMRunOptions<O> = {}): Promise<{ images: ImagesOf<O> }> {
    return this.sample(options, 1000, [], {});
  }

  protected override newScheduler(): DDPMScheduler | DDIMScheduler {
    const { scheduler } = this;
    return scheduler instanceof DDIMScheduler
      ? DDIMScheduler.fromConfig(scheduler.config)
      : DDPMScheduler.fromConfig(scheduler.config);
  }
}
