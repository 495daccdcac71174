import { showValue } from '../arguments';
import { ArgumentError } from '../errors';
import { addon } from './addon';

/** Far more than the cores of any machine: a bound on what a typing error may start. */
const MAX_THREADS = 1024;

/**
 * How many CPU threads the forwards, steps and loads that run at once use together, in all Node environments (workers)
 * of the process; what starts alone gets them all, what starts among others its part. Operators that run on the
 * caller's own thread use as many. Default: {@link getNumThreads}'s at the start, the CPUs this process may use (its
 * affinity mask and its cgroup's quota). What runs already keeps its threads.
 *
 * @param n an integer in 1 … 1024.
 * @throws ArgumentError
 * @example
 * setNumThreads(2); // leaves the other cores to the rest of the program
 */
export function setNumThreads(n: number): void {
  if (!Number.isInteger(n) || n < 1 || n > MAX_THREADS) {
    throw new ArgumentError(`setNumThreads: n must be an integer in 1 … ${MAX_THREADS}, got ${showValue(n)}`);
  }
  addon().setThreads(n);
}

/** What {@link setNumThreads} set, else the CPUs that this process may use. */
export function getNumThreads(): number {
  return addon().threads().limit;
}
