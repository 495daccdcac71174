// @ts-check
import { readFileSync } from 'node:fs';
import path from 'node:path';

/**
 * KEY:TYPE=VALUE lines of a CMakeCache.txt; empty if there is none.
 *
 * @param {string} buildFolder
 * @returns {Map<string, string>}
 */
export function readCMakeCache(buildFolder) {
  /** @type {Map<string, string>} */
  const entries = new Map();
  let text;
  try {
    text = readFileSync(path.join(buildFolder, 'CMakeCache.txt'), 'utf8');
  } catch {
    return entries;
  }
  for (const line of text.split('\n')) {
    const match = /^([^#/][^:]*):[^=]*=(.*)$/.exec(line);
    if (match?.[1] !== undefined) entries.set(match[1], match[2] ?? '');
  }
  return entries;
}

/**
 * The -DKEY=VALUE arguments of a configure command.
 *
 * @param {readonly string[]} command
 * @returns {Map<string, string>}
 */
export function definesOf(command) {
  /** @type {Map<string, string>} */
  const defines = new Map();
  for (const argument of command) {
    const match = /^-D([^:=]+)(?::[^=]*)?=([^]*)$/.exec(argument);
    if (match?.[1] !== undefined) defines.set(match[1], match[2] ?? '');
  }
  return defines;
}

/** Values that nothing compiled depends on: changing them keeps the objects. */
const HARMLESS = new Set([
  'NODE_DIFFUSERS_TESTS',
  'NODE_DIFFUSERS_BENCH',
  'NODE_RUNTIMEVERSION',
  'CMAKE_JS_VERSION',
  'CMAKE_MSVC_RUNTIME_LIBRARY',
]);

/**
 * Whether a build folder was configured as `command` would do it: 'same', 'reconfigure' (objects stay good) or 'fresh'
 * (another libtorch, source folder, generator or compiler: nothing of it may stay).
 *
 * @param {Map<string, string>} cache
 * @param {readonly string[]} command cmake, source folder, -G …, -D …
 * @returns {'same' | 'reconfigure' | 'fresh'}
 */
export function compareConfiguration(cache, command) {
  const generator = command[command.indexOf('-G') + 1];
  const compiler = process.env.CXX;
  if (cache.get('CMAKE_HOME_DIRECTORY') !== command[1]) return 'fresh';
  if (cache.get('CMAKE_GENERATOR') !== generator) return 'fresh';
  if (compiler && !(cache.get('CMAKE_CXX_COMPILER') ?? '').endsWith(path.basename(compiler.split(/\s+/)[0] ?? '')))
    return 'fresh';
  const changed = [...definesOf(command)].filter(([key, value]) => cache.get(key) !== value).map(([key]) => key);
  if (changed.length === 0) return 'same';
  return changed.every((key) => HARMLESS.has(key)) ? 'reconfigure' : 'fresh';
}
