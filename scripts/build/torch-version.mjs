// @ts-check
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './setup-error.mjs';

/** The torch fetched when none is asked for, and the minors the addon builds against. */
export const DEFAULT_VERSION = '2.13.0';
export const SUPPORTED_MINORS = Object.freeze(['2.11', '2.12', '2.13', '2.14']);
const SUPPORTED_RANGE = `${SUPPORTED_MINORS[0]} to ${SUPPORTED_MINORS[SUPPORTED_MINORS.length - 1]}`;

/**
 * @typedef {object} TorchVersion
 * @property {string} version e.g. 2.13.0, without the local part
 * @property {string} variant cpu, cu130, …
 */

/** Whether a version such as 2.13.0 is of a supported minor. @param {string} version */
export function isSupported(version) {
  return SUPPORTED_MINORS.some((minor) => version.startsWith(`${minor}.`));
}

/**
 * @param {string} version
 * @param {string} where
 * @throws {SetupError} naming the supported range
 */
export function requireSupported(version, where) {
  if (isSupported(version)) return;
  throw new SetupError(
    `${where} is torch ${version}, which node-diffusers does not support: it needs torch ${SUPPORTED_RANGE}.\n` +
      `Install a supported one (pip install torch==${DEFAULT_VERSION}), or point LIBTORCH at one, or unset ` +
      'the variable that names this one to have it found or fetched.',
  );
}

/** Checks what --torch was given. @param {string} version */
export function parseVersion(version) {
  if (!/^\d+\.\d+\.\d+$/.test(version)) {
    throw new SetupError(`--torch must be a version like ${DEFAULT_VERSION}, got '${version}'.`);
  }
  if (!isSupported(version)) {
    throw new SetupError(
      `--torch must be of torch ${SUPPORTED_RANGE}, got ${version}; the default is ${DEFAULT_VERSION}.`,
    );
  }
  return version;
}

/** Checks what --variant was given. @param {string} variant */
export function parseVariant(variant) {
  if (!/^(cpu|cu\d{3})$/.test(variant)) {
    throw new SetupError(`--variant must be cpu or a CUDA variant such as cu130, got '${variant}'.`);
  }
  return variant;
}

/** '13.0' → 'cu130', None → 'cpu'. @param {string | undefined} cuda */
const variantOfCuda = (cuda) => (cuda === undefined ? 'cpu' : `cu${cuda.replace('.', '')}`);

/**
 * What torch/version.py says; read as text, never run.
 *
 * @param {string} text
 * @returns {TorchVersion | undefined}
 */
export function parseVersionPy(text) {
  const full = /^__version__\s*(?::[^=]*)?=\s*['"]([^'"]+)['"]/m.exec(text)?.[1];
  if (full === undefined) return undefined;
  const cuda = /^cuda\s*(?::[^=]*)?=\s*['"]([\d.]+)['"]/m.exec(text)?.[1];
  const hip = /^hip\s*(?::[^=]*)?=\s*['"]/m.test(text);
  const [version = full, local] = full.split('+');
  return { version, variant: hip ? (local ?? 'rocm') : variantOfCuda(cuda) };
}

/** What the official zip's build-version file says, e.g. 2.13.0+cpu. @param {string} text */
export function parseBuildVersion(text) {
  const match = /^(\d+\.\d+\.\d+)(?:[^+\s]*)?(?:\+(\S+))?/.exec(text.trim());
  return match?.[1] === undefined ? undefined : { version: match[1], variant: match[2] ?? 'cpu' };
}

/** The three numbers of torch/headeronly/version.h. @param {string} text */
export function parseVersionHeader(text) {
  const numbers = ['MAJOR', 'MINOR', 'PATCH'].map(
    (name) => new RegExp(`^#define TORCH_VERSION_${name} (\\d+)`, 'm').exec(text)?.[1],
  );
  return numbers.includes(undefined) ? undefined : numbers.join('.');
}

/** @param {string} file */
function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * The version of the libtorch in `root`: its build-version file, else version.py, else the header that libtorch's own
 * sources read it from (a distribution's package has neither file).
 *
 * @param {string} root
 * @param {string} include
 * @param {boolean} hasCuda whether libtorch_cuda is there, where nothing else tells
 * @returns {TorchVersion | undefined}
 */
export function readTorchVersion(root, include, hasCuda) {
  const buildVersion = readIfThere(path.join(root, 'build-version'));
  const fromZip = buildVersion === undefined ? undefined : parseBuildVersion(buildVersion);
  if (fromZip !== undefined) return fromZip;
  const versionPy = readIfThere(path.join(root, 'version.py'));
  const fromPython = versionPy === undefined ? undefined : parseVersionPy(versionPy);
  if (fromPython !== undefined) return fromPython;
  for (const header of ['torch/headeronly/version.h', 'torch/csrc/api/include/torch/version.h']) {
    const text = readIfThere(path.join(include, header));
    const version = text === undefined ? undefined : parseVersionHeader(text);
    if (version !== undefined) return { version, variant: hasCuda ? 'cuda' : 'cpu' };
  }
  return undefined;
}
