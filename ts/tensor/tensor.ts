import { inspect } from 'node:util';
import { ArgumentError, DTypeError, ShapeError } from '../errors';
import { checkDevice, checkOptions, isPlainObject, requireOptions, showValue } from '../arguments';
import { addon } from '../native/addon';
import type { DType, TensorData, TensorHandle } from '../native/addon-types';
import { HANDLE, unwrap, wrap } from './handle';
import { checkDType, DTYPES, nest, readTensorData, type NestedNumbers, type TensorLike, type TypedArray } from './tensor-data';
import { track } from './tidy';

/** The other operand of elementwise arithmetic: a number, or a tensor that broadcasts as in torch. */
export type Operand = number | Tensor;

/** Options of a reduction: `keepdim` keeps the reduced dimensions with size 1. */
export interface ReduceOptions {
  keepdim?: boolean;
}

const MEMORY_FORMATS = ['contiguous', 'channelsLast'] as const;

/** A handle on one native tensor, on any device. Its memory is freed by {@link dispose}, by tidy, or with the object. */
export class Tensor {
  /** @internal */
  readonly [HANDLE]: TensorHandle;

  /** Tensors are made by {@link Tensor.from}, randn, zeros, …, and by operators. @internal */
  constructor(handle: TensorHandle) {
    this[HANDLE] = handle;
    track(this);
  }

  /**
   * A tensor with a copy of the data. Typed arrays keep their type; numbers become float32, booleans bool, bigints int64;
   * `{ data, dims, type }` says its own, where float16 and bfloat16 are raw bits in a Uint16Array.
   *
   * @param shape default: the data's own (one dimension for a typed array).
   * @throws ArgumentError, ShapeError, DTypeError, DeviceError
   * @example
   * const x = Tensor.from(new Float32Array(12), [1, 3, 2, 2]);
   */
  static from(
    data: TypedArray | NestedNumbers | TensorLike,
    shape?: readonly number[],
    options: { dtype?: DType; device?: string } = {},
  ): Tensor {
    checkOptions('Tensor.from', options, ['dtype', 'device']);
    const wanted = options.dtype === undefined ? undefined : checkDType(options.dtype);
    const device = options.device === undefined ? 'cpu' : checkDevice(options.device);
    const raw = readTensorData(data, shape, wanted);
    const dtype = wanted ?? raw.type;
    const tensor = new Tensor(addon().tensorFrom(raw.data, raw.shape, raw.dtype));
    if (dtype === raw.dtype && device === 'cpu') return tensor;
    try {
      return tensor.to({ device, dtype });
    } finally {
      tensor.dispose();
    }
  }

  /** The sizes of its dimensions. */
  get shape(): readonly number[] {
    return this[HANDLE].shape;
  }

  get dtype(): DType {
    return this[HANDLE].dtype;
  }

  /** `'cpu'` or `'cuda:N'`. */
  get device(): string {
    return this[HANDLE].device;
  }

  /** The number of its entries. */
  get numel(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  /** A copy of its entries in row-major order; float16 and bfloat16 come as Float32Array, int64 as BigInt64Array. */
  toTypedArray(): TensorData {
    return this[HANDLE].data();
  }

  /** The one entry of a tensor that has one. @throws ShapeError; DTypeError for an int64 beyond 2^53. */
  item(): number {
    if (this.numel !== 1) throw new ShapeError(`item wants a tensor of one entry, got shape [${this.shape.join(', ')}]`);
    return this.numbers()[0]!;
  }

  /** Its entries as nested arrays of numbers. @throws DTypeError for an int64 beyond 2^53. */
  tolist(): NestedNumbers {
    return nest(this.numbers(), this.shape);
  }

  private numbers(): ArrayLike<number> {
    const data = this.toTypedArray();
    if (this.dtype !== 'int64') return data as ArrayLike<number>;
    return Array.from(data as BigInt64Array, (entry) => {
      const number = Number(entry);
      if (Number.isSafeInteger(number)) return number;
      throw new DTypeError(`int64 entry ${entry} is beyond 2^53 and no exact number; use toTypedArray()`);
    });
  }

  /** The tensor on another device, in another dtype or memory format; the same storage where nothing changes. */
  to(options: { device?: string; dtype?: DType; memoryFormat?: (typeof MEMORY_FORMATS)[number] }): Tensor {
    requireOptions('to', options, ['device', 'dtype', 'memoryFormat']);
    const { memoryFormat } = options;
    const device = options.device === undefined ? this.device : checkDevice(options.device);
    const dtype = options.dtype === undefined ? this.dtype : checkDType(options.dtype);
    if (memoryFormat !== undefined && !MEMORY_FORMATS.includes(memoryFormat)) {
      throw new ArgumentError(`memoryFormat must be one of ${MEMORY_FORMATS.join(', ')}, got ${showValue(memoryFormat)}`);
    }
    if (memoryFormat === 'channelsLast' && this.shape.length !== 4) {
      throw new ShapeError(`memoryFormat channelsLast wants [N, C, H, W], got shape [${this.shape.join(', ')}]`);
    }
    const named = memoryFormat === undefined ? {} : { memory_format: memoryFormat };
    // An operator may give a dtype without a name here, complex for one; it can move, but not be asked for.
    return DTYPES.includes(dtype)
      ? atenWith('to.device', [this, device, dtype], named)
      : atenWith('to.dtype_layout', [this], { dtype: null, device, ...named });
  }

  add(other: Operand): Tensor {
    return aten(typeof other === 'number' ? 'add.Scalar' : 'add.Tensor', this, other);
  }
  sub(other: Operand): Tensor {
    return aten(typeof other === 'number' ? 'sub.Scalar' : 'sub.Tensor', this, other);
  }
  mul(other: Operand): Tensor {
    return aten(typeof other === 'number' ? 'mul.Scalar' : 'mul.Tensor', this, other);
  }
  div(other: Operand): Tensor {
    return aten(typeof other === 'number' ? 'div.Scalar' : 'div.Tensor', this, other);
  }
  pow(exponent: Operand): Tensor {
    return aten(typeof exponent === 'number' ? 'pow.Tensor_Scalar' : 'pow.Tensor_Tensor', this, exponent);
  }
  neg(): Tensor {
    return aten('neg', this);
  }
  abs(): Tensor {
    return aten('abs', this);
  }
  sqrt(): Tensor {
    return aten('sqrt', this);
  }
  exp(): Tensor {
    return aten('exp', this);
  }

  /** Bounds every entry; a bound of null or undefined is none. NaN stays NaN. */
  clamp(min?: Operand | null, max?: Operand | null): Tensor {
    const [low, high] = [min ?? null, max ?? null];
    const ofTensors = low instanceof Tensor || high instanceof Tensor;
    if (!ofTensors || typeof low === typeof high || low === null || high === null) {
      return aten(ofTensors ? 'clamp.Tensor' : 'clamp', this, low, high);
    }
    // torch's operators take two tensors or two numbers.
    const bounded = this.clamp(low);
    try {
      return bounded.clamp(null, high);
    } finally {
      bounded.dispose();
    }
  }

  /** The mean over `dim` (default: all). */
  mean(dim?: number | readonly number[] | null, options?: ReduceOptions): Tensor {
    checkOptions('mean', options, ['keepdim']);
    return aten('mean.dim', this, dims(dim), options?.keepdim ?? false);
  }
  /** The sum over `dim` (default: all). */
  sum(dim?: number | readonly number[] | null, options?: ReduceOptions): Tensor {
    checkOptions('sum', options, ['keepdim']);
    return aten('sum.dim_IntList', this, dims(dim), options?.keepdim ?? false);
  }
  /** The standard deviation over `dim` (default: all), dividing by n − correction; correction defaults to 1. */
  std(dim?: number | readonly number[] | null, options?: ReduceOptions & { correction?: number }): Tensor {
    checkOptions('std', options, ['keepdim', 'correction']);
    const { keepdim = false, correction = 1 } = options ?? {};
    return atenWith('std.correction', [this, dims(dim)], { correction, keepdim });
  }
  /** The least entry over `dim` (default: all). */
  amin(dim?: number | readonly number[] | null, options?: ReduceOptions): Tensor {
    checkOptions('amin', options, ['keepdim']);
    return aten('amin', this, dims(dim) ?? [], options?.keepdim ?? false);
  }
  /** The greatest entry over `dim` (default: all). */
  amax(dim?: number | readonly number[] | null, options?: ReduceOptions): Tensor {
    checkOptions('amax', options, ['keepdim']);
    return aten('amax', this, dims(dim) ?? [], options?.keepdim ?? false);
  }

  reshape(shape: readonly number[]): Tensor {
    return aten('reshape', this, shape);
  }
  permute(order: readonly number[]): Tensor {
    return aten('permute', this, order);
  }
  transpose(dim0: number, dim1: number): Tensor {
    return aten('transpose.int', this, dim0, dim1);
  }
  unsqueeze(dim: number): Tensor {
    return aten('unsqueeze', this, dim);
  }
  /** Drops dimension `dim` if its size is 1, or without `dim` every dimension of size 1. */
  squeeze(dim?: number): Tensor {
    return dim === undefined ? aten('squeeze', this) : aten('squeeze.dim', this, dim);
  }
  expand(shape: readonly number[]): Tensor {
    return aten('expand', this, shape);
  }
  /** The entries `start`, `start + step`, … below `end` of dimension `dim`; negative ends count from the back. */
  slice(dim: number, start?: number | null, end?: number | null, step = 1): Tensor {
    return aten('slice.Tensor', this, dim, start ?? null, end ?? null, step);
  }
  narrow(dim: number, start: number, length: number): Tensor {
    return aten('narrow', this, dim, start, length);
  }
  chunk(chunks: number, dim = 0): Tensor[] {
    return aten('chunk', this, chunks, dim);
  }
  /** Pieces of one size (the last may be smaller), or of the sizes of a list. */
  split(sizes: number | readonly number[], dim = 0): Tensor[] {
    return typeof sizes === 'number'
      ? aten('split.Tensor', this, sizes, dim)
      : aten('split_with_sizes', this, sizes, dim);
  }
  flip(dim: number | readonly number[]): Tensor {
    return aten('flip', this, dims(dim));
  }
  contiguous(): Tensor {
    return aten('contiguous', this);
  }
  clone(): Tensor {
    return aten('clone', this);
  }

  /** Frees this handle; a view of the same storage stays valid. Idempotent; any other use afterwards is ERR_DISPOSED. */
  dispose(): void {
    this[HANDLE].dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  [inspect.custom](): string {
    if (this[HANDLE].disposed) return 'Tensor(disposed)';
    return `Tensor(shape=[${this.shape.join(', ')}], dtype=${this.dtype}, device=${this.device})`;
  }
}

const dims = (dim: number | readonly number[] | null | undefined): readonly number[] | null =>
  typeof dim === 'number' ? [dim] : (dim ?? null);

/** The Tensor of a handle that the addon made. */
export const wrapTensor = (handle: TensorHandle): Tensor => new Tensor(handle);

/** Calls `aten::name` (with an overload: `'add.Tensor'`); tensors go in and come out as {@link Tensor}. */
export function callAten(name: string, args: readonly unknown[]): unknown {
  return wrap(addon().callOp(name, args.map(unwrap)), wrapTensor);
}

/** An operator whose result's type the schema of `name` guarantees. No argument passes for the keyword-only ones. */
export function aten<R = Tensor>(name: string, ...args: unknown[]): R {
  return callAten(name, isPlainObject(args.at(-1)) ? [...args, {}] : args) as R;
}

/** The same with keyword-only arguments. */
export function atenWith(name: string, args: readonly unknown[], named: Readonly<Record<string, unknown>>): Tensor {
  return callAten(name, [...args, named]) as Tensor;
}
