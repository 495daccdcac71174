import { types } from 'node:util';
import { ArgumentError, DTypeError, ShapeError } from '../errors';
import { checkOptions, isPlainObject, showValue } from '../arguments';
import type { DType } from '../native/addon-types';
import { readNested, type NestedNumbers } from './nested-numbers';

export type { NestedNumbers };

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
  /** The dtype that the data are of: float16 and bfloat16 numbers come as float32, for the addon to round. */
  readonly type: DType;
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

/** The dtypes that random numbers come in and models compute in. */
export const FLOATING_DTYPES = ['float32', 'float64', 'float16', 'bfloat16'] as const satisfies readonly DType[];
export type FloatingDType = (typeof FLOATING_DTYPES)[number];

export const isFloating = (dtype: DType): dtype is FloatingDType => (FLOATING_DTYPES as readonly DType[]).includes(dtype);

/** @throws DTypeError unless `dtype` is one of {@link DTYPES}. */
export function checkDType(dtype: unknown, name = 'dtype'): DType {
  if (DTYPES.includes(dtype as DType)) return dtype as DType;
  throw new DTypeError(`${name} must be one of ${DTYPES.join(', ')}, got ${showValue(dtype)}`);
}

/** As many dimensions as libtorch's kernels take. */
const MAX_DIMENSIONS = 64;

/** A copy of a shape, which may be anyone's array. @throws ShapeError unless it is one of integers ≥ 0, 64 at most. */
export function checkShape(shape: unknown, name = 'shape'): number[] {
  if (Array.isArray(shape) && shape.length <= MAX_DIMENSIONS) {
    const sizes = Array.from(shape as unknown[]);
    if (sizes.every((size) => Number.isSafeInteger(size) && (size as number) >= 0)) return sizes as number[];
  }
  throw new ShapeError(`${name} must be an array of integers ≥ 0, got ${showValue(shape)}`);
}

/** The dtype that a typed array has by itself. */
const DTYPE_OF_VIEW: Readonly<Record<string, DType>> = {
  Float32Array: 'float32',
  Float64Array: 'float64',
  BigInt64Array: 'int64',
  Int32Array: 'int32',
  Uint8Array: 'uint8',
  Uint8ClampedArray: 'uint8',
};

const readTag = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!.get!;

/** The name of a view's class, of whichever realm (a vm context has its own); undefined for a DataView. */
const kindOf = (view: ArrayBufferView): string | undefined => readTag.call(view) as string | undefined;

const copyOf = (view: ArrayBufferView): ArrayBufferView =>
  new (view.constructor as new (from: ArrayBufferView) => ArrayBufferView)(view);

function fromView(view: ArrayBufferView, shape: readonly number[] | undefined, dtype: DType | undefined): RawTensor {
  const kind = kindOf(view) ?? 'DataView';
  const own = dtype ?? DTYPE_OF_VIEW[kind];
  if (own === undefined) {
    throw new DTypeError(
      `data must be a Float32Array, Float64Array, BigInt64Array, Int32Array or Uint8Array (or { data, dims, type }), ` +
        `got a ${kind}`,
    );
  }
  const { name: wanted } = VIEW_OF[own];
  const fits = kind === wanted || (wanted === 'Uint8Array' && kind === 'Uint8ClampedArray');
  if (!fits) throw new DTypeError(`data of type ${own} must be a ${wanted}, got a ${kind}`);
  const { length } = view as unknown as { length: number };
  const box = shape === undefined ? [length] : checkShape(shape);
  const numel = box.reduce((product, size) => product * size, 1);
  if (numel !== length) throw new ShapeError(`shape [${box.join(', ')}] wants ${numel} entries, data has ${length}`);
  // Shared memory may change under the reader, so that the addon takes none: its copy is what is checked and read.
  const data = types.isSharedArrayBuffer(view.buffer) ? copyOf(view) : view;
  if (own === 'bool' && (data as Uint8Array).some((byte) => byte > 1)) {
    throw new ArgumentError('data of type bool must hold 0 and 1 only');
  }
  return { data, shape: box, dtype: own, type: own };
}

/** Reads whatever Tensor.from takes. @throws ArgumentError, ShapeError or DTypeError naming what is wrong. */
export function readTensorData(data: unknown, shape: readonly number[] | undefined, dtype?: DType): RawTensor {
  if (ArrayBuffer.isView(data)) return fromView(data, shape, undefined);
  if (typeof data === 'object' && data !== null && 'data' in data) return fromTensorLike(data as TensorLike, shape, dtype);
  if (Array.isArray(data) || ['number', 'boolean', 'bigint'].includes(typeof data)) {
    return fromNested(data as NestedNumbers, shape, dtype);
  }
  throw new ArgumentError(
    `data must be a typed array, numbers in nested arrays, or { data, dims, type }, got ${showValue(data)}`,
  );
}

function fromTensorLike(like: TensorLike, shape: readonly number[] | undefined, dtype: DType | undefined): RawTensor {
  // Other libraries' tensors are objects of classes, with more to them than this reads.
  if (isPlainObject(like)) {
    checkOptions('Tensor.from', like, ['data', 'dims', 'shape', 'type', 'dtype']);
  }
  const types = (['type', 'dtype'] as const).filter((key) => like[key] !== undefined);
  const [type, otherType] = types.map((key) => checkDType(like[key], key));
  if (otherType !== undefined && otherType !== type) {
    throw new ArgumentError(`type and dtype must agree where both are given, got ${type} and ${otherType}`);
  }
  const boxes = (['dims', 'shape'] as const).filter((key) => like[key] !== undefined);
  const [dims, otherDims] = boxes.map((key) => checkShape(like[key], key));
  if (otherDims !== undefined && otherDims.join() !== dims!.join()) {
    throw new ArgumentError(`dims and shape must agree where both are given, got [${dims!.join(', ')}] and [${otherDims.join(', ')}]`);
  }
  const box = shape ?? dims;
  if (ArrayBuffer.isView(like.data)) return fromView(like.data, box, type);
  return fromNested(like.data as NestedNumbers, box, type ?? dtype);
}

function fromNested(value: NestedNumbers, shape: readonly number[] | undefined, dtype: DType | undefined): RawTensor {
  const { data, shape: box, dtype: built } = readNested(value, dtype);
  return { ...fromView(data, shape ?? box, built), type: dtype ?? built };
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
