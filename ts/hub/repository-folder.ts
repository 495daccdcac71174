import { resolve } from 'node:path';
import { abortError, DiffusersError, NetworkError, NotFoundError } from '../errors';
import { fileProblem } from '../files/atomic-write';
import { openHubFetch } from './hub-fetch';
import { hubSettings, hubToken } from './hub-settings';
import { repositoryAt, type Repository } from './repository';
import { DEFAULT_PATTERNS, type ChooseFiles, type HubOptions } from './resolve-model-folder';
import { cachedSnapshot, commitOf, downloadSnapshot } from './snapshot';

/** Copies of the weights in another precision or without averaging; only fetched when asked for by pattern. */
const VARIANT =
  /\.(?:fp16|bf16|fp32|non_ema)(?:-[0-9]+-of-[0-9]+)?\.[a-z]+(?:\.index\.json)?$|\.index\.(?:fp16|bf16|fp32|non_ema)\.json$/;

/**
 * The folder of the cache with the files of hub repository `name`, fetched as far as they aren't there. The options have
 * been checked.
 */
export async function repositoryFolder(
  name: string,
  options: HubOptions,
  choose?: ChooseFiles,
): Promise<string> {
  const { revision = 'main', localFilesOnly = false, signal, onProgress } = options;
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
    const byPattern: ChooseFiles = (paths) => paths.filter(wantedFiles(options));
    const { folder, files } = await downloadSnapshot(repository, commit, choose ?? byPattern, access);
    if (files === 0) {
      const looked = choose === undefined ? `the files ${patternsOf(options)}` : 'the files of a model';
      throw new NotFoundError(`${name} at ${revision} has none of ${looked}`);
    }
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
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, '.*')
    .replace(/\?/g, '.');
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
  if (statusCode === 404 && /\brev(?:ision| id)\b/i.test(said)) {
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
    return new NetworkError(
      `${endpoint} answered with status ${statusCode} for ${name}${said}; try again later`,
      cause,
    );
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
