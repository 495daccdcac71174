import { stat } from 'node:fs/promises';
import { isPlainObject } from '../arguments';
import { CheckpointError, DiffusersError } from '../errors';
import { fileProblem } from '../files/atomic-write';

/** What the records of a TorchScript archive say of it. */
export interface TorchScriptSummary {
  /** The file's size. */
  readonly bytes: number;
  readonly tensors: number;
  /** Elements of all its weights; null where no dtype is stated. */
  readonly parameters: number | null;
  /** The weights' dtype, where scripts/export_torchscript.py has written it down. */
  readonly dtype: string | null;
  /** The UNet's config, where the export has put it in. */
  readonly config: Record<string, unknown> | null;
}

const BYTES_OF_DTYPE: Readonly<Record<string, number>> = { float64: 8, float32: 4, float16: 2, bfloat16: 2 };

const MAX_RECORDS = 1_000_000;
const MAX_JSON_BYTES = 1024 * 1024;

/**
 * Reads the list of records of a TorchScript archive (a zip file) and the two JSON ones of our export. The program in it
 * is neither read nor run.
 *
 * @throws CheckpointError with the path and the reason if it is no such archive or damaged.
 */
export async function readTorchScriptRecords(path: string): Promise<TorchScriptSummary> {
  try {
    return await readRecords(path);
  } catch (error) {
    if (error instanceof DiffusersError) throw error;
    const { code, message } = error as { code?: unknown; message?: unknown };
    const reason = typeof code === 'string' ? fileProblem(error) : String(message);
    throw new CheckpointError(`${path} is no TorchScript archive: ${reason}`, { cause: error });
  }
}

async function readRecords(path: string): Promise<TorchScriptSummary> {
  const { openPromise } = require('yauzl') as typeof import('yauzl');
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false });
  try {
    let [tensors, weightBytes, hasCode] = [0, 0, false];
    const json: Record<string, Record<string, unknown>> = {};
    if (zip.entryCount > MAX_RECORDS) throw new CheckpointError(`${path} must have at most ${MAX_RECORDS} records`);
    for await (const entry of zip.eachEntry()) {
      // Every record lies in a folder that is named after the file it was first saved as.
      const name = entry.fileName.slice(entry.fileName.indexOf('/') + 1);
      if (name.startsWith('code/')) hasCode = true;
      if (name.startsWith('data/')) [tensors, weightBytes] = [tensors + 1, weightBytes + entry.uncompressedSize];
      if (name === 'extra/config.json' || name === 'extra/metadata.json') {
        if (entry.uncompressedSize > MAX_JSON_BYTES)
          throw new CheckpointError(`${path}: ${name} must be at most 1 MiB`);
        json[name] = await readJsonRecord(path, name, await zip.openReadStreamPromise(entry));
      }
    }
    if (!hasCode) {
      throw new CheckpointError(`${path} holds no program: it is a torch.save file; export it with torch.jit.save`);
    }
    const stated = json['extra/metadata.json']?.['dtype'];
    const dtype = typeof stated === 'string' && Object.hasOwn(BYTES_OF_DTYPE, stated) ? stated : null;
    const { size } = await stat(path);
    return {
      bytes: size,
      tensors,
      parameters: dtype === null ? null : weightBytes / BYTES_OF_DTYPE[dtype]!,
      dtype,
      config: json['extra/config.json'] ?? null,
    };
  } finally {
    zip.close();
  }
}

async function readJsonRecord(
  path: string,
  name: string,
  stream: AsyncIterable<Uint8Array>,
): Promise<Record<string, unknown>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new CheckpointError(`${path}: ${name} is not valid JSON`, { cause });
  }
  if (!isPlainObject(value)) throw new CheckpointError(`${path}: ${name} must hold a JSON object`);
  return value;
}
