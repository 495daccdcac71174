// @ts-check
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from './paths.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * @typedef {object} LockFile
 * @property {Record<string, { version?: string, optional?: boolean, devOptional?: boolean, link?: boolean }>} packages
 */

/**
 * @param {string} name
 * @returns {LockFile | undefined}
 */
function readLock(name) {
  try {
    return JSON.parse(readFileSync(path.join(packageRoot, name), 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * Whether npm finished installing what the lock file wants. npm writes its own record of node_modules last, so a half
 * done install has none. What is optional may be missing: other platforms' packages are.
 *
 * @param {LockFile | undefined} wanted package-lock.json
 * @param {LockFile | undefined} installed node_modules/.package-lock.json
 */
export function isInstalled(wanted, installed) {
  if (wanted === undefined || installed === undefined) return false;
  return Object.entries(wanted.packages).every(([place, { version, optional, devOptional }]) => {
    const there = installed.packages[place];
    return place === '' || (there === undefined ? (optional ?? devOptional ?? false) : there.version === version);
  });
}

/**
 * `npm ci` where node_modules is missing, was left half done or does not hold what the lock file wants.
 *
 * @param {import('./progress.mjs').Progress} progress
 */
export async function ensureNodeModules(progress) {
  if (isInstalled(readLock('package-lock.json'), readLock('node_modules/.package-lock.json'))) return;
  progress.step('Installing the npm packages (npm ci)');
  const npm = process.env.npm_execpath;
  const [command, ...first] =
    npm && /\.c?js$/.test(npm) && /npm/.test(path.basename(npm)) ? [process.execPath, npm] : ['npm'];
  const args = [...first, 'ci', '--no-audit', '--no-fund', '--include=dev', '--loglevel=error'];
  let outcome;
  try {
    // onnxruntime-node, a peer of the benchmarks, would fetch CUDA's part of it, hundreds of megabytes that nothing here uses.
    const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' };
    outcome = await runCommand(command ?? 'npm', args, { cwd: packageRoot, env });
  } catch (error) {
    throw new SetupError('npm was not found; it comes with Node.js: https://nodejs.org/en/download', { cause: error });
  }
  if (outcome.status !== 0) throw npmFailure(outcome.output);
}

/** @param {string} output */
function npmFailure(output) {
  const lines = output
    .split('\n')
    .filter((line) => /npm (error|ERR!)(?! +at )/.test(line))
    .slice(0, 8)
    .join('\n');
  const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET|network/i.test(output);
  const hint = offline
    ? "The npm registry can't be reached: check the network (HTTPS_PROXY, npm_config_registry for a mirror)."
    : 'npm ci failed; what npm says is above.';
  return new SetupError(`${lines || output.trim().split('\n').slice(-8).join('\n')}\n${hint}`);
}
