import { stat } from 'node:fs/promises';

/** Whether a folder stands at `path`; what can't be looked at is none. */
export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}
