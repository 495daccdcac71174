// @ts-check
import { execFileSync, spawnSync } from 'node:child_process';
import { SetupError } from './setup-error.mjs';

/**
 * @typedef {object} Check
 * @property {string} name
 * @property {boolean} ok
 * @property {string} detail what was found, or what is wrong
 * @property {string} [hint] what to install or run
 */

/**
 * What the checks look at; a test passes its own.
 *
 * @typedef {object} Ground
 * @property {NodeJS.ProcessEnv} env
 * @property {string} platform
 * @property {string} arch
 * @property {string} nodeVersion e.g. 20.19.0
 * @property {() => string | undefined} glibc its version; undefined on musl
 */

export const MINIMUM_NODE = '20.19.0';
export const MINIMUM_CMAKE = '3.20.0';
const PLATFORMS = ['linux-x64', 'linux-arm64', 'darwin-arm64'];

/** @returns {Ground} */
export function thisGround() {
  return {
    env: process.env,
    platform: process.platform,
    arch: process.arch,
    nodeVersion: process.versions.node,
    glibc: glibcVersion,
  };
}

function glibcVersion() {
  const report = /** @type {{ excludeNetwork?: boolean, getReport(): unknown }} */ (process.report);
  // Without this the report looks up every open socket's name, which can take seconds.
  report.excludeNetwork = true;
  const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (report.getReport());
  return header.glibcVersionRuntime;
}

/**
 * Whether version `a` is `b` or later.
 *
 * @param {string} a
 * @param {string} b
 */
export function atLeast(a, b) {
  const [left, right] = [a, b].map((text) => text.split('.').map((part) => Number.parseInt(part, 10) || 0));
  for (let i = 0; i < 3; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/**
 * The package manager's command for a few packages.
 *
 * @param {string} platform
 * @param {string} apt
 * @param {string} brew
 */
function install(platform, apt, brew) {
  return platform === 'darwin'
    ? brew
    : `Debian and Ubuntu: sudo apt-get install ${apt}; Fedora: sudo dnf install ${apt.replace('g++', 'gcc-c++')}`;
}

/**
 * @param {Ground} ground
 * @returns {Check}
 */
export function checkNode({ nodeVersion }) {
  const ok = atLeast(nodeVersion, MINIMUM_NODE);
  return {
    name: 'Node.js',
    ok,
    detail: nodeVersion,
    ...(ok ? {} : { hint: `Node.js ${MINIMUM_NODE} or newer is needed: https://nodejs.org/en/download` }),
  };
}

/**
 * @param {Ground} ground
 * @returns {Check}
 */
export function checkPlatform({ platform, arch, glibc }) {
  const name = 'platform';
  if (!PLATFORMS.includes(`${platform}-${arch}`)) {
    return {
      name,
      ok: false,
      detail: `${platform} ${arch}`,
      hint: `PyTorch ships its libraries for ${PLATFORMS.join(', ')}; on Windows, WSL 2 is linux-x64`,
    };
  }
  if (platform !== 'linux') return { name, ok: true, detail: `${platform} ${arch}` };
  const version = glibc();
  if (version === undefined) {
    return {
      name,
      ok: false,
      detail: `${platform} ${arch} with musl libc`,
      hint: 'libtorch needs glibc and does not load under musl (Alpine): use a glibc image, e.g. node:20-bookworm',
    };
  }
  const ok = atLeast(version, '2.28');
  const detail = `${platform} ${arch}, glibc ${version}`;
  return ok
    ? { name, ok, detail }
    : { name, ok, detail, hint: 'libtorch needs glibc 2.28 or newer: use a newer distribution' };
}

/** Uses C++20 as the addon does: a compiler that takes the flag but lacks the library fails here, not mid-build. */
const PROBE = `#if defined(__clang__) && defined(__linux__)
#error its OpenMP is not the one that libtorch brings: GCC has that
#endif
#include <concepts>
#include <span>
#include <version>
template <std::integral T> constexpr T twice(T x) { return x + x; }
static_assert(twice(21) == 42);
#if __cplusplus < 202002L
#error not C++20
#endif
int main() { int a[] = {1}; return static_cast<int>(std::span<int>(a).size()) - 1; }
`;

/** The names CMake looks for, in its order. @param {NodeJS.ProcessEnv} env */
const compilers = (env) => (env.CXX ? [env.CXX] : ['c++', 'g++', 'clang++']);

/**
 * @param {Ground} ground
 * @returns {Check}
 */
export function checkCompiler({ env, platform }) {
  const name = 'C++20 compiler';
  const wanted = platform === 'darwin' ? 'Clang 14' : 'GCC 11';
  const hint =
    `Install ${wanted} or newer, or name one in CXX. ` + install(platform, 'g++', 'xcode-select --install');
  for (const command of compilers(env)) {
    const [program = command, ...flags] = command.split(/\s+/);
    const args = [...flags, '-std=c++20', '-fsyntax-only', '-x', 'c++', '-'];
    const probe = spawnSync(program, args, { env, input: PROBE, encoding: 'utf8' });
    // A compiler that gives up before it reads its input leaves EPIPE behind: it is there all the same.
    if (probe.error !== undefined && probe.status === null) continue;
    const version = spawnSync(program, ['--version'], { env, encoding: 'utf8' }).stdout?.split('\n')[0] ?? program;
    if (probe.status === 0) return { name, ok: true, detail: version };
    const complaint = /error:.*/.exec(probe.stderr)?.[0] ?? probe.stderr.trim().split('\n')[0] ?? '';
    return { name, ok: false, detail: `${version || program} will not do (${complaint})`, hint };
  }
  return { name, ok: false, detail: `none found (looked for ${compilers(env).join(', ')})`, hint };
}

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
function firstLine(command, args, env) {
  try {
    return (
      execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0] ?? ''
    );
  } catch {
    return undefined;
  }
}

/**
 * @param {Ground} ground
 * @returns {Check}
 */
export function checkCMake({ env, platform }) {
  const name = 'CMake';
  const from = install(platform, 'cmake', 'brew install cmake');
  const hint = `CMake ${MINIMUM_CMAKE} or newer is needed. ${from}; or pip install cmake`;
  const line = firstLine('cmake', ['--version'], env);
  if (line === undefined) return { name, ok: false, detail: 'not found', hint };
  const version = /(\d+\.\d+(\.\d+)?)/.exec(line)?.[1] ?? '0';
  return atLeast(version, MINIMUM_CMAKE)
    ? { name, ok: true, detail: version }
    : { name, ok: false, detail: `${version} is too old`, hint };
}

/**
 * What cmake-js picks: ninja if there, else make.
 *
 * @param {Ground} ground
 * @returns {Check}
 */
export function checkGenerator({ env, platform }) {
  const name = 'build tool';
  const ninja = firstLine('ninja', ['--version'], env);
  if (ninja !== undefined) return { name, ok: true, detail: `ninja ${ninja}` };
  const make = firstLine('make', ['--version'], env);
  if (make !== undefined) return { name, ok: true, detail: make };
  return {
    name,
    ok: false,
    detail: 'neither ninja nor make found',
    hint: install(platform, 'ninja-build', 'brew install ninja'),
  };
}

/** Node and the platform: what even fetching makes no sense without. @param {Ground} [ground] */
export function requirePlatform(ground = thisGround()) {
  requireAll([checkNode(ground), checkPlatform(ground)]);
}

/** What compiling the addon takes. @param {Ground} [ground] */
export function requireToolchain(ground = thisGround()) {
  requireAll([checkCompiler(ground), checkCMake(ground), checkGenerator(ground)]);
}

/**
 * @param {Check[]} checks
 * @throws {SetupError} one message with everything that is missing
 */
export function requireAll(checks) {
  const missing = checks.filter((check) => !check.ok);
  if (missing.length === 0) return;
  const lines = missing.map(({ name, detail, hint }) => `${name}: ${detail}\n    ${hint}`);
  throw new SetupError(`this machine can't build or run it yet:\n  ${lines.join('\n  ')}`);
}
