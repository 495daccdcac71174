import { ArgumentError } from '../errors';
import { addon } from '../native/addon';
import type { TensorHandle } from '../native/addon-types';

/** The key under which the facade's objects hold their native handle. */
export const HANDLE: unique symbol = Symbol('node-diffusers handle');

interface HasHandle {
  readonly [HANDLE]: unknown;
}

const hasHandle = (value: object): value is HasHandle => HANDLE in value;

/** What the addon sees of a value: every Tensor and Generator in it as its handle; lists, records and Maps are copied. */
export function unwrap(value: unknown): unknown {
  return unwrapAt(value, 0);
}

/** The deepest nesting of an argument: operators want two levels, and a cycle must end. */
const MAX_DEPTH = 64;

function unwrapAt(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (hasHandle(value)) return value[HANDLE];
  if (depth >= MAX_DEPTH) throw new ArgumentError(`an argument must nest at most ${MAX_DEPTH} deep; is there a cycle?`);
  const inner = (entry: unknown): unknown => unwrapAt(entry, depth + 1);
  if (Array.isArray(value)) return value.map(inner);
  if (value instanceof Map) return new Map([...value].map(([key, entry]) => [inner(key), inner(entry)]));
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, inner(entry)]));
}

/** What a program sees of the addon's result: every handle in it through `wrapTensor`. */
export function wrap(value: unknown, wrapTensor: (handle: TensorHandle) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof addon().TensorHandle) return wrapTensor(value);
  if (Array.isArray(value)) return value.map((entry: unknown) => wrap(entry, wrapTensor));
  if (value instanceof Map) return new Map([...value].map(([k, v]) => [wrap(k, wrapTensor), wrap(v, wrapTensor)]));
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, wrap(entry, wrapTensor)]));
}
