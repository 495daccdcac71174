// @ts-check
import { execFileSync } from 'node:child_process';
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { compareConfiguration, readCMakeCache } from './cmake-cache.mjs';
import { requireToolchain } from './ground.mjs';
import { withLock } from './lock.mjs';
import { findNvcc, whyNoCudaKernels } from './nvcc.mjs';
import { addonFile, buildFolder, buildInfoFile, isClone, packageRoot } from './paths.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

const require = createRequire(import.meta.url);

/**
 * @typedef {object} BuildRequest
 * @property {import('./find-libtorch.mjs').Libtorch} libtorch
 * @property {import('./progress.mjs').Progress} progress
 * @property {boolean} [tests] the native tests and benchmarks too
 */

/**
 * Compiles the addon into build/Release/node_diffusers.node. What has not changed is not compiled again: the build
 * folder is configured anew only when libtorch, the generator, the compiler or this folder's place changed, and the
 * build tool sees to the rest.
 *
 * @param {BuildRequest} request
 * @returns {Promise<{ file: string, built: boolean, seconds: number }>}
 * @throws {SetupError} with the compiler's errors, or what is missing to compile
 */
export async function buildAddon(request) {
  requireWritable();
  const onWait = () => request.progress.step('Another build of the addon is running; waiting for it');
  return withLock(buildFolder, 'build', onWait, async () => {
    const started = Date.now();
    const before = timeOf(addonFile);
    const environment = { ...process.env, ...ccacheEnvironment() };
    const command = await configureCommand(request);
    const state = compareConfiguration(readCMakeCache(buildFolder), command);
    if (state === 'same' && !isClone && before !== undefined && isOfThisVersion()) {
      return { file: addonFile, built: false, seconds: (Date.now() - started) / 1000 };
    }
    if (state !== 'same' || !isClone) {
      requireToolchain();
      if (state === 'fresh' || !isClone) forgetConfiguration();
      request.progress.update('Configuring the addon');
      await runBuildStep(command, 'configuring', environment, request);
    }
    if (before === undefined) request.progress.step('Compiling the addon, once (about a minute)');
    await runBuildStep(buildCommand(request), 'compiling', environment, request);
    request.progress.done();
    if (!existsSync(addonFile))
      throw new SetupError(`the build made no ${addonFile}; remove ${buildFolder} and run it again.`);
    completeBuildInfo();
    if (!isClone) removeIntermediates();
    return { file: addonFile, built: timeOf(addonFile) !== before, seconds: (Date.now() - started) / 1000 };
  });
}

/** @param {string} file */
const timeOf = (file) => (existsSync(file) ? statSync(file).mtimeMs : undefined);

/** @returns {string} */
const packageVersion = () => JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8')).version;

/** Whether the addon was built from this version's sources: an update may leave the build folder where it is. */
function isOfThisVersion() {
  try {
    return JSON.parse(readFileSync(buildInfoFile, 'utf8')).packageVersion === packageVersion();
  } catch {
    return false;
  }
}

/** What the compiler leaves, over a gigabyte of it precompiled headers. */
function removeIntermediates() {
  const folder = path.join(buildFolder, 'CMakeFiles');
  for (const name of readdirSync(folder).filter((entry) => entry.endsWith('.dir'))) {
    rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

/** @throws {SetupError} where the addon can't be put */
export function requireWritable() {
  try {
    mkdirSync(buildFolder, { recursive: true });
    accessSync(buildFolder, constants.W_OK);
  } catch {
    throw new SetupError(
      `the addon is built inside the package, and ${packageRoot} is not writable for you.\n` +
        'Run setup as the user that owns the folder (for a global install, whoever installed it), or install the ' +
        'package in a project of your own.',
    );
  }
}

/** CMake writes what it knows of libtorch; what Node calls the platform is added here. */
function completeBuildInfo() {
  const info = JSON.parse(readFileSync(buildInfoFile, 'utf8'));
  const { platform, arch } = process;
  const complete = { ...info, platform, arch, packageVersion: packageVersion() };
  if (JSON.stringify(complete) === JSON.stringify(info)) return;
  writeFileSync(buildInfoFile, `${JSON.stringify(complete, null, 2)}\n`);
}

/** An addon of another libtorch must not survive a configure whose build then fails. */
function forgetConfiguration() {
  const cmake = ['CMakeCache.txt', 'CMakeFiles'].map((name) => path.join(buildFolder, name));
  for (const old of [...cmake, addonFile, buildInfoFile]) rmSync(old, { recursive: true, force: true });
}

/**
 * Whether a command starts and ends well.
 *
 * @param {string} name
 * @param {readonly string[]} args
 */
export function answers(name, args) {
  try {
    execFileSync(name, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/**
 * Files are the same whatever folder the package lies in, so ccache may find them from any; PCH needs the sloppiness.
 */
export function ccacheEnvironment() {
  return { CCACHE_BASEDIR: packageRoot, CCACHE_NOHASHDIR: '1', CCACHE_SLOPPINESS: 'pch_defines,time_macros' };
}

/**
 * Copies a package's headers into build/headers. npm may have put the package beside this one or inside it, and ccache
 * knows a file again from another folder only if the paths below this package are the same.
 *
 * @param {string} name
 * @param {string} [folder] of the package
 * @returns {string} the copy's folder
 */
function copyHeaders(name, folder = '.') {
  const from = path.join(path.dirname(require.resolve(`${name}/package.json`)), folder);
  const to = path.join(buildFolder, 'headers', name);
  // The time is the source's, so that the build tool sees a change when there is one, and only then.
  for (const file of readdirSync(from).filter((entry) => entry.endsWith('.h'))) {
    cpSync(path.join(from, file), path.join(to, file), { preserveTimestamps: true });
  }
  return to;
}

/**
 * @param {BuildRequest} request
 * @returns {Promise<string[]>}
 */
async function configureCommand({ libtorch, progress }) {
  const { BuildSystem } = require('cmake-js');
  const nvcc = libtorch.variant === 'cpu' ? undefined : findNvcc();
  const noKernels = whyNoCudaKernels(libtorch.variant, nvcc);
  if (libtorch.variant !== 'cpu' && noKernels !== undefined) {
    progress.step(`The CUDA kernels are left out, and CUDA is slower without them: ${noKernels}`);
  }
  // A package has neither; nor does every copy of a clone, such as a container's.
  const has = (/** @type {string[]} */ ...folder) => (existsSync(path.join(packageRoot, ...folder)) ? 'ON' : 'OFF');
  const system = new BuildSystem({
    directory: packageRoot,
    out: buildFolder,
    config: 'Release',
    logLevel: 'error',
    ...(process.env.CMAKE_GENERATOR ? { generator: process.env.CMAKE_GENERATOR } : {}),
    cMakeOptions: {
      LIBTORCH_ROOT: libtorch.root,
      LIBTORCH_INCLUDE: libtorch.include,
      LIBTORCH_LIB: libtorch.lib,
      LIBTORCH_VERSION: libtorch.version,
      LIBTORCH_VARIANT: libtorch.variant,
      NODE_ADDON_API: copyHeaders('node-addon-api'),
      CMAKE_JS_INC: copyHeaders('node-api-headers', 'include'),
      NODE_DIFFUSERS_TESTS: has('test', 'native'),
      NODE_DIFFUSERS_BENCH: has('scripts', 'bench', 'native'),
      NODE_DIFFUSERS_CUDA: noKernels === undefined ? 'ON' : 'OFF',
      ...(noKernels === undefined && nvcc !== undefined ? { CMAKE_CUDA_COMPILER: nvcc.command } : {}),
      ...(answers('ccache', ['--version']) ? { CMAKE_CXX_COMPILER_LAUNCHER: 'ccache' } : {}),
    },
  });
  try {
    return await system.cmake.getConfigureCommand();
  } catch (error) {
    requireToolchain();
    throw new SetupError(`cmake-js: ${/** @type {Error} */ (error).message}`, { cause: error });
  }
}

/** @param {BuildRequest} request */
function buildCommand({ tests }) {
  const jobs = Math.max(1, Math.min(os.availableParallelism(), Math.floor(os.totalmem() / 2e9)));
  const target = tests === true ? [] : ['--target', 'node_diffusers'];
  return ['cmake', '--build', buildFolder, '--config', 'Release', '--parallel', String(jobs), ...target];
}

/**
 * @param {string[]} command
 * @param {string} what
 * @param {NodeJS.ProcessEnv} env
 * @param {BuildRequest} request
 */
async function runBuildStep([program = 'cmake', ...args], what, env, { progress }) {
  const onLine = (/** @type {string} */ line) => {
    const step = /^\[\s*(\d+)(?:\/(\d+)|%)\]/.exec(line);
    if (step !== null)
      progress.update(`  compiling: ${step[2] === undefined ? `${step[1]}%` : `${step[1]} of ${step[2]}`}`);
  };
  const outcome = await runCommand(program, args, { cwd: buildFolder, env, onLine });
  progress.done();
  if (outcome.status === 0) return;
  const log = path.join(buildFolder, 'failed.log');
  writeFileSync(log, outcome.output);
  requireToolchain();
  throw new SetupError(
    `${what} the addon failed:\n\n${excerpt(outcome.output)}\n\nThe whole output is in ${log}.${killed(outcome)}`,
  );
}

/** @param {import('./run-command.mjs').Outcome} outcome */
function killed({ signal, output }) {
  const memory = signal === 'SIGKILL' || /Killed signal terminated program|virtual memory exhausted/.test(output);
  return memory ? '\nThe compiler was killed, most likely for want of memory: it needs about 2 GB a job.' : '';
}

/** The first errors of a compiler's or CMake's output, or its end. @param {string} output */
function excerpt(output) {
  const lines = output.split('\n');
  const first = lines.findIndex((line) => /\berror\b|CMake Error|undefined reference/i.test(line));
  return (first < 0 ? lines.slice(-30) : lines.slice(first, first + 30)).join('\n').trim();
}
