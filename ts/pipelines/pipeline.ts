import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import { checkFolder } from '../arguments';
import { writeJsonFile } from '../config/json-file';
import { DIFFUSERS_VERSION } from '../config/scheduler-config';
import type { UNetLike } from '../models';
import type { DType } from '../native/addon-types';
import type { DDIMScheduler, DDPMScheduler } from '../schedulers';
import type { JumpOptions } from '../schedulers/scheduler';
import { denoise } from './denoise';
import { checkRunOptions, type ImagesOf, type OutputType, type RunOptions } from './run-options';
import { toOutput } from './to-output';

/** The file that names a pipeline's class and components in diffusers' folder format. */
export const MODEL_INDEX_FILE = 'model_index.json';

/** What DDPMPipeline and DDIMPipeline share: a UNet, a scheduler, and a run of one through the other. */
export abstract class UNetPipeline<S extends DDPMScheduler | DDIMScheduler> {
  /** The noise predictor. Runs under way keep the one they began with. */
  unet: UNetLike;
  /** Where runs get their config from; a run works on its own copy and never changes this one. */
  abstract scheduler: S;

  protected constructor(unet: UNetLike) {
    this.unet = unet;
  }

  /** The scheduler of one run. */
  protected abstract newScheduler(): S;

  protected async sample<O extends OutputType>(
    options: RunOptions<O>,
    defaultSteps: number,
    moreKeys: readonly string[],
    step: Pick<JumpOptions, 'eta' | 'useClippedModelOutput'>,
  ): Promise<{ images: ImagesOf<O> }> {
    const { unet } = this;
    const shape = checkRunOptions(options, unet, moreKeys);
    const scheduler = this.newScheduler();
    const { timesteps, numInferenceSteps = defaultSteps, outputType = 'image' as O } = options;
    scheduler.setTimesteps(timesteps === undefined ? { numInferenceSteps } : { timesteps });
    return { images: toOutput(await denoise({ unet, scheduler, shape, step, options }), outputType) };
  }

  /** Moves or casts the UNet. */
  async to(options: { device?: string; dtype?: DType }): Promise<this> {
    await this.unet.to(options);
    return this;
  }

  /**
   * Writes the pipeline in diffusers' folder format: model_index.json, scheduler/ and unet/.
   *
   * @throws ArgumentError if the folder can't be written.
   */
  async savePretrained(folder: string): Promise<void> {
    checkFolder(folder);
    await mkdir(folder, { recursive: true });
    await this.unet.savePretrained(join(folder, 'unet'));
    await this.scheduler.savePretrained(join(folder, 'scheduler'));
    await writeJsonFile(join(folder, MODEL_INDEX_FILE), {
      _class_name: this.constructor.name,
      _diffusers_version: DIFFUSERS_VERSION,
      scheduler: ['diffusers', this.scheduler.constructor.name],
      unet: ['diffusers', 'UNet2DModel'],
    });
  }

  /** Frees the UNet. */
  dispose(): void {
    this.unet.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
