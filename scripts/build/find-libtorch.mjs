// @ts-check
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { libtorchCache } from './paths.mjs';
import { SetupError } from './setup-error.mjs';
import { DEFAULT_VERSION, isSupported, readTorchVersion, requireSupported } from './torch-version.mjs';

/**
 * @typedef {object} Libtorch
 * @property {string} root the folder with include, lib and share
 * @property {string} include
 * @property {string} lib
 * @property {string} cmakePrefix
 * @property {string} version e.g. 2.13.0
 * @property {string} variant cpu, cu130, …
 * @property {string} source in words, where it was found
 */

/**
 * @typedef {object} Search
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [version] only this version
 * @property {string} [variant] only this variant
 * @property {(python: string) => string | undefined} [locatePythonTorch] the torch folder of a Python
 * @property {string} [systemRoot] default /usr
 */

/** The file inside a cache entry that is written last: an entry without it is not complete. */
export const COMPLETE_FILE = 'complete.json';
/** The file of the cache that names the entry `setup` last made. */
export const CHOSEN_FILE = 'chosen';

const LIBRARY_NAMES = ['libtorch_cpu.so', 'libtorch_cpu.dylib'];
const CUDA_NAMES = ['libtorch_cuda.so', 'libtorch_cuda.dylib'];

/**
 * @param {string} folder
 * @param {string[]} names
 */
const holdsAny = (folder, names) => names.some((name) => existsSync(path.join(folder, name)));

/**
 * Looks at one folder; undefined if no libtorch is in it.
 *
 * @param {string} root
 * @param {string} source
 * @param {{ include?: string | undefined, lib?: string | undefined }} [at]
 * @returns {Libtorch | undefined}
 */
export function libtorchAt(root, source, at = {}) {
  const include = at.include ?? path.join(root, 'include');
  const lib = at.lib ?? path.join(root, 'lib');
  if (!holdsAny(lib, LIBRARY_NAMES)) return undefined;
  if (!existsSync(path.join(include, 'torch', 'script.h'))) return undefined;
  const read = readTorchVersion(root, include, holdsAny(lib, CUDA_NAMES));
  if (read === undefined) return undefined;
  return { root, include, lib, cmakePrefix: path.join(root, 'share', 'cmake'), ...read, source };
}

/** The first Python on the path, or the one PYTHON names. @param {NodeJS.ProcessEnv} env */
export function pythonCommand(env) {
  for (const command of env.PYTHON ? [env.PYTHON] : ['python3', 'python']) {
    try {
      execFileSync(command, ['-c', 'import sys; sys.exit(sys.version_info < (3, 8))'], { env, stdio: 'ignore' });
      return command;
    } catch {
      // not there, or too old: the next one
    }
  }
  return undefined;
}

/**
 * Where a Python would import torch from; find_spec of a top-level name runs none of its code.
 *
 * @param {NodeJS.ProcessEnv} env
 */
function locatePythonTorch(env) {
  const python = pythonCommand(env);
  if (python === undefined) return undefined;
  const script =
    'import importlib.util as u; s = u.find_spec("torch"); print((s and s.submodule_search_locations or [""])[0])';
  try {
    const folder = execFileSync(python, ['-c', script], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return folder.trim() || undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string | undefined} torch
 */
function fromUsePytorch(env, torch) {
  const found = torch === undefined ? undefined : libtorchAt(torch, 'LIBTORCH_USE_PYTORCH');
  if (found !== undefined) return found;
  throw new SetupError(
    `LIBTORCH_USE_PYTORCH is set, but ${env.PYTHON ?? 'python3'} has no torch with headers and libraries` +
      `${torch === undefined ? '' : ` (looked in ${torch})`}.\n` +
      `Install one (pip install torch==${DEFAULT_VERSION}), name its Python in PYTHON, or unset LIBTORCH_USE_PYTORCH.`,
  );
}

/** @param {NodeJS.ProcessEnv} env */
function fromLibtorchVariables(env) {
  const given = env.LIBTORCH ?? path.dirname(/** @type {string} */ (env.LIBTORCH_LIB ?? env.LIBTORCH_INCLUDE));
  const root = path.resolve(given);
  const include = env.LIBTORCH_INCLUDE && path.resolve(env.LIBTORCH_INCLUDE);
  // tch-rs takes the folder that holds include/ or lib/ here; both meanings are understood.
  const inside = (/** @type {string | undefined} */ folder, /** @type {string} */ name) =>
    folder === undefined || folder === ''
      ? undefined
      : existsSync(path.join(folder, name))
        ? path.join(folder, name)
        : folder;
  const lib = env.LIBTORCH_LIB && path.resolve(env.LIBTORCH_LIB);
  const found = libtorchAt(root, 'LIBTORCH', { include: inside(include, 'include'), lib: inside(lib, 'lib') });
  if (found !== undefined) return found;
  throw new SetupError(
    `LIBTORCH is ${root}, but there is no libtorch in it: it must hold lib/libtorch_cpu.so, ` +
      'include/torch/script.h and a build-version or version.py.\n' +
      'Point LIBTORCH (and LIBTORCH_INCLUDE, LIBTORCH_LIB where they lie elsewhere) at an unpacked ' +
      'libtorch or a torch package, or unset it to have one found or fetched.',
  );
}

/**
 * A finished entry of the cache, named `<version>-<variant>`; undefined when it is missing or was never completed.
 *
 * @param {string} name
 * @param {NodeJS.ProcessEnv} env
 */
export function cachedLibtorch(name, env = process.env) {
  const entry = path.join(libtorchCache(env), name);
  if (!existsSync(path.join(entry, COMPLETE_FILE))) return undefined;
  // The official zip holds libtorch/, a wheel torch/ (and nvidia/ beside it, which its libraries look for there).
  return libtorchAt(path.join(entry, 'libtorch'), entry) ?? libtorchAt(path.join(entry, 'torch'), entry);
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {(found: Libtorch) => boolean} fits
 */
function fromCache(env, fits) {
  const folder = libtorchCache(env);
  if (!existsSync(folder)) return undefined;
  const chosenFile = path.join(folder, CHOSEN_FILE);
  const chosen = existsSync(chosenFile) ? readFileSync(chosenFile, 'utf8').trim() : '';
  const others = readdirSync(folder).filter((name) => /^\d+\.\d+\.\d+-\w+$/.test(name));
  others.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  for (const name of [chosen, `${DEFAULT_VERSION}-cpu`, ...others]) {
    const found = /^[\w.-]+$/.test(name) ? cachedLibtorch(name, env) : undefined;
    if (found !== undefined && fits(found)) return found;
  }
  return undefined;
}

/** @param {string} root */
function fromSystem(root) {
  const lib = ['lib', 'lib64', 'lib/x86_64-linux-gnu', 'lib/aarch64-linux-gnu']
    .map((name) => path.join(root, name))
    .find((folder) => holdsAny(folder, LIBRARY_NAMES));
  return lib === undefined ? undefined : libtorchAt(root, root, { lib });
}

/**
 * Finds libtorch: LIBTORCH_USE_PYTORCH=1, LIBTORCH (LIBTORCH_INCLUDE, LIBTORCH_LIB), the per-user cache, an importable
 * Python torch, /usr. What a variable names must be usable; anything else that does not fit is passed over, and said so
 * in `passedOver`.
 *
 * @param {Search} [search]
 * @returns {{ found: Libtorch | undefined, passedOver: string[] }}
 */
export function findLibtorch(search = {}) {
  const env = search.env ?? process.env;
  const locate = search.locatePythonTorch ?? (() => locatePythonTorch(env));
  const usePytorch = env.LIBTORCH_USE_PYTORCH;
  if (usePytorch !== undefined && usePytorch !== '' && usePytorch !== '0') {
    return { found: named(fromUsePytorch(env, locate(env.PYTHON ?? 'python3')), search), passedOver: [] };
  }
  if (env.LIBTORCH || env.LIBTORCH_LIB || env.LIBTORCH_INCLUDE) {
    return { found: named(fromLibtorchVariables(env), search), passedOver: [] };
  }
  /** @type {string[]} */
  const passedOver = [];
  const fits = (/** @type {Libtorch} */ found) => {
    const wanted = wants(found, search);
    if (!wanted) passedOver.push(`torch ${found.version} (${found.variant}) in ${found.root}`);
    return wanted;
  };
  const cached = fromCache(env, fits);
  if (cached !== undefined) return { found: cached, passedOver };
  const torch = locate(env.PYTHON ?? 'python3');
  const python = torch === undefined ? undefined : libtorchAt(torch, 'Python');
  if (python !== undefined && fits(python)) return { found: python, passedOver };
  const system = fromSystem(search.systemRoot ?? '/usr');
  if (system !== undefined && fits(system)) return { found: system, passedOver };
  return { found: undefined, passedOver };
}

/**
 * @param {Libtorch} found
 * @param {Search} search
 */
function wants(found, search) {
  return (
    isSupported(found.version) &&
    (search.version === undefined || found.version === search.version) &&
    (search.variant === undefined || found.variant === search.variant)
  );
}

/**
 * A libtorch that a variable names: it must be supported, and what --torch and --variant ask for.
 *
 * @param {Libtorch} found
 * @param {Search} search
 */
function named(found, search) {
  requireSupported(found.version, `${found.source} (${found.root})`);
  if (!wants(found, search)) {
    throw new SetupError(
      `${found.source} names torch ${found.version} (${found.variant}) in ${found.root}, but ` +
        `${search.version ?? found.version} (${search.variant ?? found.variant}) was asked for. ` +
        'Unset the variable or drop --torch and --variant.',
    );
  }
  return found;
}
