import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { checkOptions, showValue } from '../arguments';
import { ArgumentError, NotFoundError, throwIfAborted } from '../errors';
import { isFolder } from '../files/is-folder';
import { isRepositoryName, isSafeRelativePath } from './repository';

/** How far the download of a file is, in bytes. */
export interface HubProgress {
  readonly path: string;
  readonly received: number;
  readonly total: number;
}

/** Where a model's folder comes from. */
export interface HubOptions {
  /** The folder inside the model's folder, such as `'unet'`. Default: the model's folder itself. */
  subfolder?: string;
  /** A branch, tag or commit of a hub repository. Default `'main'`. */
  revision?: string;
  /** The cache of hub repositories. Default HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
  cacheDir?: string;
  /** Whether to read the cache only, as HF_HUB_OFFLINE=1 does. Default false. */
  localFilesOnly?: boolean;
  /** An access token. Default HF_TOKEN, else the one that `hf auth login` keeps. */
  token?: string;
  /**
   * The files to fetch, `*` and `?` standing for any characters, slashes too. Default {@link DEFAULT_PATTERNS}, without
   * variants such as `*.fp16.safetensors`.
   */
  allowPatterns?: readonly string[];
  /** Called as bytes of a file arrive. */
  onProgress?: (progress: HubProgress) => void;
  /** Ends the download; the promise rejects with code ERR_ABORTED. */
  signal?: AbortSignal;
}

/** Picks the files to fetch out of the paths of a repository's files, for what patterns can't tell. */
export type ChooseFiles = (paths: readonly string[]) => readonly string[];

export const HUB_OPTION_KEYS = [
  'subfolder',
  'revision',
  'cacheDir',
  'localFilesOnly',
  'token',
  'allowPatterns',
  'onProgress',
  'signal',
] as const satisfies readonly (keyof HubOptions)[];

/** What a model consists of here: configs, TorchScript archives and safetensors. */
export const DEFAULT_PATTERNS: readonly string[] = ['*.json', '*.pt', '*.safetensors'];

/**
 * The local folder of a model: `folderOrRepo` itself where it is a folder, else a snapshot of the hub repository of that
 * name (`owner/name`) in the standard Hugging Face cache, fetched as far as it isn't there. HF_ENDPOINT, HF_HOME,
 * HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE and the proxy variables are heeded. Where the hub can't be reached, what the
 * cache has is taken. Files are checked against their hashes and bounded at 64 GiB each.
 *
 * @throws NotFoundError if it is neither a folder nor a repository, and for a missing revision or subfolder.
 * @throws NetworkError if the hub can't be reached or refuses.
 * @throws CheckpointError for file names and sizes that no honest repository has.
 * @throws ArgumentError for an option of the wrong kind.
 */
export async function resolveModelFolder(
  folderOrRepo: string,
  options: HubOptions = {},
  choose?: ChooseFiles,
): Promise<string> {
  if (typeof folderOrRepo !== 'string' || folderOrRepo === '') {
    throw new ArgumentError(`a model must be named by a folder or a hub repository, got ${showValue(folderOrRepo)}`);
  }
  checkHubOptions(options);
  const { subfolder, signal } = options;
  throwIfAborted(signal);
  const root = (await localFolder(folderOrRepo)) ?? (await fromHub(folderOrRepo, options, choose));
  if (!subfolder) return root;
  const folder = join(root, subfolder);
  if (!(await isFolder(folder)))
    throw new NotFoundError(`${folderOrRepo} has no folder ${subfolder} (looked for ${folder})`);
  return folder;
}

const isText = (value: unknown): boolean => typeof value === 'string' && value !== '';

/** What each option must be, and in words. */
const KINDS: Readonly<Record<keyof HubOptions, readonly [is: (value: unknown) => boolean, wanted: string]>> = {
  subfolder: [(value) => value === '' || (typeof value === 'string' && isSafeRelativePath(value)), 'a relative path inside the model'],
  revision: [isText, 'a branch, tag or commit'],
  cacheDir: [isText, 'a path'],
  localFilesOnly: [(value) => typeof value === 'boolean', 'a boolean'],
  token: [(value) => typeof value === 'string', 'a string'],
  allowPatterns: [(value) => Array.isArray(value) && value.every(isText), 'an array of patterns'],
  onProgress: [(value) => typeof value === 'function', 'a function'],
  signal: [(value) => value instanceof AbortSignal, 'an AbortSignal'],
};

/** @throws ArgumentError naming the option. */
function checkHubOptions(options: HubOptions): void {
  checkOptions('resolveModelFolder', options, HUB_OPTION_KEYS);
  for (const key of HUB_OPTION_KEYS) {
    const [is, wanted] = KINDS[key];
    const value = options[key];
    // A token is nobody else's to read.
    const got = key === 'token' ? `a value of type ${typeof value}` : showValue(value);
    if (value !== undefined && !is(value)) throw new ArgumentError(`${key} must be ${wanted}, got ${got}`);
  }
}

/** Where a component of a pipeline lies, as diffusers has it: in the folder of its name, else in the pipeline's own. */
export async function componentFolder(root: string, name: string): Promise<string> {
  const folder = join(root, name);
  return (await isFolder(folder)) ? folder : root;
}

async function localFolder(path: string): Promise<string | undefined> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) return undefined;
  if (!stats.isDirectory()) throw new ArgumentError(`${path} must be a folder or a hub repository, got a file`);
  return path;
}

async function fromHub(name: string, options: HubOptions, choose: ChooseFiles | undefined): Promise<string> {
  if (!isRepositoryName(name)) {
    throw new NotFoundError(
      `${name} is neither a folder (looked at ${resolve(name)}) nor the name of a hub repository (owner/name)`,
    );
  }
  // Here and not above: the hub's client and undici take longer to load than all the rest of the package.
  const { repositoryFolder } = require('./repository-folder') as typeof import('./repository-folder');
  return repositoryFolder(name, options, choose);
}
