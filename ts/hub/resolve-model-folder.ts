import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { abortError, ArgumentError, DiffusersError, NetworkError, NotFoundError, throwIfAborted } from '../errors';
import { fileProblem } from '../files/atomic-write';
import { openHubFetch } from './hub-fetch';
import { hubSettings, hubToken } from './hub-settings';
import { isRepositoryName, isSafeRelativePath, repositoryAt, type Repository } from './repository';
import { cachedSnapshot, commitOf, downloadSnapshot, isFolder, type HubProgress } from './snapshot';

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

/** What a model consists of here: configs, TorchScript archives and safetensors. */
export const DEFAULT_PATTERNS: readonly string[] = ['*.json', '*.pt', '*.safetensors'];

/** Copies of the weights in another precision or without averaging; only fetched when asked for by pattern. */
const VARIANT = /\.(?:fp16|bf16|fp32|non_ema)(?:-[0-9]+-of-[0-9]+)?\.[a-z]+(?:\.index\.json)?$|\.index\.(?:fp16|bf16|fp32|non_ema)\.json$/;

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
export async function resolveModelFolder(folderOrRepo: string, options: HubOptions = {}): Promise<string> {
  if (typeof folderOrRepo !== 'string' || folderOrRepo === '') {
    throw new ArgumentError(`a model must be named by a folder or a hub repository, got ${JSON.stringify(folderOrRepo)}`);
  }
  const { subfolder, signal } = options;
  if (subfolder !== undefined && subfolder !== '' && !isSafeRelativePath(subfolder)) {
    throw new ArgumentError(`subfolder must be a relative path inside the model, got ${JSON.stringify(subfolder)}`);
  }
  throwIfAborted(signal);
  const root = (await localFolder(folderOrRepo)) ?? (await repositoryFolder(folderOrRepo, options));
  if (!subfolder) return root;
  const folder = join(root, subfolder);
  if (!(await isFolder(folder))) throw new NotFoundError(`${folderOrRepo} has no folder ${subfolder} (looked for ${folder})`);
  return folder;
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

async function repositoryFolder(name: string, options: HubOptions): Promise<string> {
  const { revision = 'main', localFilesOnly = false, signal, onProgress } = options;
  if (!isRepositoryName(name)) {
    throw new NotFoundError(
      `${name} is neither a folder (looked at ${resolve(name)}) nor the name of a hub repository (owner/name)`,
    );
  }
  const settings = hubSettings();
  const { endpoint } = settings;
  const cacheDir = options.cacheDir ?? settings.cacheDir;
  const repository = repositoryAt(name, revision, cacheDir);
  if (localFilesOnly || settings.offline) {
    const cached = await cachedSnapshot(repository);
    if (cached !== undefined) return cached;
    const why = localFilesOnly ? 'localFilesOnly' : 'HF_HUB_OFFLINE';
    throw new NotFoundError(
      `${name} is neither a folder (looked at ${resolve(name)}) nor, at revision ${revision}, in the cache ${cacheDir}; ` +
        `${why} forbids asking ${endpoint}`,
    );
  }

  const token = options.token ?? (await hubToken());
  const hub = openHubFetch(endpoint, token, signal);
  const access = { endpoint, fetch: hub.fetch, onProgress };
  try {
    const commit = await commitOf(repository, access);
    const { folder, files } = await downloadSnapshot(repository, commit, wantedFiles(options), access);
    if (files === 0) throw new NotFoundError(`${name} at ${revision} has none of the files ${patternsOf(options)}`);
    return folder;
  } catch (error) {
    if (signal?.aborted === true) throw abortError(signal);
    const failure = hubError(error, repository, endpoint, token !== undefined);
    const cached = isUnreachable(error) ? await cachedSnapshot(repository) : undefined;
    if (cached === undefined) throw failure;
    return cached;
  } finally {
    await hub.close();
  }
}

const patternsOf = ({ subfolder, allowPatterns = DEFAULT_PATTERNS }: HubOptions): string =>
  allowPatterns.join(', ') + (subfolder ? ` in ${subfolder}` : '');

function wantedFiles({ subfolder, allowPatterns }: HubOptions): (path: string) => boolean {
  const globs = (allowPatterns ?? DEFAULT_PATTERNS).map(globToRegExp);
  return (path) =>
    (!subfolder || path.startsWith(`${subfolder}/`)) &&
    globs.some((glob) => glob.test(path)) &&
    (allowPatterns !== undefined || !VARIANT.test(path));
}

/** As Python's fnmatch: `*` crosses slashes. */
function globToRegExp(glob: string): RegExp {
  const source = glob.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '.*').replace(/\?/g, '.');
  return new RegExp(`^${source}$`, 's');
}

interface ApiFailure {
  readonly statusCode?: number;
  readonly data?: { readonly error?: unknown };
}

/** No answer at all, or one of a server in trouble: the cache may stand in. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof DiffusersError) return false;
  const { statusCode } = error as ApiFailure;
  return statusCode === undefined ? connectionProblem(error) !== undefined : statusCode >= 500;
}

function connectionProblem(error: unknown): string | undefined {
  const { message, cause } = (error ?? {}) as { message?: unknown; cause?: unknown };
  if (message !== 'fetch failed' && message !== 'terminated') return undefined;
  const { code, message: reason } = (cause ?? {}) as { code?: unknown; message?: unknown };
  return String(code ?? reason ?? message);
}

/** The failure of a hub call as the caller should read it: what was asked for, what came, what to do. */
function hubError(error: unknown, { name, revision }: Repository, endpoint: string, hasToken: boolean): DiffusersError {
  if (error instanceof DiffusersError) return error;
  const cause = { cause: error };
  const { statusCode, data } = (error ?? {}) as ApiFailure;
  const said = typeof data?.error === 'string' ? ` (${data.error.slice(0, 200)})` : '';
  if (statusCode === 404 && /revision/i.test(said)) {
    return new NotFoundError(`${name} has no revision ${revision} on ${endpoint}${said}`, cause);
  }
  // To a stranger the hub answers 401 for a private repository and for none alike.
  if (statusCode === 404 || (statusCode === 401 && !hasToken)) {
    return new NotFoundError(
      `${name} is neither a folder (looked at ${resolve(name)}) nor a repository on ${endpoint}${said}; ` +
        'for a private one set HF_TOKEN',
      cause,
    );
  }
  if (statusCode === 401 || statusCode === 403) {
    return new NetworkError(
      `${endpoint} refused access to ${name} (status ${statusCode})${said}; ` +
        (hasToken ? `check the token, and the terms at ${endpoint}/${name}` : 'set HF_TOKEN'),
      cause,
    );
  }
  if (statusCode !== undefined) {
    return new NetworkError(`${endpoint} answered with status ${statusCode} for ${name}${said}; try again later`, cause);
  }
  const { code } = (error ?? {}) as { code?: unknown };
  const problem = connectionProblem(error) ?? (typeof code === 'string' ? fileProblem(error) : messageOf(error));
  return new NetworkError(
    `can't fetch ${name} from ${endpoint}: ${problem}; check the network (HTTPS_PROXY, HF_ENDPOINT), ` +
      'or set HF_HUB_OFFLINE=1 to read the cache only',
    cause,
  );
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
