import { types } from 'node:util';
import { isPlainObject, showValue } from '../arguments';
import { ArgumentError } from '../errors';

interface Disposable {
  dispose(): void;
}

const scopes: Set<Disposable>[] = [];

/** Puts a new tensor into the innermost {@link tidy} scope, if there is one. */
export function track(tensor: Disposable): void {
  scopes.at(-1)?.add(tensor);
}

/** What a container holds, or nothing for anything else. */
function entriesOf(value: object): Iterable<unknown> {
  if (Array.isArray(value) || types.isSet(value)) return value as Iterable<unknown>;
  if (types.isMap(value)) return [...value.keys(), ...value.values()];
  return isPlainObject(value) ? Object.values(value) : [];
}

/** Every tensor of the scope that a result holds, in arrays, records, Maps and Sets too; a cycle is walked once. */
function tensorsIn(result: unknown, scope: ReadonlySet<Disposable>): Set<Disposable> {
  const tensors = new Set<Disposable>();
  const visited = new Set<unknown>();
  const waiting: unknown[] = [result];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== 'object' || value === null || visited.has(value)) continue;
    visited.add(value);
    if (scope.has(value as Disposable)) tensors.add(value as Disposable);
    else for (const entry of entriesOf(value)) waiting.push(entry);
  }
  return tensors;
}

/** Nothing to add for a function's result `T`, but `never`, which no function is, for a promise. */
type NotAsync<T> = [T] extends [never] ? unknown : T extends PromiseLike<unknown> ? never : unknown;

/**
 * Runs `f` and frees every tensor made inside, but those in its result (a tensor, or an array, record, Map or Set of them), at
 * once instead of when the garbage collector comes round. Scopes nest: a kept tensor joins the scope outside.
 *
 * @throws ArgumentError if `f` is no function or returns a promise: an async function's tensors outlive the call.
 * @example
 * const energy = tidy(() => x.mul(x).sum());
 */
export function tidy<T>(f: (() => T) & NotAsync<T>): T {
  if (typeof f !== 'function') throw new ArgumentError(`tidy: f must be a function, got ${showValue(f)}`);
  const scope = new Set<Disposable>();
  scopes.push(scope);
  let kept = new Set<Disposable>();
  try {
    const result = f();
    if (types.isPromise(result)) {
      result.catch(() => undefined);
      throw new ArgumentError('tidy: f must not be async, got a function that returns a promise');
    }
    kept = tensorsIn(result, scope);
    return result;
  } finally {
    scopes.pop();
    for (const tensor of scope) {
      if (kept.has(tensor)) track(tensor);
      else tensor.dispose();
    }
  }
}
