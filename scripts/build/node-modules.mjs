// @ts-check
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from './paths.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

const MODULES = path.join(packageRoot, 'node_modules');
const STAMP = path.join(MODULES, '.node-diffusers-lock');
const LOCK_FILES = ['package.json', 'package-lock.json'];

/** The dependencies of package.json and the lock file; a change of a script does not count. */
function wantedStamp() {
  const hash = createHash('sha256');
  const [manifest = '{}', lock = ''] = LOCK_FILES.map((name) => readFileSync(path.join(packageRoot, name), 'utf8'));
  const { dependencies, devDependencies } = JSON.parse(manifest);
  return hash
    .update(JSON.stringify([dependencies, devDependencies]))
    .update(lock)
    .digest('hex');
}

/**
 * `npm ci` where node_modules is missing, was left half done or is of another lock file.
 *
 * @param {import('./progress.mjs').Progress} progress
 */
export async function ensureNodeModules(progress) {
  const wanted = wantedStamp();
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted) return;
  progress.step('Installing the npm packages (npm ci)');
  const npm = process.env.npm_execpath;
  const [command, ...first] =
    npm && /\.c?js$/.test(npm) && /npm/.test(path.basename(npm)) ? [process.execPath, npm] : ['npm'];
  const args = [...first, 'ci', '--no-audit', '--no-fund', '--include=dev'];
  let outcome;
  try {
    outcome = await runCommand(command ?? 'npm', args, { cwd: packageRoot });
  } catch (error) {
    throw new SetupError('npm was not found; it comes with Node.js: https://nodejs.org/en/download', { cause: error });
  }
  if (outcome.status !== 0) throw npmFailure(outcome.output);
  writeFileSync(STAMP, wanted);
}

/** @param {string} output */
function npmFailure(output) {
  const lines = output
    .split('\n')
    .filter((line) => /npm (error|ERR!)/.test(line))
    .slice(0, 8)
    .join('\n');
  const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET|network/i.test(output);
  const hint = offline
    ? "The npm registry can't be reached: check the network (HTTPS_PROXY, npm_config_registry for a mirror)."
    : 'npm ci failed; what npm says is above.';
  return new SetupError(`${lines || output.trim().split('\n').slice(-8).join('\n')}\n${hint}`);
}
