// @ts-check
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { buildWithAsan } from './asan.mjs';
import { answers } from './build-addon.mjs';
import { buildDist } from './build-dist.mjs';
import { checkSources } from './check-sources.mjs';
import { findNvcc } from './nvcc.mjs';
import { buildFolder, packageRoot } from './paths.mjs';
import { runCommand, runInherited } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/**
 * @typedef {object} Counts
 * @property {number} passed
 * @property {number} failed
 * @property {number} [skipped]
 */

/** Tests under test/, each folder a stage that fails when it holds no test. */
const MOCHA_STAGES = ['unit', 'parity', 'e2e', 'stress'];
const TYPE_PROJECTS = ['test/types/tsconfig.esm.json', 'test/types/tsconfig.cjs.json'];
/** These look at the package as users get it: `build` runs before them. */
const NEEDS_DIST = new Set(['types-of-users', 'e2e']);

/** @param {string} name */
const binOf = (name) => path.join(packageRoot, 'node_modules', ...name.split('/'));
const TSC = binOf('typescript/bin/tsc');

/** `npm run build`. @returns {Promise<Counts>} */
async function build() {
  try {
    await buildDist();
    return { passed: 0, failed: 0 };
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stdout.write(`${error.message}\n`);
    return { passed: 0, failed: 1 };
  }
}

/**
 * A tool that only says yes or no; it adds to the failures, not to the tests that passed.
 *
 * @param {string[]} args
 * @returns {Promise<Counts>}
 */
async function tool(...args) {
  const status = await runInherited(process.execPath, args, { cwd: packageRoot });
  return { passed: 0, failed: status === 0 ? 0 : 1 };
}

/**
 * @param {Counts[]} all
 * @returns {Counts}
 */
const sum = (all) =>
  all.reduce(
    (a, b) => ({
      passed: a.passed + b.passed,
      failed: a.failed + b.failed,
      skipped: (a.skipped ?? 0) + (b.skipped ?? 0),
    }),
    { passed: 0, failed: 0, skipped: 0 },
  );

/** @returns {Promise<Counts>} */
async function lint() {
  const eslint = await tool(
    binOf('eslint/bin/eslint.js'),
    '--cache',
    '--cache-location',
    'build/.eslintcache',
    '--max-warnings',
    '0',
    '.',
  );
  const problems = checkSources();
  for (const problem of problems) process.stdout.write(`${problem}\n`);
  return sum([eslint, { passed: 0, failed: problems.length }]);
}

/** @returns {Promise<Counts>} */
async function types() {
  return tool(TSC, '-p', 'tsconfig.json');
}

/** Programs as users write them, against dist: what must compile, and what must not. @returns {Promise<Counts>} */
async function typesOfUsers() {
  const all = [];
  for (const project of TYPE_PROJECTS) all.push(await tool(TSC, '-p', project));
  return sum(all);
}

/**
 * @param {string} stage
 * @returns {Promise<Counts>}
 */
async function mocha(stage) {
  const folder = mkdtempSync(path.join(tmpdir(), 'node-diffusers-test-'));
  const countsFile = path.join(folder, 'counts.json');
  try {
    const reporter = path.join(packageRoot, 'scripts', 'build', 'mocha-reporter.mjs');
    const status = await runInherited(
      process.execPath,
      [binOf('mocha/bin/mocha.js'), '--reporter', reporter, `test/${stage}/**/*.test.ts`],
      { cwd: packageRoot, env: { ...process.env, NODE_DIFFUSERS_TEST_COUNTS: countsFile } },
    );
    /** @type {Counts} */
    const counts = existsSync(countsFile) ? JSON.parse(readFileSync(countsFile, 'utf8')) : { passed: 0, failed: 0 };
    if (counts.passed + counts.failed === 0) process.stdout.write(`stage ${stage}: no test ran\n`);
    // A crash, a test file that does not load, no test at all: mocha's status says so when no single test can.
    return status !== 0 || counts.passed === 0 ? { ...counts, failed: Math.max(1, counts.failed) } : counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The native tests and the replays of the fuzzers' corpora. @returns {Promise<Counts>} */
async function native(folder = buildFolder) {
  const args = ['--test-dir', folder, '--output-on-failure', '--no-tests=error', '-C', 'Release'];
  const { status, output } = await runCommand('ctest', args, { cwd: packageRoot });
  const match = /(\d+) tests? failed out of (\d+)/.exec(output);
  if (status !== 0 || match === null) process.stdout.write(output);
  if (match === null) return { passed: 0, failed: 1 };
  const [failed, total] = [Number(match[1]), Number(match[2])];
  const skipped = (output.match(/\*\*\*Skipped/g) ?? []).length; // ctest counts them with those that passed
  return { passed: total - failed - skipped, failed: status === 0 ? failed : Math.max(1, failed), skipped };
}

/** The same with AddressSanitizer, in build/asan. @returns {Promise<Counts>} */
async function asan() {
  try {
    const folder = await buildWithAsan();
    if (folder !== undefined) return await native(folder);
    process.stdout.write('stage asan: SKIPPED, as the compiler has no AddressSanitizer that runs (Debian: libasan8)\n');
    return { passed: 0, failed: 0, skipped: 1 };
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stdout.write(`${error.message}\n`);
    return { passed: 0, failed: 1 };
  }
}

/**
 * The CUDA kernels, their tests and benchmark: compiled where nvcc is, run where a GPU is too.
 *
 * @returns {Promise<Counts>}
 */
async function cuda() {
  const nvcc = findNvcc();
  if (nvcc === undefined) {
    process.stdout.write('stage cuda: SKIPPED, as there is no nvcc\n');
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const folder = path.join(buildFolder, 'cuda');
  const source = path.join(packageRoot, 'native', 'kernels', 'cuda');
  const parts = ['CUDA', 'TESTS', 'BENCH'].map((part) => `-DNODE_DIFFUSERS_${part}=ON`);
  const defines = [...parts, `-DCMAKE_CUDA_COMPILER=${nvcc.command}`];
  for (const args of [
    ['-S', source, '-B', folder, ...defines],
    ['--build', folder, '--parallel', String(availableParallelism())],
  ]) {
    const { status, output } = await runCommand('cmake', args, { cwd: packageRoot });
    if (status === 0) continue;
    process.stdout.write(output);
    return { passed: 0, failed: 1 };
  }
  return answers('nvidia-smi', ['-L']) ? native(folder) : { passed: 0, failed: 0 };
}

/** @type {Record<string, () => Promise<Counts>>} */
const STAGES = {
  lint,
  types,
  build,
  'types-of-users': typesOfUsers,
  unit: () => mocha('unit'),
  native: () => native(),
  cuda,
  asan,
  ...Object.fromEntries(MOCHA_STAGES.slice(1).map((stage) => [stage, () => mocha(stage)])),
};

/**
 * Runs the stages named, or all of them, and ends with the line `N passed, N failed`. A failing stage does not keep the
 * others from running.
 *
 * @param {readonly string[]} names
 * @returns {Promise<number>} the exit status
 */
export async function runStages(names) {
  const unknown = names.filter((name) => STAGES[name] === undefined);
  if (unknown.length > 0) {
    throw new SetupError(`no test stage '${unknown.join("', '")}'; there are ${Object.keys(STAGES).join(', ')}.`);
  }
  const started = Date.now();
  const chosen = names.length === 0 ? Object.keys(STAGES) : [...names];
  const first = chosen.findIndex((name) => NEEDS_DIST.has(name));
  if (first >= 0 && !chosen.includes('build')) chosen.splice(first, 0, 'build');
  /** @type {Counts[]} */
  const all = [];
  /** @type {string[]} */
  const summary = [];
  for (const name of chosen) {
    process.stdout.write(`\n== ${name} ==\n`);
    const stageStarted = Date.now();
    const counts = await /** @type {() => Promise<Counts>} */ (STAGES[name])();
    all.push(counts);
    summary.push(describe(name, counts, Date.now() - stageStarted));
  }
  const { passed, failed } = sum(all);
  process.stdout.write(`\n${summary.join('\n')}\n${'all'.padEnd(16)}${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

/**
 * @param {string} name
 * @param {Counts} counts
 * @param {number} ms
 */
function describe(name, { passed, failed, skipped = 0 }, ms) {
  const ran = passed + failed > 0 ? `${passed} passed, ${failed} failed` : '';
  const tests = [ran, skipped > 0 ? `${skipped} skipped` : ''].filter(Boolean).join(', ') || 'ok';
  return `${name.padEnd(16)}${(ms / 1000).toFixed(1).padStart(6)} s  ${tests}`;
}
