import { ArgumentError, TimestepError } from '../errors';
import { showValue } from '../arguments';
import type { TensorHandle } from '../native/addon-types';
import { Tensor } from '../tensor';
import { HANDLE } from '../tensor/handle';

/** One timestep for the whole batch, or one per sample: a number, an array, or an integer tensor of at most one dimension. */
export type Timesteps = number | ArrayLike<number> | Tensor;

/** The longest list that is read: far above any batch, and a bound on what a wrong length may allocate. */
const MAX_ENTRIES = 1_000_000;

/** What has a length and numbers, but is no string. */
function isArrayLike(value: unknown): value is ArrayLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as ArrayLike<unknown>).length === 'number';
}

function checkLength(length: number, name: string): number {
  if (Number.isInteger(length) && length >= 0 && length <= MAX_ENTRIES) return length;
  throw new ArgumentError(`${name} must have a length that is an integer in 0 … ${MAX_ENTRIES}, got ${length}`);
}

function numbersOf(value: unknown, name: string, wanted: string): Float64Array {
  if (typeof value === 'number') return Float64Array.of(value);
  if (value instanceof Tensor) {
    if (value.shape.length > 1) throw new ArgumentError(`${name} must have at most one dimension, got shape [${value.shape.join(', ')}]`);
    checkLength(value.numel, name);
    const list = value.tolist();
    return Float64Array.from(typeof list === 'number' ? [list] : (list as number[]));
  }
  if (!isArrayLike(value)) throw new ArgumentError(`${name} must be ${wanted}, got ${showValue(value)}`);
  const numbers = new Float64Array(checkLength(value.length, name));
  for (let i = 0; i < numbers.length; i++) {
    const entry = value[i];
    if (typeof entry !== 'number') throw new ArgumentError(`${name} must hold numbers, got ${showValue(entry)} at index ${i}`);
    numbers[i] = entry;
  }
  return numbers;
}

/** @throws ArgumentError for a list of none. */
export const notEmpty = (numbers: Float64Array, name: string): Float64Array => {
  if (numbers.length > 0) return numbers;
  throw new ArgumentError(`${name} must not be empty: it is one number, or one per sample`);
};

/** Reads timesteps of samples for the addon. @throws as {@link readTimestepList}, and ArgumentError for none. */
export function readTimesteps(value: unknown, name: string): Float64Array {
  return notEmpty(integersOf(value, name, 'an integer, an array of integers or a Tensor'), name);
}

/** Reads a list of timesteps. @throws TimestepError for a number that is no integer, ArgumentError for no list of numbers. */
export function readTimestepList(value: unknown, name: string): Float64Array {
  if (!isArrayLike(value)) throw new ArgumentError(`${name} must be an array of integers, got ${showValue(value)}`);
  return integersOf(value, name, 'an array of integers');
}

function integersOf(value: unknown, name: string, wanted: string): Float64Array {
  const numbers = numbersOf(value, name, wanted);
  for (const number of numbers) {
    if (!Number.isSafeInteger(number)) throw new TimestepError(`${name} must be an integer, got ${number}`);
  }
  return numbers;
}

/** Reads η for the addon. @throws ArgumentError unless it is a number ≥ 0, or one per sample. */
export function readEta(value: unknown): Float64Array {
  const numbers = numbersOf(value, 'eta', 'a number ≥ 0 or one per sample');
  for (const number of numbers) {
    if (!(number >= 0 && Number.isFinite(number))) throw new ArgumentError(`eta must be a finite number ≥ 0, got ${number}`);
  }
  return numbers;
}

/** The handle of a tensor argument. @throws ArgumentError for anything else. */
export function tensorHandle(value: unknown, name: string): TensorHandle {
  if (value instanceof Tensor) return value[HANDLE];
  throw new ArgumentError(`${name} must be a Tensor, got ${showValue(value)}`);
}

/** A switch that may be left out. @throws ArgumentError for anything but a boolean. */
export function readBoolean(value: unknown, name: string, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value === 'boolean') return value;
  throw new ArgumentError(`${name} must be a boolean, got ${showValue(value)}`);
}
