// @ts-check
// What `npm run sample`, `npm run bench` and `npm test` call. Until node_modules is there only Node's own modules may be
// imported, so whatever needs a package is imported after ensureNodeModules.
import path from 'node:path';
import { requirePlatform, requireToolchain } from './ground.mjs';
import { ensureNodeModules } from './node-modules.mjs';
import { packageRoot } from './paths.mjs';
import { createProgress } from './progress.mjs';
import { runInherited } from './run-command.mjs';
import { SetupError, runMain } from './setup-error.mjs';

/** Stages that need no compiled addon. */
const WITHOUT_ADDON = new Set(['lint', 'types', 'build', 'types-of-users']);

const SAMPLE_DEFAULTS = Object.freeze({
  '--scheduler': 'ddim',
  '--steps': '50',
  '--count': '16',
  '--seed': '0',
  '--grid': 'samples.png',
});

/**
 * The CLI's arguments: the defaults that `given` does not set itself, then `given`.
 *
 * @param {readonly string[]} given
 */
export function sampleArguments(given) {
  const isSet = (/** @type {string} */ flag) =>
    given.some((argument) => argument === flag || argument.startsWith(`${flag}=`));
  const defaults = Object.entries(SAMPLE_DEFAULTS).filter(
    ([flag]) => !isSet(flag) && !(flag === '--grid' && isSet('--out')),
  );
  return ['sample', ...defaults.flat(), ...given];
}

/**
 * @param {boolean} addon
 * @param {boolean} tests
 */
async function prepare(addon, tests) {
  const progress = createProgress();
  requirePlatform();
  if (addon) requireToolchain();
  await ensureNodeModules(progress);
  if (!addon) return;
  const { describeSetup, setup } = await import('./setup.mjs');
  const result = await setup({ tests, progress });
  if (result.built) progress.step(describeSetup(result));
}

/** @param {readonly string[]} given */
async function sample(given) {
  await prepare(true, false);
  const cli = path.join(packageRoot, 'ts', 'cli', 'main.ts');
  return runInherited(process.execPath, ['--import', 'tsx', cli, ...sampleArguments(given)], { cwd: packageRoot });
}

/** @param {readonly string[]} given */
async function bench(given) {
  const isHelp = given.some((argument) => argument === '--help' || argument === '-h');
  await prepare(!isHelp, false);
  const main = path.join(packageRoot, 'scripts', 'bench', 'main.ts');
  return runInherited(process.execPath, ['--import', 'tsx', main, ...given], { cwd: packageRoot });
}

/** @param {readonly string[]} stages */
async function test(stages) {
  await prepare(stages.length === 0 || stages.some((stage) => !WITHOUT_ADDON.has(stage)), true);
  const { runStages } = await import('./test-stages.mjs');
  return runStages(stages);
}

await runMain(async () => {
  const [command, ...rest] = process.argv.slice(2);
  if (command === 'sample') return sample(rest);
  if (command === 'bench') return bench(rest);
  if (command === 'test') return test(rest);
  throw new SetupError(`bootstrap.mjs takes sample, bench or test, got '${command ?? ''}'.`);
});
