import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { isPlainObject } from '../arguments';
import { readJsonFile } from '../config/json-file';
import { CheckpointError, throwIfAborted } from '../errors';
import { fileProblem } from '../files/atomic-write';
import { shardsOf } from './weight-files';

/** What tells a model's weights from others. */
export interface WeightsDigest {
  /** The name of the file that was opened; of a sharded model its index. */
  readonly file: string;
  /** SHA-256 in hexadecimal, of the file or of all shards behind one another in the order of their names. */
  readonly sha256: string;
}

/** Reads a UNet's file (`unet.file`) from beginning to end. @throws CheckpointError if it can't be read, AbortError. */
export async function digestWeights(file: string, signal?: AbortSignal): Promise<WeightsDigest> {
  const hash = createHash('sha256');
  for (const part of await partsOf(file)) {
    try {
      const stream = createReadStream(part, { highWaterMark: 1024 * 1024, ...(signal === undefined ? {} : { signal }) });
      for await (const chunk of stream) hash.update(chunk as Buffer);
    } catch (error) {
      throwIfAborted(signal);
      throw new CheckpointError(`can't read ${part}: ${fileProblem(error)}`, { cause: error });
    }
  }
  return { file: basename(file), sha256: hash.digest('hex') };
}

async function partsOf(file: string): Promise<readonly string[]> {
  if (!file.toLowerCase().endsWith('.json')) return [file];
  const map = (await readJsonFile(file))['weight_map'];
  if (!isPlainObject(map)) throw new CheckpointError(`${file} must have a weight_map from tensors to files`);
  return shardsOf(file, map);
}
