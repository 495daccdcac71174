// @ts-check
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildAddon, requireWritable } from './build-addon.mjs';
import { chooseCached, fetchLibtorch } from './fetch-libtorch.mjs';
import { findLibtorch } from './find-libtorch.mjs';
import { requirePlatform, requireToolchain } from './ground.mjs';
import { createProgress } from './progress.mjs';
import { SetupError, runMain } from './setup-error.mjs';
import { DEFAULT_VERSION, parseVariant, parseVersion } from './torch-version.mjs';

/**
 * @typedef {object} SetupOptions
 * @property {string} [version] --torch: only this libtorch will do
 * @property {string} [variant] --variant: only this one will do
 * @property {boolean} [fetch] whether to fetch libtorch when none is found, default true
 * @property {boolean} [tests] build the native tests too
 * @property {import('./progress.mjs').Progress} [progress]
 */

/**
 * @typedef {object} SetupResult
 * @property {import('./find-libtorch.mjs').Libtorch} libtorch
 * @property {string} addon the compiled addon's file
 * @property {boolean} built whether anything had to be compiled
 * @property {number} seconds
 */

/**
 * What is asked for, as it is meant.
 *
 * @param {SetupOptions} options
 * @throws {SetupError} for a version or variant that there is none of
 */
export function checkSetup(options) {
  return {
    ...(options.version === undefined ? {} : { version: parseVersion(options.version) }),
    ...(options.variant === undefined ? {} : { variant: parseVariant(options.variant) }),
  };
}

/**
 * Finds or fetches libtorch and builds the addon against it. Done again, it does nothing twice.
 *
 * @param {SetupOptions} [options]
 * @returns {Promise<SetupResult>}
 * @throws {SetupError} one message saying what to install or run
 */
export async function setup(options = {}) {
  const { fetch = true, tests = false, progress = createProgress() } = options;
  const asked = checkSetup(options);
  requirePlatform();
  // Before anything large is fetched: without a compiler, or a place for the addon, it would be for nothing.
  requireToolchain();
  requireWritable();
  const { found, passedOver } = findLibtorch(asked);
  for (const other of passedOver) progress.step(`Passing over ${other}`);
  const libtorch =
    found ?? (await fetchMissing({ version: DEFAULT_VERSION, variant: 'cpu', ...asked }, fetch, progress));
  if (Object.keys(asked).length > 0 || found === undefined) chooseCached(libtorch);
  const { file, built, seconds } = await buildAddon({ libtorch, progress, tests });
  return { libtorch, addon: file, built, seconds };
}

/**
 * @param {{ version: string, variant: string }} wanted
 * @param {boolean} fetch
 * @param {import('./progress.mjs').Progress} progress
 */
async function fetchMissing(wanted, fetch, progress) {
  if (!fetch) {
    throw new SetupError(
      `no libtorch ${wanted.version} (${wanted.variant}) found; run npx node-diffusers setup, which fetches it, ` +
        'or point LIBTORCH at one.',
    );
  }
  return fetchLibtorch({ ...wanted, progress });
}

/** One line that says where things are. @param {SetupResult} result */
export function describeSetup({ libtorch, addon, built, seconds }) {
  const work = built ? `built in ${seconds.toFixed(0)} s` : 'up to date';
  return `torch ${libtorch.version} (${libtorch.variant}) in ${libtorch.root}, addon ${work}: ${addon}`;
}

// binding.gyp's action and a hand: node scripts/build/setup.mjs [--no-fetch] [--tests]
if (import.meta.url === pathToFileURL(path.resolve(process.argv[1] ?? '')).href) {
  await runMain(async () => {
    const result = await setup({
      fetch: !process.argv.includes('--no-fetch'),
      tests: process.argv.includes('--tests'),
    });
    process.stdout.write(`${describeSetup(result)}\n`);
  });
}
