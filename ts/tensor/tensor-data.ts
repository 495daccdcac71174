import { ArgumentError, DTypeError, ShapeError } from '../errors';
import { showValue } from '../arguments';
import type { DType } from '../native/addon-types';

/** Numbers, booleans or bigints, nested to a box; numbers become float32, booleans bool, bigints int64. */
export type NestedNumbers = number | boolean | bigint | readonly NestedNumbers[];

/** The typed arrays that have a dtype of their own. */
export type TypedArray = Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array | Uint8ClampedArray;

/** A tensor as other libraries hold one (ONNX Runtime, safetensors); float16 and bfloat16 data are raw bits. */
export interface TensorLike {
  readonly data: TypedArray | Uint16Array | readonly number[];
  readonly dims?: readonly number[];
  readonly shape?: readonly number[];
  readonly type?: DType;
  readonly dtype?: DType;
}

/** Bytes with the shape and dtype that they are to be read as. */
export interface RawTensor {
  readonly data: ArrayBufferView;
  readonly shape: number[];
  readonly dtype: DType;
}

interface ViewClass {
  readonly name: string;
  new (length: number): ArrayBufferView & { length: number; [index: number]: number | bigint };
}

/** The view over each dtype's raw bytes. */
const VIEW_OF: Record<DType, ViewClass> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array as unknown as ViewClass,
  int32: Int32Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

export const DTYPES = Object.keys(VIEW_OF) as readonly DType[];

/** @throws DTypeError unless `dtype` is one of {@link DTYPES}. */
export function checkDType(dtype: unknown, name = 'dtype'): DType {
  if (DTYPES.includes(dtype as DType)) return dtype as DType;
  throw new DTypeError(`${name} must be one of ${DTYPES.join(', ')}, got ${showValue(dtype)}`);
}

/** @throws ShapeError unless `shape` is an array of integers ≥ 0. */
export function checkShape(shape: unknown, name = 'shape'): number[] {
  if (Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return shape as number[];
  throw new ShapeError(`${name} must be an array of integers ≥ 0, got ${showValue(shape)}`);
}

/** The dtype of a typed array, or undefined for one that has none. */
function dtypeOfView(view: ArrayBufferView): DType | undefined {
  if (view instanceof Float32Array) return 'float32';
  if (view instanceof Float64Array) return 'float64';
  if (view instanceof BigInt64Array) return 'int64';
  if (view instanceof Int32Array) return 'int32';
  if (view instanceof Uint8Array || view instanceof Uint8ClampedArray) return 'uint8';
  return undefined;
}

function fromView(view: ArrayBufferView, shape: readonly number[] | undefined, dtype: DType | undefined): RawTensor {
  const own = dtype ?? dtypeOfView(view);
  if (own === undefined) {
    throw new DTypeError(
      `data must be a Float32Array, Float64Array, BigInt64Array, Int32Array or Uint8Array (or { data, dims, type }), ` +
        `got a ${view.constructor.name}`,
    );
  }
  const wanted = VIEW_OF[own];
  const fits = view instanceof wanted || (wanted === Uint8Array && view instanceof Uint8ClampedArray);
  if (!fits) throw new DTypeError(`data of type ${own} must be a ${wanted.name}, got a ${view.constructor.name}`);
  const { length } = view as unknown as { length: number };
  const box = shape === undefined ? [length] : checkShape(shape);
  const numel = box.reduce((product, size) => product * size, 1);
  if (numel !== length) throw new ShapeError(`shape [${box.join(', ')}] wants ${numel} entries, data has ${length}`);
  if (own === 'bool' && (view as Uint8Array).some((byte) => byte > 1)) {
    throw new ArgumentError('data of type bool must hold 0 and 1 only');
  }
  return { data: view, shape: box, dtype: own };
}

/** The shape of a nested array by its first entries; {@link flatten} finds out whether the rest agree. */
function boxOf(value: NestedNumbers): number[] {
  const shape: number[] = [];
  let inner: NestedNumbers | undefined = value;
  while (Array.isArray(inner)) {
    shape.push(inner.length);
    inner = (inner as readonly NestedNumbers[])[0];
  }
  return shape;
}

function flatten(value: NestedNumbers, shape: readonly number[], depth: number, out: (number | bigint | boolean)[]): void {
  if (depth === shape.length) {
    if (typeof value === 'object') throw new ShapeError(`data must be a box: an array stands at depth ${depth} among numbers`);
    out.push(value);
    return;
  }
  if (!Array.isArray(value) || value.length !== shape[depth]) {
    const got = Array.isArray(value) ? `an array of ${value.length}` : showValue(value);
    throw new ShapeError(`data must be a box of shape [${shape.join(', ')}], got ${got} at depth ${depth}`);
  }
  for (const entry of value as readonly NestedNumbers[]) flatten(entry, shape, depth + 1, out);
}

function fromNested(value: NestedNumbers, shape: readonly number[] | undefined): RawTensor {
  const box = boxOf(value);
  const entries: (number | bigint | boolean)[] = [];
  flatten(value, box, 0, entries);
  const kind = typeof (entries[0] ?? 0);
  const odd = entries.find((entry) => typeof entry !== kind);
  if (odd !== undefined || !['number', 'bigint', 'boolean'].includes(kind)) {
    throw new ArgumentError(`data must hold numbers, booleans or bigints, of one kind, got ${showValue(odd ?? entries[0])}`);
  }
  const dtype: DType = kind === 'bigint' ? 'int64' : kind === 'boolean' ? 'bool' : 'float32';
  const data = new VIEW_OF[dtype](entries.length);
  entries.forEach((entry, i) => (data[i] = typeof entry === 'boolean' ? Number(entry) : entry));
  return fromView(data, shape ?? box, dtype);
}

/** Reads whatever Tensor.from takes. @throws ArgumentError, ShapeError or DTypeError naming what is wrong. */
export function readTensorData(data: unknown, shape: readonly number[] | undefined): RawTensor {
  if (ArrayBuffer.isView(data)) return fromView(data, shape, undefined);
  if (typeof data === 'object' && data !== null && 'data' in data) {
    const like = data as TensorLike;
    const type = like.type ?? like.dtype;
    const dtype = type === undefined ? undefined : checkDType(type, like.type === undefined ? 'dtype' : 'type');
    const box = shape ?? like.dims ?? like.shape;
    if (ArrayBuffer.isView(like.data)) return fromView(like.data, box, dtype);
    return fromNested(like.data as NestedNumbers, box);
  }
  if (Array.isArray(data) || ['number', 'boolean', 'bigint'].includes(typeof data)) {
    return fromNested(data as NestedNumbers, shape);
  }
  throw new ArgumentError(
    `data must be a typed array, numbers in nested arrays, or { data, dims, type }, got ${showValue(data)}`,
  );
}

/** Nests flat data to a shape. */
export function nest(data: ArrayLike<number>, shape: readonly number[]): NestedNumbers {
  const build = (depth: number, offset: number, stride: number): NestedNumbers => {
    if (depth === shape.length) return data[offset]!;
    const size = shape[depth]!;
    const inner = size === 0 ? 0 : stride / size;
    return Array.from({ length: size }, (_, i) => build(depth + 1, offset + i * inner, inner));
  };
  return build(0, 0, data.length);
}
