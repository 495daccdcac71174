import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { checkOptions, showValue } from '../arguments';
import { ArgumentError, CheckpointError, NotFoundError } from '../errors';
import { writeError } from '../files/atomic-write';

/** Which of the copies of a model's weights is wanted. */
export interface WeightsChoice {
  /** A copy in another precision or without averaging, as `'fp16'`: diffusion_pytorch_model.fp16.safetensors. */
  variant?: string;
  /** Whether only safetensors (true) or only `.bin` (false) will do. Default: safetensors, else `.bin`. */
  useSafetensors?: boolean;
}

/** A checkpoint's files: the one to open, and all that belong to it. */
export interface WeightFiles {
  readonly entry: string;
  readonly files: readonly string[];
}

const STEM = 'diffusion_pytorch_model';

/** Where diffusers keeps a model's weights. */
export const diffusersWeights = (variant?: string): string =>
  variant === undefined ? `${STEM}.safetensors` : `${STEM}.${variant}.safetensors`;

/** Options of `savePretrained`. */
export interface SaveOptions {
  /** A word in the name of the weights' file, as `'fp16'`: diffusion_pytorch_model.fp16.safetensors. Default: none. */
  variant?: string;
}

/** @throws ArgumentError */
export function checkSaveOptions(options: SaveOptions | undefined): void {
  checkOptions('savePretrained', options, ['variant']);
  if (options !== undefined) checkWeightsChoice(options);
}

/**
 * Takes away what an earlier, sharded copy of the same weights left beside the file that has just been written: Python would
 * read that.
 *
 * @throws ArgumentError if the folder can't be written.
 */
export async function removeShards(folder: string, { variant }: SaveOptions): Promise<void> {
  const [index] = weightNames({ useSafetensors: true, ...(variant === undefined ? {} : { variant }) });
  try {
    const shards = (await readdir(folder)).filter(isShardOf(index!, variant === undefined ? {} : { variant }));
    // The index first: shards without it are nobody's.
    for (const name of [index!, ...shards]) await rm(join(folder, name), { force: true });
  } catch (cause) {
    throw writeError(folder, cause);
  }
}

/** The TorchScript archive in a UNet's folder. */
export const UNET_ARCHIVE = 'unet.pt';

export const CONFIG_FILE = 'config.json';

/** The names under which diffusers keeps a model's weights, in the order it looks for them. */
export function weightNames({ variant, useSafetensors }: WeightsChoice): string[] {
  const between = variant === undefined ? '' : `.${variant}`;
  const kinds = [...(useSafetensors === false ? [] : ['safetensors']), ...(useSafetensors === true ? [] : ['bin'])];
  return kinds.flatMap((kind) => [`${STEM}.${kind}.index${between}.json`, `${STEM}${between}.${kind}`]);
}

/** The files of a folder (or of a repository's folder) that hold the weights; undefined where there are none. */
export function findWeights(names: readonly string[], choice: WeightsChoice): WeightFiles | undefined {
  const entry = weightNames(choice).find((name) => names.includes(name));
  if (entry === undefined) return undefined;
  return { entry, files: entry.endsWith('.json') ? [entry, ...names.filter(isShardOf(entry, choice))] : [entry] };
}

/** Shards carry the variant before their number or, as older releases wrote it, behind. */
function isShardOf(index: string, { variant }: WeightsChoice): (name: string) => boolean {
  const kind = index.includes('.safetensors.') ? 'safetensors' : 'bin';
  return (name) => {
    const match = /^diffusion_pytorch_model(?:\.([\w-]+?))?-\d{5}-of-\d{5}(?:\.([\w-]+))?\.(safetensors|bin)$/.exec(name);
    return match !== null && match[3] === kind && (match[1] ?? match[2]) === variant;
  };
}

/**
 * The files that an index's `weight_map` names, in the order of their names; they lie beside it.
 *
 * @throws CheckpointError for a name that is none.
 */
export function shardsOf(index: string, weightMap: Readonly<Record<string, unknown>>): string[] {
  return [...new Set(Object.values(weightMap))].sort().map((shard) => {
    const isName = typeof shard === 'string' && basename(shard) === shard && !shard.startsWith('.');
    if (isName) return join(dirname(index), shard);
    throw new CheckpointError(`${index}: weight_map must name files beside it, got ${showValue(shard)}`);
  });
}

/**
 * The file of a local folder to open.
 *
 * @throws NotFoundError naming what was looked for and, where a variant is missing, what is there instead.
 */
export async function weightsIn(folder: string, choice: WeightsChoice): Promise<string> {
  const names = await readdir(folder).catch(() => []);
  const found = findWeights(names, choice);
  if (found !== undefined) return found.entry;
  const others = names.filter((name) => name.startsWith(`${STEM}.`));
  const wanted = weightNames(choice).join(', ');
  const has = others.length === 0 ? 'no weights of a UNet' : others.slice(0, 8).join(', ');
  const what = choice.variant === undefined ? `none of ${wanted}` : `no variant ${showValue(choice.variant)} (none of ${wanted})`;
  throw new NotFoundError(`${folder} has ${what}; it holds ${has}`);
}

/** @throws ArgumentError for a variant that can be no part of a file's name, or a flag that is none. */
export function checkWeightsChoice({ variant, useSafetensors }: WeightsChoice): void {
  if (variant !== undefined && (typeof variant !== 'string' || !/^[\w-]{1,64}$/.test(variant))) {
    throw new ArgumentError(`variant must be a word such as 'fp16', got ${showValue(variant)}`);
  }
  if (useSafetensors !== undefined && typeof useSafetensors !== 'boolean') {
    throw new ArgumentError(`useSafetensors must be true or false, got ${showValue(useSafetensors)}`);
  }
}

/** Of a repository's paths, those in one folder as the names in it. */
const namesIn = (paths: readonly string[], folder: string): string[] =>
  paths.filter((path) => path.startsWith(folder)).map((path) => path.slice(folder.length));

/**
 * The files of a repository that a UNet is: its config and the weights that {@link weightsIn} then takes, else its
 * TorchScript archive.
 *
 * @param folder the pipeline's or the UNet's own, `''` or with a slash at the end; its `unet/` where it has one.
 */
export function unetFilesOf(paths: readonly string[], folder: string, choice: WeightsChoice): string[] {
  const own = paths.some((path) => path.startsWith(`${folder}unet/`)) ? `${folder}unet/` : folder;
  const names = namesIn(paths, own);
  const weights = findWeights(names, choice)?.files ?? names.filter((name) => name === UNET_ARCHIVE);
  return [...names.filter((name) => name === CONFIG_FILE), ...weights].map((name) => own + name);
}
