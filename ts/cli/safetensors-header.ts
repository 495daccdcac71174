import { open, stat, type FileHandle } from 'node:fs/promises';
import { isPlainObject } from '../arguments';
import { CheckpointError, DiffusersError } from '../errors';
import { fileProblem } from '../files/atomic-write';

/** What the header of a safetensors file says of the whole. */
export interface SafetensorsSummary {
  /** The file's size. */
  readonly bytes: number;
  readonly tensors: number;
  /** Elements of all tensors. */
  readonly parameters: number;
  readonly dtypes: readonly string[];
}

/** The format's own bound on a header. */
const MAX_HEADER_BYTES = 100_000_000;

/** The format's dtypes: the name used here, and bits an element. */
const DTYPES: Readonly<Record<string, readonly [string, number]>> = {
  F64: ['float64', 64],
  F32: ['float32', 32],
  F16: ['float16', 16],
  BF16: ['bfloat16', 16],
  F8_E4M3: ['float8_e4m3', 8],
  F8_E5M2: ['float8_e5m2', 8],
  I64: ['int64', 64],
  I32: ['int32', 32],
  I16: ['int16', 16],
  I8: ['int8', 8],
  U64: ['uint64', 64],
  U32: ['uint32', 32],
  U16: ['uint16', 16],
  U8: ['uint8', 8],
  BOOL: ['bool', 8],
};

/**
 * Reads the header of a safetensors file (eight bytes of length, then JSON) and none of its tensors.
 *
 * @throws CheckpointError with the path and the reason if it is truncated, damaged or not of the format.
 */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsSummary> {
  let handle: FileHandle | undefined;
  try {
    // A pipe would be waited for.
    if (!(await stat(path)).isFile()) throw new CheckpointError(`${path} is no file`);
    handle = await open(path);
    const { size } = await handle.stat();
    const prefix = await readExactly(path, handle, 0, 8, size);
    const length = Number(prefix.readBigUInt64LE());
    if (length > MAX_HEADER_BYTES || 8 + length > size) {
      throw new CheckpointError(`${path} is truncated or no safetensors file: a header of ${length} bytes in ${size}`);
    }
    const header = parseHeader(path, await readExactly(path, handle, 8, length, size));
    return { bytes: size, ...sumTensors(path, header, size - 8 - length) };
  } catch (error) {
    if (error instanceof DiffusersError) throw error;
    throw new CheckpointError(`can't read ${path}: ${fileProblem(error)}`, { cause: error });
  } finally {
    await handle?.close();
  }
}

async function readExactly(
  path: string,
  handle: FileHandle,
  from: number,
  length: number,
  size: number,
): Promise<Buffer> {
  if (from + length > size) throw new CheckpointError(`${path} is truncated: it has ${size} bytes`);
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, from);
  if (bytesRead < length) throw new CheckpointError(`${path} is truncated: it ended after ${from + bytesRead} bytes`);
  return buffer;
}

function parseHeader(path: string, bytes: Buffer): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CheckpointError(`${path} is no safetensors file: its header is not JSON`, { cause });
  }
  if (!isPlainObject(header)) throw new CheckpointError(`${path} is no safetensors file: its header is no JSON object`);
  return header;
}

function sumTensors(
  path: string,
  header: Record<string, unknown>,
  dataBytes: number,
): Omit<SafetensorsSummary, 'bytes'> {
  let [tensors, parameters] = [0, 0];
  const dtypes = new Set<string>();
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const bad = (what: string): CheckpointError =>
      new CheckpointError(`${path} is damaged: tensor ${JSON.stringify(name.slice(0, 100))} ${what}`);
    if (!isPlainObject(tensor)) throw bad('is no object');
    const { dtype, shape, data_offsets: offsets } = tensor;
    const known = typeof dtype === 'string' && Object.hasOwn(DTYPES, dtype) ? DTYPES[dtype] : undefined;
    if (known === undefined) throw bad(`has an unknown dtype ${JSON.stringify(dtype)?.slice(0, 40)}`);
    if (!isCounts(shape)) throw bad('has no proper shape');
    if (!isCounts(offsets) || offsets.length !== 2) throw bad('has no proper data_offsets');
    const elements = shape.reduce((product, side) => product * side, 1);
    const [begin, end] = offsets as [number, number];
    if (end > dataBytes || end - begin !== (elements * known[1]) / 8) throw bad('does not fit its data');
    tensors += 1;
    parameters += elements;
    dtypes.add(known[0]);
  }
  return { tensors, parameters, dtypes: [...dtypes].sort() };
}

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
