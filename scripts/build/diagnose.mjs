// @ts-check
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { cgroupCpuLimit } from './cpu-limit.mjs';
import { findLibtorch, pythonCommand } from './find-libtorch.mjs';
import { checkCMake, checkCompiler, checkGenerator, checkNode, checkPlatform, thisGround } from './ground.mjs';
import { addonFile, buildInfoFile, packageRoot, setupCommand } from './paths.mjs';
import { probeAddon } from './probe-addon.mjs';

/**
 * @typedef {'ok' | 'warning' | 'missing'} Status
 * @typedef {{ name: string, status: Status, detail: string, hint?: string }} Finding
 * @typedef {{ cores: number, cgroupLimit: number?, ompNumThreads: string?, intraOp: number? }} Threads
 */

/**
 * What `doctor --json` prints; keys are added, never renamed.
 *
 * @typedef {object} Diagnosis
 * @property {boolean} ok nothing is missing
 * @property {string} version of this package
 * @property {string} folder of this package
 * @property {Finding[]} findings
 * @property {import('./find-libtorch.mjs').Libtorch | null} libtorch
 * @property {Record<string, unknown> | null} build what the build wrote down
 * @property {import('./probe-addon.mjs').Probe} addon
 * @property {Threads} threads
 */

/**
 * @param {import('./ground.mjs').Check} check
 * @param {Status} [otherwise]
 * @returns {Finding}
 */
function finding({ name, ok, detail, hint }, otherwise = 'missing') {
  return { name, status: ok ? 'ok' : otherwise, detail, ...(ok || hint === undefined ? {} : { hint }) };
}

/** @returns {{ libtorch: Diagnosis['libtorch'], finding: Finding }} */
function libtorchFinding() {
  const name = 'libtorch';
  try {
    const { found, passedOver } = findLibtorch();
    if (found !== undefined) {
      const detail = `torch ${found.version} (${found.variant}) in ${found.root}`;
      return { libtorch: found, finding: { name, status: 'ok', detail } };
    }
    const detail = ['none found', ...passedOver.map((other) => `${other} does not fit`)].join('; ');
    return { libtorch: null, finding: { name, status: 'missing', detail, hint: `${setupCommand} fetches it` } };
  } catch (error) {
    const [detail = '', ...hint] = /** @type {Error} */ (error).message.split('\n');
    return { libtorch: null, finding: { name, status: 'missing', detail, hint: hint.join(' ') } };
  }
}

/** @returns {Record<string, unknown> | null} */
function readBuild() {
  try {
    return JSON.parse(readFileSync(buildInfoFile, 'utf8'));
  } catch {
    return null;
  }
}

/**
 * @param {import('./probe-addon.mjs').Probe} probe
 * @returns {Finding}
 */
function addonFinding(probe) {
  const name = 'addon';
  const hint = `${setupCommand} builds it`;
  if (!existsSync(addonFile)) return { name, status: 'missing', detail: `not built (${addonFile})`, hint };
  if (!probe.loads) return { name, status: 'missing', detail: probe.problem ?? 'does not load', hint };
  return { name, status: 'ok', detail: `loads, with torch ${probe.runtime?.torchVersion}` };
}

/**
 * Whether what was built and what is found fit together.
 *
 * @param {Diagnosis['build']} build
 * @param {Diagnosis['libtorch']} libtorch
 * @param {import('./probe-addon.mjs').Probe} probe
 * @returns {Finding[]}
 */
function abiFindings(build, libtorch, probe) {
  if (build === null) return [];
  const name = 'ABI';
  const detail =
    `Node-API ${build.napiVersion}, C++11 strings ${build.cxxAbi === 1 ? 'yes' : 'no'}, ` +
    `${build.compiler ?? 'unknown compiler'}, built against torch ${build.torchVersion} (${build.variant})`;
  const runs = probe.runtime?.torchVersion.split('+')[0];
  const built = String(build.torchVersion).split('+')[0];
  const minor = (/** @type {string | undefined} */ version) => version?.split('.').slice(0, 2).join('.');
  if (runs !== undefined && minor(runs) !== minor(built)) {
    const hint = `an addon is tied to one minor of torch: ${setupCommand}`;
    return [{ name, status: 'missing', detail: `built against torch ${built}, runs on ${runs}`, hint }];
  }
  if (libtorch !== null && libtorch.root !== build.libtorchRoot) {
    const hint = `the next setup builds it against ${libtorch.root}`;
    return [{ name, status: 'warning', detail: `${detail} in ${build.libtorchRoot}`, hint }];
  }
  return [{ name, status: 'ok', detail }];
}

/**
 * @param {Diagnosis['build']} build
 * @param {import('./probe-addon.mjs').Probe} probe
 * @returns {Finding[]}
 */
function cudaFindings(build, { runtime }) {
  if (runtime === undefined || build === null) return [];
  const name = 'CUDA';
  if (build.variant === 'cpu') return [{ name, status: 'ok', detail: 'not part of this libtorch (cpu)' }];
  if (!runtime.cudaLinked) {
    const hint = `the linker dropped it: ${setupCommand}`;
    return [{ name, status: 'missing', detail: `libtorch is ${build.variant}, but libtorch_cuda is not loaded`, hint }];
  }
  if (runtime.cudaDevices === 0) {
    return [
      { name, status: 'warning', detail: 'linked, but no device is seen', hint: 'check the driver with nvidia-smi' },
    ];
  }
  const detail = `linked, ${runtime.cudaDevices} device(s) seen`;
  if (build.cudaKernels !== true) {
    const hint = `with nvcc of the same CUDA, ${setupCommand} builds them`;
    return [{ name, status: 'warning', detail: `${detail}; without this package's kernels`, hint }];
  }
  return [{ name, status: 'ok', detail }];
}

/**
 * @param {import('./probe-addon.mjs').Probe} probe
 * @returns {{ threads: Diagnosis['threads'], findings: Finding[] }}
 */
function threadFindings(probe) {
  const cores = os.availableParallelism();
  const cgroupLimit = cgroupCpuLimit() ?? null;
  const ompNumThreads = process.env.OMP_NUM_THREADS ?? null;
  const intraOp = probe.threads?.intraOp ?? null;
  const parts = [`${cores} cores`, cgroupLimit === null ? 'no cgroup limit' : `cgroup limit ${cgroupLimit}`];
  if (ompNumThreads !== null) parts.push(`OMP_NUM_THREADS=${ompNumThreads}`);
  if (intraOp !== null) parts.push(`${intraOp} in an operator`);
  const findings = [/** @type {Finding} */ ({ name: 'threads', status: 'ok', detail: parts.join(', ') })];
  const openmp = probe.openmp ?? [];
  if (openmp.length > 1) {
    findings.push({
      name: 'OpenMP',
      status: 'warning',
      detail: `${openmp.length} runtimes in one process: ${openmp.join(', ')}`,
      hint: 'their threads compete: set OMP_NUM_THREADS, and build against the libgomp that libtorch brings',
    });
  } else if (openmp[0] !== undefined) {
    findings.push({ name: 'OpenMP', status: 'ok', detail: openmp[0] });
  }
  return { threads: { cores, cgroupLimit, ompNumThreads, intraOp }, findings };
}

/** @returns {Finding} */
function pythonFinding() {
  const python = pythonCommand(process.env);
  if (python === undefined) {
    return {
      name: 'Python',
      status: 'warning',
      detail: 'none found',
      hint: 'needed only to take libtorch from pip and to export TorchScript',
    };
  }
  const version = execFileSync(python, ['--version'], { encoding: 'utf8' }).trim();
  return { name: 'Python', status: 'ok', detail: `${version} (${python})` };
}

/** Looks at everything the package stands on; changes nothing. @returns {Diagnosis} */
export function diagnose() {
  const ground = thisGround();
  const { version } = JSON.parse(readFileSync(path.join(packageRoot, 'package.json'), 'utf8'));
  /** @type {import('./probe-addon.mjs').Probe} */
  const addon = existsSync(addonFile) ? probeAddon(addonFile) : { loads: false, problem: 'not built' };
  const build = readBuild();
  const { libtorch, finding: libtorchIs } = libtorchFinding();
  const { threads, findings: threadsAre } = threadFindings(addon);
  // Who has a working addon needs no compiler until the next setup.
  const tools = addon.loads ? 'warning' : 'missing';
  const findings = [
    finding(checkNode(ground)),
    finding(checkPlatform(ground)),
    finding(checkCompiler(ground), tools),
    finding(checkCMake(ground), tools),
    finding(checkGenerator(ground), tools),
    libtorchIs,
    addonFinding(addon),
    ...abiFindings(build, libtorch, addon),
    ...cudaFindings(build, addon),
    ...threadsAre,
    pythonFinding(),
  ];
  const ok = findings.every(({ status }) => status !== 'missing');
  return { ok, version, folder: packageRoot, findings, libtorch, build, addon, threads };
}

const MARKS = Object.freeze({ ok: '✓', warning: '!', missing: '✗' });

/** The diagnosis for a person: a mark per line, a hint under what fails. @param {Diagnosis} diagnosis */
export function renderDiagnosis({ findings, version, folder, ok }) {
  const lines = [`node-diffusers ${version} in ${folder}`];
  for (const { name, status, detail, hint } of findings) {
    lines.push(`${MARKS[status]} ${name.padEnd(14)} ${detail}`);
    if (hint !== undefined) lines.push(`    ${hint}`);
  }
  lines.push(ok ? 'All set.' : 'Something is missing; see the lines marked ✗.');
  return `${lines.join('\n')}\n`;
}
