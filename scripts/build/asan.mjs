// @ts-check
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { ccacheEnvironment, answers } from './build-addon.mjs';
import { readCMakeCache } from './cmake-cache.mjs';
import { buildFolder, packageRoot } from './paths.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError } from './setup-error.mjs';

/** What of the addon's build the sanitized one has too: the same libtorch, by the same compiler. */
const SHARED = ['LIBTORCH_ROOT', 'LIBTORCH_INCLUDE', 'LIBTORCH_LIB', 'LIBTORCH_VERSION', 'CMAKE_CXX_COMPILER'];

/**
 * Builds the native tests and the fuzzers' replays, which ctest finds there, with AddressSanitizer.
 *
 * @returns {Promise<string | undefined>} the build folder, or nothing where the compiler has no AddressSanitizer that runs
 * @throws {SetupError} with the compiler's errors
 */
export async function buildWithAsan() {
  const addon = readCMakeCache(buildFolder);
  const compiler = addon.get('CMAKE_CXX_COMPILER') ?? 'c++';
  if (!hasAsan(compiler)) return undefined;
  const folder = path.join(buildFolder, 'asan');
  mkdirSync(folder, { recursive: true });
  const defines = {
    ...Object.fromEntries(SHARED.map((key) => [key, addon.get(key) ?? ''])),
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_CXX_FLAGS_RELEASE: '-O1',
    NODE_DIFFUSERS_SANITIZE: 'address',
    NODE_DIFFUSERS_TESTS: 'ON',
    ...(answers('ccache', ['--version']) ? { CMAKE_CXX_COMPILER_LAUNCHER: 'ccache' } : {}),
  };
  const generator = addon.get('CMAKE_GENERATOR');
  const configure = ['-S', packageRoot, '-B', folder, ...(generator === undefined ? [] : ['-G', generator])];
  await cmake([...configure, ...Object.entries(defines).map(([key, value]) => `-D${key}=${value}`)]);
  await cmake(['--build', folder, '--parallel', String(availableParallelism())]);
  return folder;
}

/** @param {string[]} args */
async function cmake(args) {
  const env = { ...process.env, ...ccacheEnvironment() };
  const { status, output } = await runCommand('cmake', args, { cwd: packageRoot, env });
  if (status !== 0) throw new SetupError(`${output}\ncmake ${args[0]} failed, building with AddressSanitizer.`);
}

/**
 * Whether a program built with AddressSanitizer starts: its runtime is a package of its own on some systems, and wants
 * addresses that some sandboxes deny.
 *
 * @param {string} compiler
 */
function hasAsan(compiler) {
  const folder = mkdtempSync(path.join(tmpdir(), 'node-diffusers-asan-'));
  try {
    const [source, program] = [path.join(folder, 'empty.cpp'), path.join(folder, 'empty')];
    writeFileSync(source, 'int main() {}\n');
    return answers(compiler, ['-fsanitize=address', source, '-o', program]) && answers(program, []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
