import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkOptions, showValue } from '../arguments';
import { readJsonFile } from '../config/json-file';
import { ArgumentError, NotFoundError } from '../errors';
import { componentFolder } from '../hub';
import type { DType } from '../native/addon-types';
import { TorchScriptModel } from './torchscript-model';
import { TorchScriptUNet } from './torchscript-unet';
import { UNet2DModel } from './unet2d-model';
import { readArchiveConfig, readConfig, type UNetConfigSource } from './unet-config-source';
import type { UNetLike } from './unet-like';
import { checkWeightsChoice, CONFIG_FILE, findWeights, UNET_ARCHIVE, weightsIn, type WeightsChoice } from './weight-files';

/** Options of {@link loadUNet}. */
export interface LoadUNetOptions extends WeightsChoice {
  /** Default `'float32'`; a TorchScript archive's own. */
  dtype?: DType;
  /** `'cpu'` (the default) or `'cuda[:N]'`. */
  device?: string;
  /** The UNet's folder in a pipeline's; default `'unet'`. Without such a folder, the given one is taken. */
  subfolder?: string;
}

/** diffusers' weights and indexes of shards by their names; any other file is taken for a TorchScript archive. */
const WEIGHTS = /\.(?:safetensors|bin|json)$/i;

const kindOf = async (path: string): Promise<'file' | 'folder' | 'nothing'> => {
  const stats = await stat(path).catch(() => undefined);
  return stats === undefined ? 'nothing' : stats.isDirectory() ? 'folder' : 'file';
};

/**
 * The UNet of a local folder in diffusers' format: a UNet2DModel of diffusers' weights or, only where there are none, the
 * `unet.pt` that `scripts/export_torchscript.py` wrote there. A file of weights is read with the `config.json` beside it, a
 * `.pt` file runs by itself. A TorchScript archive is a program: load only those you trust.
 *
 * @returns a promise that rejects with ERR_NOT_FOUND if there is none, otherwise as {@link UNet2DModel.fromPretrained} and
 * {@link TorchScriptModel.load}.
 */
export async function loadUNet(folderOrFile: string, options: LoadUNetOptions = {}): Promise<UNetLike> {
  checkOptions('loadUNet', options, ['dtype', 'device', 'subfolder', 'variant', 'useSafetensors']);
  if (typeof folderOrFile !== 'string')
    throw new ArgumentError(`folder must be a path, got ${showValue(folderOrFile)}`);
  checkWeightsChoice(options);
  const { subfolder = 'unet', variant, useSafetensors, ...target } = options;
  const kind = await kindOf(folderOrFile);
  if (kind === 'nothing') throw new NotFoundError(`${folderOrFile} does not exist`);
  if (kind === 'file') {
    if (WEIGHTS.test(folderOrFile)) return UNet2DModel.fromFile(folderOrFile, target);
    return (await TorchScriptModel.load(folderOrFile, target)).asUNet();
  }
  const folder = await componentFolder(folderOrFile, subfolder);
  const names = await readdir(folder);
  const isChosen = variant !== undefined || useSafetensors !== undefined;
  const takesArchive = !isChosen && names.includes(UNET_ARCHIVE) && findWeights(names, options) === undefined;
  if (takesArchive) return loadArchive(folder, target);
  return UNet2DModel.fromFile(join(folder, await weightsIn(folder, options)), target);
}

async function loadArchive(folder: string, target: Pick<LoadUNetOptions, 'dtype' | 'device'>): Promise<UNetLike> {
  const model = await TorchScriptModel.load(join(folder, UNET_ARCHIVE), target);
  try {
    return new TorchScriptUNet(model, await configOf(model, folder));
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** The archive's own config, else the one beside it. */
async function configOf(model: TorchScriptModel, folder: string): Promise<UNetConfigSource> {
  const file = join(folder, CONFIG_FILE);
  if (model.extraFiles[CONFIG_FILE] !== undefined || (await kindOf(file)) !== 'file') return readArchiveConfig(model);
  return readConfig(await readJsonFile(file));
}
