import { ArgumentError, ShapeError } from '../errors';
import { showValue } from '../arguments';
import type { DType } from '../native/addon-types';

/** Numbers, booleans or bigints, nested to a box; numbers become float32, booleans bool, bigints int64. */
export type NestedNumbers = number | boolean | bigint | readonly NestedNumbers[];

type Entry = number | bigint | boolean;

/** libtorch's own bound on dimensions, and the end of a cycle. */
const MAX_DEPTH = 64;

/** What still fits V8's lists while they grow; more belongs into a typed array. */
const MAX_ENTRIES = 2 ** 26;

/** The shape of a nested array by its first entries; {@link flatten} finds out whether the rest agree. */
function boxOf(value: NestedNumbers): number[] {
  const shape: number[] = [];
  let inner: NestedNumbers | undefined = value;
  while (Array.isArray(inner)) {
    if (shape.length === MAX_DEPTH) throw new ShapeError(`data must nest at most ${MAX_DEPTH} deep; is there a cycle?`);
    shape.push(inner.length);
    inner = (inner as readonly NestedNumbers[])[0];
  }
  const numel = shape.reduce((product, size) => product * size, 1);
  if (numel > MAX_ENTRIES) {
    throw new ShapeError(`data of more than ${MAX_ENTRIES} entries must be a typed array, got nested arrays of ${numel}`);
  }
  return shape;
}

function flatten(value: NestedNumbers, shape: readonly number[], depth: number, out: Entry[]): void {
  if (depth === shape.length) {
    if (Array.isArray(value)) throw new ShapeError(`data must be a box: an array stands at depth ${depth} among numbers`);
    out.push(value as Entry);
    return;
  }
  if (!Array.isArray(value) || value.length !== shape[depth]) {
    const got = Array.isArray(value) ? `an array of ${value.length}` : showValue(value);
    throw new ShapeError(`data must be a box of shape [${shape.join(', ')}], got ${got} at depth ${depth}`);
  }
  for (const entry of value as readonly NestedNumbers[]) flatten(entry, shape, depth + 1, out);
}

const isOfKind = { number: true, bigint: true, boolean: true } as Readonly<Record<string, true>>;

function checkEntries(entries: readonly Entry[]): void {
  const kind = typeof (entries[0] ?? (entries.length === 0 ? 0 : undefined));
  const odd = kind in isOfKind ? entries.findIndex((entry) => typeof entry !== kind) : 0;
  if (odd >= 0) {
    throw new ArgumentError(
      `data must hold numbers, booleans or bigints, of one kind, got ${showValue(entries[odd])} at entry ${odd}`,
    );
  }
  if (kind !== 'bigint') return;
  const wide = entries.findIndex((entry) => BigInt.asIntN(64, entry as bigint) !== entry);
  if (wide >= 0) {
    throw new ArgumentError(`data must hold bigints of int64, −2^63 … 2^63 − 1, got ${showValue(entries[wide])} at entry ${wide}`);
  }
}

const KIND_DTYPE = { number: 'float32', bigint: 'int64', boolean: 'bool' } as const;

const INTEGER_BITS = { int64: 64, int32: 32 } as const;

/** Integers truncate, as in torch, but nothing wraps around. */
function integerOf(entry: Entry, index: number, dtype: 'int64' | 'int32' | 'uint8'): bigint {
  if (typeof entry !== 'number' || Number.isFinite(entry)) {
    const integer = BigInt(typeof entry === 'number' ? Math.trunc(entry) : entry);
    const fits =
      dtype === 'uint8' ? BigInt.asUintN(8, integer) : BigInt.asIntN(INTEGER_BITS[dtype], integer);
    if (fits === integer) return integer;
  }
  throw new ArgumentError(`data of dtype ${dtype} must be in its range, got ${showValue(entry)} at entry ${index}`);
}

const numbers = (entries: readonly Entry[], dtype: 'int32' | 'uint8'): number[] =>
  entries.map((entry, i) => Number(integerOf(entry, i, dtype)));

/** Entries in a dtype of the addon's, each rounded once. */
function viewOf(entries: readonly Entry[], dtype: DType): { data: ArrayBufferView; dtype: DType } {
  switch (dtype) {
    case 'float64':
      return { data: Float64Array.from(entries, Number), dtype };
    case 'int64':
      return { data: BigInt64Array.from(entries.map((entry, i) => integerOf(entry, i, dtype))), dtype };
    case 'int32':
      return { data: Int32Array.from(numbers(entries, dtype)), dtype };
    case 'uint8':
      return { data: Uint8Array.from(numbers(entries, dtype)), dtype };
    case 'bool':
      // As in torch: NaN is true.
      return { data: Uint8Array.from(entries, (entry) => (Number(entry) === 0 ? 0 : 1)), dtype };
    case 'float32':
    case 'float16':
    case 'bfloat16':
      // A bigint must not be rounded to float64 first; the addon converts int64 to float32 and to the halves.
      if (typeof entries[0] === 'bigint') return viewOf(entries, 'int64');
      return { data: Float32Array.from(entries, Number), dtype: 'float32' };
  }
}

/**
 * Reads nested arrays, in `dtype` where that can be done without rounding twice; the dtype that it was is returned.
 *
 * @throws ShapeError for what is no box, ArgumentError for other entries than numbers of one kind in the dtype's range.
 */
export function readNested(
  value: NestedNumbers,
  dtype: DType | undefined,
): { data: ArrayBufferView; shape: number[]; dtype: DType } {
  const shape = boxOf(value);
  const entries: Entry[] = [];
  flatten(value, shape, 0, entries);
  checkEntries(entries);
  const kind = typeof (entries[0] ?? 0) as keyof typeof KIND_DTYPE;
  return { shape, ...viewOf(entries, dtype ?? KIND_DTYPE[kind]) };
}
