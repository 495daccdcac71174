// @ts-check
import { mkdirSync } from 'node:fs';
import path from 'node:path';

const STALE_MS = 30_000;
const RETRY_MS = 500;

/**
 * Runs `work` alone among the processes that lock the same folder and name; the others wait. A lock whose holder died
 * is taken over after half a minute.
 *
 * @template T
 * @param {string} folder made if missing
 * @param {string} name
 * @param {() => void} onWait called once if somebody else holds the lock
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(folder, name, onWait, work) {
  mkdirSync(folder, { recursive: true });
  const release = await acquire(path.join(folder, name), onWait);
  try {
    return await work();
  } finally {
    // The lock may have been taken over while this process slept; the work itself ends in an atomic rename either way.
    await release().catch(() => {});
  }
}

/**
 * @param {string} file
 * @param {() => void} onWait
 * @returns {Promise<() => Promise<void>>}
 */
async function acquire(file, onWait) {
  const { default: lockfile } = await import('proper-lockfile');
  for (let attempt = 0; ; attempt++) {
    try {
      return await lockfile.lock(file, { stale: STALE_MS, realpath: false, onCompromised: () => {} });
    } catch (error) {
      if (/** @type {{ code?: string }} */ (error).code !== 'ELOCKED') throw error;
      if (attempt === 0) onWait();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
