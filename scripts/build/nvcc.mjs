// @ts-check
import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/**
 * @typedef {object} Nvcc
 * @property {string} command its absolute path: CMake writes that down, and another name would be another compiler
 * @property {string} version e.g. 13.0
 */

/**
 * CUDA's compiler: $CUDACXX, on the PATH, in $CUDA_HOME or $CUDA_PATH, or where NVIDIA's packages put it.
 *
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Nvcc | undefined}
 */
export function findNvcc(env = process.env) {
  const named = env.CUDACXX ? [env.CUDACXX] : [];
  const homes = [env.CUDA_HOME, env.CUDA_PATH, '/usr/local/cuda'].filter((home) => home);
  const installed = homes.map((home) => path.join(/** @type {string} */ (home), 'bin', 'nvcc'));
  for (const name of [...named, 'nvcc', ...installed]) {
    const command = whereIs(name, env);
    const version = command === undefined ? undefined : versionOf(command, env);
    if (command !== undefined && version !== undefined) return { command, version };
  }
  return undefined;
}

/**
 * @param {string} name a path, or a program on the PATH
 * @param {NodeJS.ProcessEnv} env
 * @returns {string | undefined} its absolute path
 */
function whereIs(name, env) {
  const folders = name.includes(path.sep) ? [''] : (env.PATH ?? '').split(path.delimiter).filter((folder) => folder);
  return folders.map((folder) => path.resolve(folder, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * @param {string} command
 * @param {NodeJS.ProcessEnv} env
 */
function versionOf(command, env) {
  try {
    const text = execFileSync(command, ['--version'], { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'ignore'] });
    return /release (\d+\.\d+)/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}

/**
 * Why the CUDA kernels of an addon for this libtorch can't be built; nothing where they can. CUDA's runtime is one for a
 * major version.
 *
 * @param {string} variant of libtorch: cu130, …
 * @param {Nvcc | undefined} nvcc
 * @returns {string | undefined}
 */
export function whyNoCudaKernels(variant, nvcc) {
  const major = /^cu(\d+)\d$/.exec(variant)?.[1];
  if (major === undefined) return `libtorch is ${variant}`;
  if (nvcc === undefined) return `nvcc was not found (CUDA ${major}'s compiler)`;
  if (nvcc.version.split('.')[0] !== major) return `nvcc is ${nvcc.version}, libtorch's CUDA is ${major}`;
  return undefined;
}
