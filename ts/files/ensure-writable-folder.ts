import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { writeError } from './atomic-write';

/** Makes the folder where it is missing. @throws ArgumentError if it can't be written to. */
export async function ensureWritableFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    throw writeError(folder, error);
  }
}
