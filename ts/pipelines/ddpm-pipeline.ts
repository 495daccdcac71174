import type { UNetLike } from '../models';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { checkScheduler } from '../schedulers/check-scheduler';
import { loadPipelineParts, type PipelineOptions } from './load';
import { checkParts, UNetPipeline } from './pipeline';
import type { ImagesOf, OutputType, RunOptions } from './run-options';

/** Options of {@link DDPMPipeline.run}. */
export type DDPMRunOptions<O extends OutputType = OutputType> = RunOptions<O>;

/**
 * Draws images with DDPM's ancestral sampling, as Python's DDPMPipeline: the same checkpoint, seeds and options give the
 * same images.
 *
 * @example
 * const pipe = await DDPMPipeline.fromPretrained(EMBEDDED_MODEL);
 * const { images } = await pipe.run({ numInferenceSteps: 100, generator: new Generator({ seed: 0 }) });
 */
export class DDPMPipeline extends UNetPipeline<DDPMScheduler | DDIMScheduler> {
  protected override readonly className = 'DDPMPipeline';
  private given: DDPMScheduler | DDIMScheduler;

  constructor(parts: { unet: UNetLike; scheduler: DDPMScheduler | DDIMScheduler }) {
    checkParts('DDPMPipeline', parts);
    super(parts.unet);
    this.given = checkScheduler(parts.scheduler);
  }

  /** The scheduler, DDPM's or DDIM's; DDIM's steps have η = 0 here. */
  override get scheduler(): DDPMScheduler | DDIMScheduler {
    return this.given;
  }
  override set scheduler(scheduler: DDPMScheduler | DDIMScheduler) {
    this.given = checkScheduler(scheduler);
  }

  /**
   * Reads a pipeline from a folder in diffusers' format or from a hub repository.
   *
   * @throws NotFoundError, NetworkError, CheckpointError, ConfigError, DeviceError, DTypeError
   */
  static async fromPretrained(folderOrRepo: string, options: PipelineOptions = {}): Promise<DDPMPipeline> {
    return new DDPMPipeline(await loadPipelineParts(folderOrRepo, options, 'DDPMPipeline'));
  }

  /** Draws images in 1000 steps, unless told otherwise. Rejects before any work for a wrong option. */
  async run<O extends OutputType = 'image'>(options: DDPMRunOptions<O> = {}): Promise<{ images: ImagesOf<O> }> {
    return this.sample(options, 1000, [], () => ({}));
  }

  protected override newScheduler(): DDPMScheduler | DDIMScheduler {
    const { scheduler } = this;
    return scheduler instanceof DDIMScheduler
      ? DDIMScheduler.fromConfig(scheduler.config)
      : DDPMScheduler.fromConfig(scheduler.config);
  }
}
