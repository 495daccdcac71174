// @ts-check
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** @param {string} file */
function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** '150000 100000' → 1.5; 'max 100000' → undefined. @param {string | undefined} text */
export function parseCpuMax(text) {
  const [quota, period] = (text ?? '').split(/\s+/).map(Number);
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : undefined;
}

/**
 * How many CPUs' worth of time this process' cgroup grants, the tightest of it and its parents; undefined without a
 * limit. os.availableParallelism knows the affinity mask only.
 *
 * @param {string} [proc]
 * @param {string} [mount]
 * @returns {number | undefined}
 */
export function cgroupCpuLimit(proc = '/proc/self/cgroup', mount = '/sys/fs/cgroup') {
  const limits = [];
  const version2 = /^0::(.*)$/m.exec(readIfThere(proc) ?? '')?.[1];
  for (let folder = version2; folder !== undefined; folder = folder === '/' ? undefined : path.dirname(folder)) {
    limits.push(parseCpuMax(readIfThere(path.join(mount, folder, 'cpu.max'))));
  }
  const quota = readIfThere(path.join(mount, 'cpu/cpu.cfs_quota_us'));
  limits.push(parseCpuMax(`${quota} ${readIfThere(path.join(mount, 'cpu/cpu.cfs_period_us'))}`));
  const known = limits.filter((limit) => limit !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
