import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ArgumentError, DiffusersError } from '../errors';

/** How {@link writeFileAtomic} writes. */
export interface AtomicWriteOptions {
  /** Where the new file lies until it is whole, on the same file system. Default: beside the file. */
  temporaryFolder?: string;
  /** Whether its bytes are on the disk, not only with the system, before it takes the name. Default false. */
  sync?: boolean;
}

/**
 * Writes a file whole or not at all: into a new file, which then takes its name. Missing folders are made.
 *
 * @throws ArgumentError with the path and the reason where it can't be written; no part of it is left then.
 */
export async function writeFileAtomic(
  file: string,
  data: Uint8Array | string,
  { temporaryFolder = dirname(file), sync = false }: AtomicWriteOptions = {},
): Promise<void> {
  const temporary = join(temporaryFolder, `.${basename(file)}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
  try {
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(data);
      if (sync) await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw writeError(file, error);
  }
}

/** The error of a file that can't be written, with the path and the system's reason. */
export function writeError(file: string, cause: unknown): DiffusersError {
  if (cause instanceof DiffusersError) return cause;
  return new ArgumentError(`can't write ${file}: ${fileProblem(cause)}`, { cause });
}

const PROBLEMS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file would be larger than the limit',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is a file',
  EEXIST: 'a part of its path is a file',
  ENAMETOOLONG: 'the name is too long',
  ENOENT: 'no such file or folder',
  EMFILE: 'too many open files',
};

/** What a file system error says, in words. */
export function fileProblem(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return (
    (typeof code === 'string' ? PROBLEMS[code] : undefined) ?? (typeof message === 'string' ? message : String(error))
  );
}
