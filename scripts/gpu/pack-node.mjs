// @ts-check
// What scripts/gpu/check.sh needs of Node on a machine that has none: node scripts/gpu/pack-node.mjs [ARCHIVE=build/gpu-node.txz]
//
// This Node, the packages that the addon is built and runs with, and tsx. Some 40 MB; wants tar and xz.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../build/paths.mjs';

const modules = path.join(packageRoot, 'node_modules');

/** @param {string} folder @returns {{ dependencies?: Record<string, string>, optionalDependencies?: Record<string, string> }} */
const manifestOf = (folder) => JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));

/**
 * Where Node would find `name` for a package in `from`: the nearest node_modules above it.
 *
 * @param {string} name
 * @param {string} from
 */
function find(name, from) {
  for (let folder = from; folder.startsWith(packageRoot); folder = path.dirname(folder)) {
    const found = path.join(folder, 'node_modules', name);
    if (existsSync(path.join(found, 'package.json'))) return found;
  }
  return undefined;
}

/** The folders of `names` and of all that they depend on; of what is optional, that which is installed. */
function closure(/** @type {readonly string[]} */ names) {
  /** @type {Set<string>} */
  const folders = new Set();
  const visit = (/** @type {string} */ name, /** @type {string} */ from, /** @type {boolean} */ optional) => {
    const folder = find(name, from);
    if (folder === undefined) {
      if (optional) return;
      throw new Error(`${name} is not installed; run ONNXRUNTIME_NODE_INSTALL=skip npm ci`);
    }
    if (folders.has(folder)) return;
    folders.add(folder);
    const { dependencies = {}, optionalDependencies = {} } = manifestOf(folder);
    for (const need of Object.keys(dependencies)) visit(need, folder, need in optionalDependencies);
    for (const need of Object.keys(optionalDependencies)) visit(need, folder, true);
  };
  for (const name of names) visit(name, packageRoot, false);
  return [...folders].map((folder) => path.relative(packageRoot, folder)).sort();
}

const archive = path.resolve(process.argv[2] ?? path.join(packageRoot, 'build', 'gpu-node.txz'));
const folders = closure([...Object.keys(manifestOf(packageRoot).dependencies ?? {}), 'tsx']);
// A folder inside another one that is packed comes with it.
const outermost = folders.filter((folder) => !folders.some((other) => folder.startsWith(`${other}/`)));
mkdirSync(path.dirname(archive), { recursive: true });
const node = path.relative('/', process.execPath);
execFileSync(
  'tar',
  ['--create', '--file', archive, '--use-compress-program', 'xz -6 -T0', '--exclude', '*.map', '--exclude', '*.md',
    '--transform', `s,^${node}$,bin/node,`, '-C', packageRoot, ...outermost, '-C', '/', node],
  { stdio: 'inherit' },
);
process.stdout.write(`${archive}: ${(statSync(archive).size / 2 ** 20).toFixed(1)} MiB, ${folders.length} packages of ${modules}\n`);
