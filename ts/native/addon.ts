import { existsSync } from 'node:fs';
import path from 'node:path';
import { LibtorchError, makeError } from '../errors';
import type { NativeAddon } from './addon-types';
import { buildProblem, readBuildInfo } from './build-info';

/** The package's folder, from ts/native in a clone and from dist/native in a package. */
export const packageRoot = path.resolve(__dirname, '../..');

let loaded: NativeAddon | undefined;

/**
 * The compiled addon, found and loaded on first use. A failure is not remembered: after `setup` the next call succeeds.
 *
 * @throws LibtorchError saying what is wrong and which command sets it right.
 */
export function addon(): NativeAddon {
  loaded ??= loadAddon(packageRoot);
  return loaded;
}

/**
 * Loads the addon that was built in the package at `root`.
 *
 * @internal
 * @throws LibtorchError as {@link addon} does.
 */
export function loadAddon(root: string): NativeAddon {
  const file = path.join(root, 'build', 'Release', 'node_diffusers.node');
  if (!existsSync(file)) throw notReady(root, `the native addon is not built yet (${file} does not exist)`);
  const info = readBuildInfo(path.join(path.dirname(file), 'build-info.json'));
  if (info === undefined) throw notReady(root, `${path.dirname(file)}/build-info.json is missing or damaged`);
  const problem = buildProblem(info);
  if (problem !== undefined) throw notReady(root, problem);
  const binding = requireAddon(root, file);
  if (typeof binding.init !== 'function') throw notReady(root, `${file} is not this package's addon`);
  binding.init({ makeError });
  return binding;
}

function requireAddon(root: string, file: string): NativeAddon {
  try {
    return require(file) as NativeAddon;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw notReady(root, `the native addon does not load: ${reason}`, cause);
  }
}

/** What is wrong, then what to run: in a clone both README commands set up first, a package has its own command. */
function notReady(root: string, problem: string, cause?: unknown): LibtorchError {
  const isClone = existsSync(path.join(root, 'ts', 'errors.ts'));
  const command = isClone ? 'npm test or npm run sample' : 'npx node-diffusers setup';
  const message = `${problem}. Run ${command} to set it up; npx node-diffusers doctor says more.`;
  return new LibtorchError(message, cause === undefined ? undefined : { cause });
}
