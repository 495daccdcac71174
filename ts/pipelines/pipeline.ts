import { join } from 'node:path';
import { checkFolder, checkOptions } from '../arguments';
import { writeJsonFile } from '../config/json-file';
import { DIFFUSERS_VERSION } from '../config/scheduler-config';
import { ArgumentError } from '../errors';
import type { SaveOptions, UNetLike } from '../models';
import { checkUNet } from '../models/check-unet';
import { checkSaveOptions } from '../models/weight-files';
import type { DType } from '../native/addon-types';
import { DDIMScheduler, type DDPMScheduler } from '../schedulers';
import type { JumpOptions } from '../schedulers/scheduler';
import { readEta } from '../schedulers/step-arguments';
import { denoise } from './denoise';
import { readGuidance } from './guidance';
import { checkRunOptions, type ImagesOf, type OutputType, type RunOptions } from './run-options';
import { toOutput } from './to-output';

/** The file that names a pipeline's class and components in diffusers' folder format. */
export const MODEL_INDEX_FILE = 'model_index.json';

/** The pipeline classes that exist here, as `model_index.json` names them. */
export const PIPELINE_CLASSES = ['DDPMPipeline', 'DDIMPipeline'] as const;
export type PipelineClass = (typeof PIPELINE_CLASSES)[number];

/** What the pipeline class adds to every step. */
export type StepOptions = Pick<JumpOptions, 'eta' | 'useClippedModelOutput'>;

/** @throws ArgumentError for what a constructor can't be given; the scheduler is the class's own to check. */
export function checkParts(className: string, parts: { unet: UNetLike; scheduler: unknown }): void {
  if (typeof parts === 'object' && parts !== null && 'forward' in parts) {
    throw new ArgumentError(`${className} wants one object, got a UNet: new ${className}({ unet, scheduler })`);
  }
  checkOptions(className, parts ?? null, ['unet', 'scheduler']);
  checkUNet(parts.unet);
}

/** What DDPMPipeline and DDIMPipeline share: a UNet, a scheduler, and a run of one through the other. */
export abstract class UNetPipeline<S extends DDPMScheduler | DDIMScheduler> {
  private model: UNetLike;
  /** Where runs get their config from; a run works on its own copy and never changes this one. */
  abstract scheduler: S;

  protected constructor(unet: UNetLike) {
    this.model = unet;
  }

  /** The noise predictor. Runs under way keep the one they began with. */
  get unet(): UNetLike {
    return this.model;
  }
  set unet(unet: UNetLike) {
    checkUNet(unet);
    this.model = unet;
  }

  /** The class's name in `model_index.json`; not the constructor's, which a bundler may change. */
  protected abstract readonly className: PipelineClass;

  /** The scheduler of one run. */
  protected abstract newScheduler(): S;

  protected async sample<O extends OutputType>(
    options: RunOptions<O>,
    defaultSteps: number,
    moreKeys: readonly string[],
    stepOf: (batchSize: number) => StepOptions,
  ): Promise<{ images: ImagesOf<O> }> {
    const { unet } = this;
    const shape = checkRunOptions(options, unet, moreKeys);
    const step = stepOf(shape[0]!);
    const scheduler = this.newScheduler();
    const { timesteps, numInferenceSteps = defaultSteps, outputType = 'image' as O } = options;
    scheduler.setTimesteps(timesteps === undefined ? { numInferenceSteps } : { timesteps });
    // Every step's coefficients exist before the first draw. σ² grows with η: where the largest serves, all do.
    scheduler.plan(Math.max(...readEta(step.eta ?? 0)), step.useClippedModelOutput ?? false, 0);
    const guidance = readGuidance(options, unet, shape[0]!);
    try {
      return { images: toOutput(await denoise({ unet, scheduler, shape, step, guidance, options }), outputType) };
    } finally {
      guidance?.labels.dispose();
    }
  }

  /** Moves or casts the UNet. */
  async to(options: { device?: string; dtype?: DType }): Promise<this> {
    await this.unet.to(options);
    return this;
  }

  /**
   * Writes the pipeline in diffusers' folder format: model_index.json, scheduler/ and unet/.
   *
   * @param options.variant a word in the name of the weights' file, as `'fp16'`
   * @throws ArgumentError if the folder can't be written.
   */
  async savePretrained(folder: string, options?: SaveOptions): Promise<void> {
    checkFolder(folder);
    checkSaveOptions(options);
    await this.unet.savePretrained(join(folder, 'unet'), ...(options === undefined ? [] : [options]));
    await this.scheduler.savePretrained(join(folder, 'scheduler'));
    await writeJsonFile(join(folder, MODEL_INDEX_FILE), {
      _class_name: this.className,
      _diffusers_version: DIFFUSERS_VERSION,
      scheduler: ['diffusers', this.scheduler instanceof DDIMScheduler ? 'DDIMScheduler' : 'DDPMScheduler'],
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
