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
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (hasHandle(value)) return value[HANDLE];
  if (Array.isArray(value)) return value.map(unwrap);
  if (value instanceof Map) return new Map([...value].map(([key, entry]) => [unwrap(key), unwrap(entry)]));
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, unwrap(entry)]));
}

/** What a program sees of the addon's result: every handle in it through `wrapTensor`. */
export function wrap(value: unknown, wrapTensor: (handle: TensorHandle) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof addon().TensorHandle) return wrapTensor(value);
  if (Array.isArray(value)) return value.map((entry: unknown) => wrap(entry, wrapTensor));
  if (value instanceof Map) return new Map([...value].map(([k, v]) => [wrap(k, wrapTensor), wrap(v, wrapTensor)]));
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, wrap(entry, wrapTensor)]));
}
