// @ts-check
import { spawnSync } from 'node:child_process';

/**
 * @typedef {object} Probe
 * @property {boolean} loads
 * @property {string} [problem]
 * @property {{ torchVersion: string, cudaLinked: boolean, cudaDevices: number, parallel: string }} [runtime]
 * @property {{ intraOp: number, available: number }} [threads]
 * @property {string[]} [openmp] the OpenMP runtimes mapped into the process
 */

const TIMEOUT_MS = 120_000;

/** Runs in the child: loads the addon, asks it what it is, and looks at what came along. */
const SCRIPT = `
const file = process.argv[1];
const addon = require(file);
addon.init({ makeError: (code, message) => Object.assign(new Error(message), { code }) });
let maps = '';
try { maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8'); } catch {}
const openmp = new Set(maps.match(/\\/\\S*lib(?:gomp|iomp5|omp)[-.\\w]*\\.so\\S*/g));
const probe = { runtime: addon.runtime(), threads: addon.threads(), openmp: [...openmp] };
process.stdout.write('\\n' + JSON.stringify(probe) + '\\n');
`;

/**
 * Loads an addon in a process of its own, so that a binary that crashes takes nobody down.
 *
 * @param {string} file
 * @returns {Probe}
 */
export function probeAddon(file) {
  const child = spawnSync(process.execPath, ['-e', SCRIPT, file], { encoding: 'utf8', timeout: TIMEOUT_MS });
  if (child.error !== undefined) return { loads: false, problem: `the probe did not end: ${child.error.message}` };
  if (child.signal !== null) return { loads: false, problem: `it crashes when it is loaded (${child.signal})` };
  if (child.status !== 0) return { loads: false, problem: errorLine(child.stderr) };
  try {
    return { loads: true, ...JSON.parse(child.stdout.trim().split('\n').pop() ?? '') };
  } catch {
    return { loads: false, problem: 'it loads, but does not say what it is; build it again' };
  }
}

/** The 'Error: …' line of a Node stack trace. @param {string} stderr */
function errorLine(stderr) {
  return /^(?:\w*Error): (.*)$/m.exec(stderr)?.[1] ?? stderr.trim().split('\n')[0] ?? 'no reason given';
}
