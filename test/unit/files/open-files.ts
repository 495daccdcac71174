import { readdirSync, readlinkSync, realpathSync } from 'node:fs';

/** How often this process holds a file open, by `/proc`: on Linux only. A handle that is forgotten is closed much later, if at all. */
export function timesOpen(file: string): number {
  const path = realpathSync(file);
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // the listing's own
    }
  }).length;
}
