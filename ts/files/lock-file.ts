import { stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { ArgumentError } from '../errors';
import { writeError } from './atomic-write';

/** A lock whose holder has not shown up for so long is taken over: what was killed can't give it back. */
const STALE_MS = 5000;
const HEARTBEAT_MS = 1000;
const RETRY_MS = 250;

let loaded: typeof import('proper-lockfile') | undefined;

/** Loaded on first use: from then on it listens for every signal that ends a process, to give its locks back. */
function loadLockfile(): typeof import('proper-lockfile') {
  if (loaded !== undefined) return loaded;
  loaded = require('proper-lockfile') as typeof import('proper-lockfile');
  // Node ignores this one, so that a write beyond the limit of a file's size fails with EFBIG; whoever listens for it alone
  // ends the process.
  if (constants.signals.SIGXFSZ !== undefined) process.on('SIGXFSZ', () => undefined);
  return loaded;
}

/**
 * Locks `file` (which need not exist) against other processes by a folder beside it. A lock that is held is waited for
 * until its holder shows a sign of life, a second or so, or has been dead for five.
 *
 * @param onLost called if another process took the lock over, as after a long sleep of this one
 * @returns what gives the lock back
 * @throws ArgumentError if another run holds it, or where it can't be made.
 */
export async function lockFile(file: string, onLost: () => void): Promise<() => Promise<void>> {
  const { lock } = loadLockfile();
  let seen: number | undefined;
  for (;;) {
    try {
      const release = await lock(file, { realpath: false, stale: STALE_MS, update: HEARTBEAT_MS, onCompromised: onLost });
      return () => release().catch(() => undefined); // one that was lost is not ours to give back
    } catch (error) {
      if ((error as { code?: string }).code !== 'ELOCKED') throw writeError(`${file}.lock`, error);
      const beat = (await stat(`${file}.lock`).catch(() => undefined))?.mtimeMs;
      if (seen !== undefined && beat !== undefined && beat !== seen) {
        throw new ArgumentError(`${file} is in use by another run`, { cause: error });
      }
      seen = beat;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
