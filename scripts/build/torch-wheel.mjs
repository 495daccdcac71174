// @ts-check
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { pythonCommand } from './find-libtorch.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError, UnreachableError } from './setup-error.mjs';
import { parseVersionPy } from './torch-version.mjs';
import { ArchiveError, readZipTexts, unzip } from './unzip.mjs';
import { megabytes } from './progress.mjs';

/**
 * @typedef {object} WheelRequest
 * @property {string} version
 * @property {string} variant
 * @property {NodeJS.ProcessEnv} env
 * @property {string} platform
 * @property {import('./progress.mjs').Progress} progress
 */

/** What of the torch wheel a C++ program needs; torch.libs is where auditwheel puts libraries on arm64. */
const TORCH_PARTS = /^(torch\/(include|lib|share)\/|torch\/version\.py$|torch\.libs\/)/;
/** @type {{ linux: string, [platform: string]: string }} */
const PIP_FROM = {
  linux: 'Debian, Ubuntu: sudo apt-get install python3-pip; Fedora: sudo dnf install python3-pip',
  darwin: 'brew install python',
};
const INDEX = 'https://download.pytorch.org/whl';

/**
 * The ways to ask pip for the wheel, best first. On Linux PyPI's own torch is the CUDA build, so plain `torch==V` comes
 * last for cpu; and a Python that torch has no wheel for can still download another's, whose C++ part is the same.
 *
 * @param {WheelRequest} request
 * @param {string} arch
 * @returns {string[][]}
 */
export function pipAttempts({ version, variant, platform }, arch = process.arch) {
  const exact = `torch==${version}+${variant}`;
  const plain = `torch==${version}`;
  const index = ['--index-url', `${INDEX}/${variant}`];
  if (platform !== 'linux') return [[plain]];
  const other = [
    '--python-version',
    '3.12',
    '--implementation',
    'cp',
    '--abi',
    'cp312',
    '--platform',
    `manylinux_2_28_${arch === 'arm64' ? 'aarch64' : 'x86_64'}`,
  ];
  return [[exact], [exact, ...index], [plain], [exact, ...other, ...index]];
}

/**
 * Puts the torch wheel's C++ part into `folder` (torch/include, torch/lib, torch/share, torch/version.py), and for a
 * CUDA variant the nvidia/ libraries beside it, each file checked against its wheel's RECORD.
 *
 * @param {string} folder
 * @param {string} downloads where the wheels may lie meanwhile
 * @param {WheelRequest} request
 * @param {(wheel: string) => Promise<void>} check of the torch wheel, before it is opened
 */
export async function unpackTorchWheel(folder, downloads, request, check) {
  const python = await requirePip(request);
  mkdirSync(downloads, { recursive: true });
  try {
    const wheel = await downloadTorch(python, downloads, request);
    await check(wheel);
    const metadata = await unpackWheel(wheel, folder, TORCH_PARTS, request);
    if (request.variant === 'cpu' || request.platform !== 'linux') return;
    await downloadCudaLibraries(python, downloads, metadata, request);
    for (const other of wheels(downloads).filter((file) => /^nvidia/.test(path.basename(file)))) {
      await unpackWheel(other, folder, /^nvidia\//, request);
    }
  } finally {
    rmSync(downloads, { recursive: true, force: true });
  }
}

/** @param {WheelRequest} request */
async function requirePip({ env, version, platform }) {
  const python = pythonCommand(env);
  const hint =
    `Install Python 3 with pip (${PIP_FROM[platform] ?? PIP_FROM.linux}), ` +
    `or unpack libtorch ${version} yourself and point LIBTORCH at it.`;
  if (python === undefined) {
    throw new UnreachableError(`the torch wheel needs Python 3 and pip, and there is no python3 on the PATH.\n${hint}`);
  }
  const { status } = await runCommand(python, ['-m', 'pip', '--version'], { env });
  if (status !== 0) throw new UnreachableError(`the torch wheel needs pip, and ${python} has none.\n${hint}`);
  return python;
}

/** @param {string} folder */
const wheels = (folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.whl'))
    .sort()
    .map((name) => path.join(folder, name));

/** pip prints its progress bar to terminals only, so its lines are what there is. @param {WheelRequest} request */
const pipLine =
  ({ progress }) =>
  (/** @type {string} */ line) => {
    if (/^(Collecting|\s*Downloading|Processing|\s*Using)/.test(line)) progress.update(`  pip: ${line.trim()}`);
  };

/**
 * @param {string} python
 * @param {string} downloads
 * @param {WheelRequest} request
 */
async function downloadTorch(python, downloads, request) {
  const failures = [];
  for (const attempt of pipAttempts(request)) {
    const args = [
      '-m',
      'pip',
      'download',
      '--no-deps',
      '--only-binary=:all:',
      '--progress-bar',
      'off',
      '-d',
      downloads,
    ];
    request.progress.update(`  pip download ${attempt.join(' ')}`);
    const { status, output } = await runCommand(python, [...args, ...attempt], {
      env: request.env,
      onLine: pipLine(request),
    });
    request.progress.done();
    const [wheel] = wheels(downloads);
    if (status === 0 && wheel !== undefined) {
      const problem = await wrongBuild(wheel, request);
      if (problem === undefined) return wheel;
      failures.push(`${attempt.join(' ')}: ${problem}`);
      rmSync(wheel);
      continue;
    }
    failures.push(`${attempt.join(' ')}: ${pipComplaint(output)}`);
  }
  throw new UnreachableError(
    `pip can't download torch ${request.version} (${request.variant}):\n  ${failures.join('\n  ')}`,
  );
}

/**
 * pip's own error in one line, or its last one.
 *
 * @param {string} output
 */
function pipComplaint(output) {
  return /^ERROR: (.*)/m.exec(output)?.[1] ?? output.trim().split('\n').pop() ?? '';
}

/**
 * Why a wheel is not the build that was asked for.
 *
 * @param {string} wheel
 * @param {WheelRequest} request
 */
async function wrongBuild(wheel, { version, variant }) {
  const text = (await readZipTexts(wheel, (name) => name === 'torch/version.py')).get('torch/version.py');
  const read = text === undefined ? undefined : parseVersionPy(text);
  if (read === undefined) return 'the wheel has no readable torch/version.py';
  if (read.version === version && read.variant === variant) return undefined;
  return `the wheel is torch ${read.version} (${read.variant})`;
}

/**
 * @param {string} wheel
 * @param {string} folder
 * @param {RegExp} parts
 * @param {WheelRequest} request
 * @returns {Promise<string>} its METADATA
 */
async function unpackWheel(wheel, folder, parts, { progress }) {
  const texts = await readZipTexts(wheel, (name) => /^[^/]+\.dist-info\/(RECORD|METADATA)$/.test(name));
  const text = (/** @type {string} */ name) => [...texts].find(([key]) => key.endsWith(`/${name}`))?.[1];
  const record = parseRecord(text('RECORD') ?? '');
  const name = path.basename(wheel);
  const files = await unzip(wheel, folder, {
    wanted: (entry) => parts.test(entry),
    expectedSha256: (entry) => {
      const sha = record.get(entry);
      if (sha === undefined) throw new Error(`RECORD has no sha256 of ${entry}`);
      return sha;
    },
    onBytes: (bytes) => progress.update(`  unpacking ${name}: ${megabytes(bytes)}`),
  });
  progress.done();
  if (files === 0) throw new ArchiveError(`${name} holds nothing of ${parts.source}`);
  return text('METADATA') ?? '';
}

/** A wheel's RECORD: path → sha256 in base64url. @param {string} text */
export function parseRecord(text) {
  /** @type {Map<string, string>} */
  const record = new Map();
  for (const line of text.split(/\r?\n/)) {
    const match = /^(?:"((?:[^"]|"")*)"|([^,"]*)),sha256=([\w-]+),\d*$/.exec(line);
    if (match?.[3] !== undefined) record.set(match[1]?.replaceAll('""', '"') ?? match[2] ?? '', match[3]);
  }
  return record;
}

/**
 * The requirements of the torch wheel that bring CUDA's libraries; markers stay, pip evaluates them.
 *
 * @param {string} metadata
 */
export function cudaRequirements(metadata) {
  return [...metadata.matchAll(/^Requires-Dist: ((?:nvidia-|cuda-toolkit)[^\n]*)$/gm)]
    .map((match) => (match[1] ?? '').trim())
    .filter((requirement) => !/;.*\bextra\b/.test(requirement));
}

/**
 * @param {string} python
 * @param {string} downloads
 * @param {string} metadata
 * @param {WheelRequest} request
 */
async function downloadCudaLibraries(python, downloads, metadata, request) {
  const requirements = cudaRequirements(metadata);
  if (requirements.length === 0) throw new SetupError('the torch wheel names no nvidia packages; is it a CUDA build?');
  request.progress.step(`  the CUDA libraries: ${requirements.length} requirements, about 4 GB`);
  const args = [
    '-m',
    'pip',
    'download',
    '--only-binary=:all:',
    '--progress-bar',
    'off',
    '-d',
    downloads,
    '--extra-index-url',
    `${INDEX}/${request.variant}`,
    ...requirements,
  ];
  const { status, output } = await runCommand(python, args, { env: request.env, onLine: pipLine(request) });
  request.progress.done();
  if (status !== 0) {
    throw new UnreachableError(`pip can't download the CUDA libraries: ${pipComplaint(output)}`);
  }
}
