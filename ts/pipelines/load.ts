import { join } from 'node:path';
import { checkOptions, showValue } from '../arguments';
import { readJsonFile } from '../config/json-file';
import { CheckpointError, NotFoundError } from '../errors';
import { resolveModelFolder, type HubOptions } from '../hub';
import { loadUNet, type UNetLike } from '../models';
import { checkUNet } from '../models/check-unet';
import { checkWeightsChoice, unetFilesOf, type WeightsChoice } from '../models/weight-files';
import type { DType } from '../native/addon-types';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { checkScheduler } from '../schedulers/check-scheduler';
import { readSchedulerConfig } from '../schedulers/scheduler';
import { MODEL_INDEX_FILE, PIPELINE_CLASSES, type PipelineClass } from './pipeline';

/** Options of a pipeline's `fromPretrained`. A part that is given is not read. */
export interface PipelineOptions extends WeightsChoice, Omit<HubOptions, 'allowPatterns'> {
  /** The UNet's dtype. Default `'float32'`, whatever the file's; of a TorchScript archive its own. */
  dtype?: DType;
  /** `'cpu'` (the default) or `'cuda[:N]'`. */
  device?: string;
  unet?: UNetLike;
  scheduler?: DDPMScheduler | DDIMScheduler;
}

const OPTION_KEYS = [
  'dtype', 'device', 'variant', 'useSafetensors', 'unet', 'scheduler', 'subfolder', 'revision', 'cacheDir', 'localFilesOnly', 'token',
  'onProgress', 'signal',
] as const; // prettier-ignore

export interface PipelineParts {
  unet: UNetLike;
  scheduler: DDPMScheduler | DDIMScheduler;
}

type Index = Readonly<Record<string, unknown>> | undefined;

/** What `model_index.json` holds. The first google/ddpm-* have none: a bare UNet with its scheduler. */
async function readIndex(folder: string): Promise<Index> {
  try {
    return await readJsonFile(join(folder, MODEL_INDEX_FILE));
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

/** The class that the index names; DDPMPipeline where there is none. */
function pipelineClassOf(index: Index, folder: string): PipelineClass {
  if (index === undefined) return 'DDPMPipeline';
  const name = index['_class_name'];
  const known = PIPELINE_CLASSES.find((one) => one === name);
  if (known !== undefined) return known;
  throw new CheckpointError(
    `${join(folder, MODEL_INDEX_FILE)}: _class_name must be one of ${PIPELINE_CLASSES.join(', ')}, got ${showValue(name)}; ` +
      'DDIMPipeline.fromPretrained takes its UNet and its scheduler\'s config all the same',
  );
}

/** The scheduler's class: as in Python the index's, and where that has none the config's. */
function schedulerClassOf(index: Index, config: Readonly<Record<string, unknown>>): unknown {
  const scheduler = index?.['scheduler'];
  const named: unknown = Array.isArray(scheduler) ? scheduler[1] : undefined;
  return named ?? config['_class_name'] ?? 'DDPMScheduler';
}

async function readScheduler(folder: string, index: Index, chosen: PipelineClass): Promise<DDPMScheduler | DDIMScheduler> {
  const config = await readSchedulerConfig(folder);
  // Any class's config turns into DDIM's there.
  const name = chosen === 'DDIMPipeline' ? 'DDIMScheduler' : schedulerClassOf(index, config);
  if (name === 'DDIMScheduler') return DDIMScheduler.fromConfig(config);
  if (name === 'DDPMScheduler') return DDPMScheduler.fromConfig(config);
  throw new CheckpointError(
    `${folder} has a scheduler of class ${showValue(name)}; there are DDPMScheduler and DDIMScheduler. ` +
      'Its config may serve one of them: pass { scheduler: DDIMScheduler.fromConfig(…) }',
  );
}

/** A pipeline's and its components' configs: at the top, or one folder down. */
const CONFIGS = /^(?:[\w-]+\/)?(?:model_index|config|scheduler_config)\.json$/;

/** Of a repository's files those that a pipeline here reads. */
function pipelineFilesOf(paths: readonly string[], subfolder: string | undefined, unet: WeightsChoice | null): string[] {
  const folder = subfolder ? `${subfolder}/` : '';
  const configs = paths.filter((path) => path.startsWith(folder) && CONFIGS.test(path.slice(folder.length)));
  return [...new Set([...configs, ...(unet === null ? [] : unetFilesOf(paths, folder, unet))])];
}

/**
 * Reads a pipeline's parts from a folder in diffusers' format or from a hub repository.
 *
 * @param chosen the caller's class; default: the one that the folder names.
 */
export async function loadPipeline(
  folderOrRepo: string,
  options: PipelineOptions = {},
  chosen?: PipelineClass,
): Promise<PipelineParts & { pipelineClass: PipelineClass }> {
  checkOptions('fromPretrained', options, OPTION_KEYS);
  const { dtype, device, unet, scheduler, variant, useSafetensors, ...hub } = options;
  const target = { ...(dtype === undefined ? {} : { dtype }), ...(device === undefined ? {} : { device }) };
  const choice = {
    ...(variant === undefined ? {} : { variant }),
    ...(useSafetensors === undefined ? {} : { useSafetensors }),
  };
  checkWeightsChoice(choice);
  if (unet !== undefined) checkUNet(unet);
  if (scheduler !== undefined) checkScheduler(scheduler);
  const folder = await resolveModelFolder(folderOrRepo, hub, (paths) =>
    pipelineFilesOf(paths, hub.subfolder, unet === undefined ? choice : null),
  );
  const index = await readIndex(folder);
  const pipelineClass = chosen ?? pipelineClassOf(index, folder);
  return {
    pipelineClass,
    scheduler: scheduler ?? (await readScheduler(folder, index, pipelineClass)),
    unet: unet ?? (await loadUNet(folder, { ...target, ...choice })),
  };
}

/** {@link loadPipeline} for a class that the caller has chosen. */
export async function loadPipelineParts(folderOrRepo: string, options: PipelineOptions, chosen: PipelineClass): Promise<PipelineParts> {
  const { unet, scheduler } = await loadPipeline(folderOrRepo, options, chosen);
  return { unet, scheduler };
}
