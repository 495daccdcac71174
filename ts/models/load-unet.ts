import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checkOptions, showValue } from '../arguments';
import { readJsonFile } from '../config/json-file';
import { ArgumentError, CheckpointError, NotFoundError } from '../errors';
import { componentFolder } from '../hub';
import type { DType } from '../native/addon-types';
import { TorchScriptModel } from './torchscript-model';
import { DIFFUSERS_WEIGHTS, TorchScriptUNet, UNET_ARCHIVE } from './torchscript-unet';
import { readArchiveConfig, readConfig, type UNetConfigSource } from './unet-config-source';
import type { UNetLike } from './unet-like';

/** What diffusers calls a UNet's weights. */
const OTHER_WEIGHTS = [DIFFUSERS_WEIGHTS, 'diffusion_pytorch_model.bin'];

/** Options of {@link loadUNet}. */
export interface LoadUNetOptions {
  /** Default: the file's. */
  dtype?: DType;
  /** `'cpu'` (the default) or `'cuda[:N]'`. */
  device?: string;
  /** The UNet's folder in a pipeline's; default `'unet'`. Without such a folder, the given one is taken. */
  subfolder?: string;
}

const kindOf = async (path: string): Promise<'file' | 'folder' | 'nothing'> => {
  const stats = await stat(path).catch(() => undefined);
  return stats === undefined ? 'nothing' : stats.isDirectory() ? 'folder' : 'file';
};

/**
 * The UNet of a local folder in diffusers' format, from the `unet.pt` that `scripts/export_torchscript.py` wrote there,
 * or of a `.pt` file itself. A TorchScript file is a program: load only files you trust.
 *
 * @returns a promise that rejects with ERR_NOT_FOUND if there is none, ERR_CHECKPOINT if it is damaged or not exported
 * yet, ERR_DEVICE and ERR_DTYPE as {@link TorchScriptModel.load}.
 */
export async function loadUNet(folderOrFile: string, options: LoadUNetOptions = {}): Promise<UNetLike> {
  checkOptions('loadUNet', options, ['dtype', 'device', 'subfolder']);
  if (typeof folderOrFile !== 'string')
    throw new ArgumentError(`folder must be a path, got ${showValue(folderOrFile)}`);
  const { subfolder = 'unet', ...target } = options;
  const kind = await kindOf(folderOrFile);
  if (kind === 'nothing') throw new NotFoundError(`${folderOrFile} does not exist`);
  if (kind === 'file') return (await TorchScriptModel.load(folderOrFile, target)).asUNet();

  const folder = await componentFolder(folderOrFile, subfolder);
  const archive = join(folder, UNET_ARCHIVE);
  if ((await kindOf(archive)) === 'nothing') throw await missingArchive(folderOrFile, folder);
  const model = await TorchScriptModel.load(archive, target);
  try {
    return new TorchScriptUNet(model, await configOf(model, folder));
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** The archive's own config, else the one beside it. */
async function configOf(model: TorchScriptModel, folder: string): Promise<UNetConfigSource> {
  const file = join(folder, 'config.json');
  if (model.extraFiles['config.json'] !== undefined || (await kindOf(file)) !== 'file') return readArchiveConfig(model);
  return readConfig(await readJsonFile(file));
}

async function missingArchive(root: string, folder: string): Promise<Error> {
  for (const name of OTHER_WEIGHTS) {
    if ((await kindOf(join(folder, name))) !== 'file') continue;
    return new CheckpointError(
      `${folder} holds ${name} but no ${UNET_ARCHIVE}, which runs here; write it with this package's script: ` +
        `python scripts/export_torchscript.py ${root}`,
    );
  }
  return new NotFoundError(`${folder} holds no ${UNET_ARCHIVE}; is it a UNet's folder?`);
}
