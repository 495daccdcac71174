// @ts-check
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { download, sha256 } from './download.mjs';
import { CHOSEN_FILE, COMPLETE_FILE, cachedLibtorch, libtorchAt } from './find-libtorch.mjs';
import { withLock } from './lock.mjs';
import { libtorchCache } from './paths.mjs';
import { megabytes } from './progress.mjs';
import { SetupError, UnreachableError } from './setup-error.mjs';
import { unpackTorchWheel } from './torch-wheel.mjs';
import { ArchiveError, unzip } from './unzip.mjs';

/**
 * @typedef {object} FetchRequest
 * @property {string} version
 * @property {string} variant
 * @property {import('./progress.mjs').Progress} progress
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [platform]
 * @property {string} [arch]
 */

/** @typedef {import('./find-libtorch.mjs').Libtorch} Libtorch */

const OFFICIAL = 'https://download.pytorch.org/libtorch';
/** What a download and its unpacked form take at most: cpu about 1 GB, CUDA about 12 GB. */
const NEEDED_BYTES = Object.freeze({ cpu: 1.5e9, cuda: 14e9 });

/** The official archive's address; NODE_DIFFUSERS_MIRROR replaces its base. @param {FetchRequest} request */
export function archiveUrl({ version, variant, env = process.env, platform = process.platform, arch = process.arch }) {
  const base = (env.NODE_DIFFUSERS_MIRROR || OFFICIAL).replace(/\/+$/, '');
  const name =
    platform === 'darwin'
      ? `libtorch-macos-${arch}-${version}.zip`
      : `libtorch-shared-with-deps-${version}%2B${variant}.zip`;
  return `${base}/${variant}/${name}`;
}

/**
 * Brings libtorch into the per-user cache, once: the official zip, else the torch wheel through pip. Whoever comes
 * second waits for the first. An entry gets its name only when it is complete.
 *
 * @param {FetchRequest} request
 * @returns {Promise<Libtorch>}
 * @throws {SetupError} saying what was tried and what to do
 */
export async function fetchLibtorch(request) {
  const env = request.env ?? process.env;
  const name = `${request.version}-${request.variant}`;
  const cache = libtorchCache(env);
  const there = cachedLibtorch(name, env);
  if (there !== undefined) return there;
  requireWritable(cache);
  const onWait = () => request.progress.step(`Another setup is fetching libtorch ${name}; waiting for it`);
  return withLock(cache, name, onWait, async () => {
    const meanwhile = cachedLibtorch(name, env);
    if (meanwhile !== undefined) return meanwhile;
    requireSpace(cache, request.variant);
    return fetchInto(path.join(cache, name), cache, name, { ...request, env });
  });
}

/** @param {string} cache */
function requireWritable(cache) {
  try {
    mkdirSync(cache, { recursive: true });
  } catch (error) {
    throw new SetupError(
      `can't write the cache folder ${cache} (${/** @type {Error} */ (error).message}); ` +
        'name another one in NODE_DIFFUSERS_CACHE.',
      { cause: error },
    );
  }
}

/**
 * @param {string} cache
 * @param {string} variant
 */
function requireSpace(cache, variant) {
  const { bavail, bsize } = statfsSync(cache);
  const needed = variant === 'cpu' ? NEEDED_BYTES.cpu : NEEDED_BYTES.cuda;
  if (bavail * bsize >= needed) return;
  throw new SetupError(
    `${cache} has ${megabytes(bavail * bsize)} left, ` +
      `libtorch (${variant}) needs ${megabytes(needed)} while it is unpacked; ` +
      `free some space or name another folder in NODE_DIFFUSERS_CACHE.`,
  );
}

/**
 * @param {string} entry
 * @param {string} cache
 * @param {string} name
 * @param {FetchRequest & { env: NodeJS.ProcessEnv }} request
 */
async function fetchInto(entry, cache, name, request) {
  // The lock is ours, so whatever an interrupted setup left beside the entry, or in it, is nobody's.
  for (const left of readdirSync(cache)) if (left.startsWith(`.${name}.partial-`)) remove(path.join(cache, left));
  remove(entry);
  const partial = path.join(cache, `.${name}.partial-${process.pid}`);
  try {
    const source = await fill(partial, path.join(cache, 'downloads'), request);
    const found = libtorchAt(path.join(partial, 'libtorch'), '') ?? libtorchAt(path.join(partial, 'torch'), '');
    if (found === undefined)
      throw new ArchiveError(`${source} holds no libtorch (lib/libtorch_cpu, include/torch/script.h)`);
    if (found.version !== request.version) {
      throw new ArchiveError(`${source} holds torch ${found.version}, not ${request.version}`);
    }
    const note = { version: found.version, variant: request.variant, source };
    writeFileSync(path.join(partial, COMPLETE_FILE), `${JSON.stringify(note, null, 2)}\n`);
    renameSync(partial, entry);
  } finally {
    remove(partial);
  }
  const made = cachedLibtorch(name, request.env);
  if (made === undefined) throw new SetupError(`${entry} vanished while it was set up; run it again.`);
  return made;
}

/** @param {string} folder */
const remove = (folder) => rmSync(folder, { recursive: true, force: true });

/**
 * Fills `partial` from the zip, else from the wheel.
 *
 * @param {string} partial
 * @param {string} downloads
 * @param {FetchRequest & { env: NodeJS.ProcessEnv }} request
 * @returns {Promise<string>} what it came from
 */
async function fill(partial, downloads, request) {
  const { version, variant, progress } = request;
  const url = archiveUrl(request);
  progress.step(`Fetching libtorch ${version} (${variant}), once for this user: ${url}`);
  /** @type {UnreachableError} */
  let zipFailure;
  try {
    await unpackArchive(url, partial, downloads, request);
    return url;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    zipFailure = error;
  }
  progress.step(`  ${zipFailure.message}`);
  progress.step(`Taking it from the torch ${version} wheel through pip instead`);
  try {
    const wheelDownloads = path.join(downloads, `wheels-${process.pid}`);
    const wheelRequest = { ...request, platform: request.platform ?? process.platform };
    await unpackTorchWheel(partial, wheelDownloads, wheelRequest, (wheel) => requireSha256(wheel, request.env));
    return `torch ${version} wheel (pip)`;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    throw new SetupError(
      `libtorch ${version} (${variant}) can't be fetched.\n  ${zipFailure.message}\n  ${error.message}\n` +
        'Check the network; behind a proxy set HTTPS_PROXY, for a mirror NODE_DIFFUSERS_MIRROR. ' +
        `Or point LIBTORCH at an unpacked libtorch, or pip install torch==${version}, which is found by itself.`,
      { cause: error },
    );
  }
}

/**
 * @param {string} url
 * @param {string} partial
 * @param {string} downloads
 * @param {FetchRequest & { env: NodeJS.ProcessEnv }} request
 */
async function unpackArchive(url, partial, downloads, { env, progress }) {
  const file = path.join(downloads, decodeURIComponent(path.basename(new URL(url).pathname)));
  for (let attempt = 1; ; attempt++) {
    const leftOver = existsSync(file);
    const { resumed } = await download(url, file, { env, progress });
    try {
      await requireSha256(file, env);
      progress.step('  unpacking');
      await unzip(file, partial, { onBytes: (bytes) => progress.update(`  unpacking: ${megabytes(bytes)}`) });
      progress.done();
      rmSync(file);
      return;
    } catch (error) {
      progress.done();
      if (!(error instanceof ArchiveError)) throw error;
      remove(partial);
      rmSync(file, { force: true });
      // Pieces of two connections may not fit together; one whole download decides.
      if (attempt === 1 && (resumed || leftOver)) continue;
      throw new ArchiveError(
        `${url}: ${error.message}\nWhat was downloaded is deleted. Run it again; if it stays like this, the server ` +
          'or a proxy between sends something else (see NODE_DIFFUSERS_MIRROR).',
        { cause: error },
      );
    }
  }
}

/**
 * @param {string} file
 * @param {NodeJS.ProcessEnv} env
 */
async function requireSha256(file, env) {
  const wanted = env.NODE_DIFFUSERS_LIBTORCH_SHA256?.trim().toLowerCase();
  if (!wanted) return;
  const got = await sha256(file);
  if (got !== wanted) {
    throw new ArchiveError(
      `${path.basename(file)} has the SHA-256 ${got}, NODE_DIFFUSERS_LIBTORCH_SHA256 wants ${wanted}`,
    );
  }
}

/**
 * Makes `setup`'s last choice what later searches find first.
 *
 * @param {Libtorch} libtorch
 * @param {NodeJS.ProcessEnv} [env]
 */
export function chooseCached(libtorch, env = process.env) {
  const cache = libtorchCache(env);
  const name = path.relative(cache, libtorch.root).split(path.sep)[0] ?? '';
  if (name === '' || name === '..') return;
  const file = path.join(cache, CHOSEN_FILE);
  writeFileSync(`${file}.${process.pid}`, `${name}\n`);
  renameSync(`${file}.${process.pid}`, file);
}
