import { open, stat } from 'node:fs/promises';
import { isPlainObject } from '../arguments';
import { CheckpointError, NotFoundError } from '../errors';
import { fileProblem, writeFileAtomic } from '../files/atomic-write';
import { MAX_CONFIG_DEPTH } from './frozen-copy';

/** The largest JSON file that is read: 16 MiB holds a million trained betas, and keeps a hostile file from memory. */
export const MAX_JSON_BYTES = 16 * 1024 * 1024;

/**
 * Reads a JSON file that holds an object, such as `scheduler_config.json`.
 *
 * @throws NotFoundError if there is no such file.
 * @throws CheckpointError with the path and the reason if it is too large, not UTF-8, no JSON, no object or too deep.
 */
export async function readJsonFile(file: string): Promise<Record<string, unknown>> {
  const bytes = await readBounded(file);
  const value = parse(file, bytes);
  if (!isPlainObject(value)) throw new CheckpointError(`${file} must hold a JSON object`);
  if (isDeeperThan(value, MAX_CONFIG_DEPTH)) {
    throw new CheckpointError(`${file} must nest at most ${MAX_CONFIG_DEPTH} deep`);
  }
  return value;
}

/**
 * Writes `value` as diffusers writes a config: keys sorted, two spaces, a newline at the end; whole or not at all.
 *
 * @throws ArgumentError if the file can't be written.
 */
export async function writeJsonFile(file: string, value: unknown): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(sortKeys(value), null, 2)}\n`);
}

async function readBounded(file: string): Promise<Uint8Array> {
  try {
    // Before opening: opening a named pipe would wait for its writer.
    if (!(await stat(file)).isFile()) throw new CheckpointError(`${file} must be a file`);
    const handle = await open(file);
    try {
      const { size } = await handle.stat();
      if (size > MAX_JSON_BYTES) {
        throw new CheckpointError(`${file} must be at most ${MAX_JSON_BYTES} bytes of JSON, got ${size}`);
      }
      const bytes = Buffer.alloc(size);
      let filled = 0;
      while (filled < size) {
        const { bytesRead } = await handle.read(bytes, filled, size - filled, filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return bytes.subarray(0, filled);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    const { code } = error as { code?: string };
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new NotFoundError(`${file} does not exist`, { cause: error });
    throw new CheckpointError(`can't read ${file}: ${fileProblem(error)}`, { cause: error });
  }
}

function parse(file: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : 'it is not UTF-8';
    throw new CheckpointError(`${file} is not valid JSON: ${reason}`, { cause: error });
  }
}

/** Level by level rather than by recursion: what it guards against would overflow the stack. */
function isDeeperThan(value: unknown, limit: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; depth <= limit; depth++) {
    const next: unknown[] = [];
    for (const item of level) {
      if (typeof item === 'object' && item !== null) for (const child of Object.values(item)) next.push(child);
    }
    if (next.length === 0) return false;
    level = next;
  }
  return true;
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (!isPlainObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortKeys(item)]));
}
