// @ts-check
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from './paths.mjs';

/** What ESLint does not see: C++, Python, documents. Each rule gives the problems of one file. */

/** Of the top folder; scripts/build and test/unit/build are sources. */
const SKIPPED = new Set(['node_modules', 'build', 'dist', '.git', 'coverage']);
/** Others' sources, kept as they came. */
const THIRD_PARTY = 'native/third_party/';
const MAX_LINES = 300;

/**
 * @typedef {(file: string, text: string) => string[]} Rule
 */

/** core knows nothing of Node; only the binding sees its headers. @type {Rule} */
const noNodeOutsideBinding = (file, text) => {
  if (!/^(native|test\/native)\//.test(file) || file.startsWith('native/binding/')) return [];
  return /#\s*include\s*[<"](napi|node_api|node|v8|uv)\b/.test(text)
    ? ['includes a Node header; only native/binding may']
    : [];
};

/** @type {Rule} */
const lengths = (file, text) => {
  if (!/^native\/.*\.(cpp|h|cu|cuh)$/.test(file)) return [];
  const lines = text.split('\n').length - 1;
  return lines > MAX_LINES ? [`has ${lines} lines, more than ${MAX_LINES}`] : [];
};

/** Folders of one person's machine have no place in a published file. @type {Rule} */
const machinePaths = (_file, text) => {
  const found = /(?<![\w.~$}/:*-])\/(?:work|root|opt|home|Users)\/[\w.][^\s'"`)]*/.exec(text);
  return found === null ? [] : [`carries a machine's path: ${found[0]}`];
};

/** The same where a length, which may be any character, stands before a string. @type {Rule} */
const machinePathsOfBinary = (_file, latin1) => {
  const found = /\/(?:work|root|opt|home|Users)\/[\w.][\w./-]{3,}/.exec(latin1);
  return found === null ? [] : [`carries a machine's path: ${found[0]}`];
};

/** TorchScript's debug records hold, compressed, where its sources lay. @type {Rule} */
const debugRecords = (_file, latin1) => (latin1.includes('.debug_pkl') ? ["holds TorchScript's debug records"] : []);

/** @type {Rule[]} */
const RULES = [noNodeOutsideBinding, lengths, machinePaths];
/** @type {Rule[]} */
const BINARY_RULES = [machinePathsOfBinary, debugRecords];

/**
 * @param {string} folder
 * @returns {string[]}
 */
function filesIn(folder, root = folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if ((folder === root && SKIPPED.has(entry.name)) || entry.name === '__pycache__') return [];
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) return filesIn(full, root);
    return entry.isFile() ? [full] : [];
  });
}

/**
 * The problems of every file of the repository, one line each.
 *
 * @param {string} [root]
 * @returns {string[]}
 */
export function checkSources(root = packageRoot) {
  return filesIn(root).flatMap((full) => {
    const bytes = readFileSync(full);
    const file = path.relative(root, full).split(path.sep).join('/');
    if (file.startsWith(THIRD_PARTY)) return [];
    const isBinary = bytes.subarray(0, 8192).includes(0);
    const text = bytes.toString(isBinary ? 'latin1' : 'utf8');
    return (isBinary ? BINARY_RULES : RULES).flatMap((rule) => rule(file, text)).map((problem) => `${file}: ${problem}`);
  });
}
