// @ts-check
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this package's package.json. */
export const packageRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** The folder the addon is built in, and the files that matter in it. */
export const buildFolder = path.join(packageRoot, 'build');
export const addonFile = path.join(buildFolder, 'Release', 'node_diffusers.node');
export const buildInfoFile = path.join(buildFolder, 'Release', 'build-info.json');

/** Whether this is a clone with its TypeScript sources, not an installed package. */
export const isClone = existsSync(path.join(packageRoot, 'ts', 'errors.ts'));

/** The command that sets this copy of the package up, for messages. */
export const setupCommand = isClone ? 'npm test or npm run sample' : 'npx node-diffusers setup';

/**
 * The per-user cache: NODE_DIFFUSERS_CACHE, else node-diffusers in XDG_CACHE_HOME, else in ~/.cache.
 *
 * @param {NodeJS.ProcessEnv} env
 */
export function cacheFolder(env = process.env) {
  if (env.NODE_DIFFUSERS_CACHE) return path.resolve(env.NODE_DIFFUSERS_CACHE);
  const xdg = env.XDG_CACHE_HOME;
  // The XDG specification has relative paths ignored.
  const base = xdg && path.isAbsolute(xdg) ? xdg : path.join(env.HOME || homedir(), '.cache');
  return path.join(base, 'node-diffusers');
}

/** Where fetched libtorches live, one folder `<version>-<variant>` each. @param {NodeJS.ProcessEnv} env */
export function libtorchCache(env = process.env) {
  return path.join(cacheFolder(env), 'libtorch');
}
