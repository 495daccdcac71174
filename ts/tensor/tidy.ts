import { ArgumentError } from '../errors';

interface Disposable {
  dispose(): void;
}

const scopes: Set<Disposable>[] = [];

/** Puts a new tensor into the innermost {@link tidy} scope, if there is one. */
export function track(tensor: Disposable): void {
  scopes.at(-1)?.add(tensor);
}

/** Every tensor that a result holds, in arrays and records too. */
function* tensorsIn(value: unknown, scope: ReadonlySet<Disposable>): Generator<Disposable> {
  if (typeof value !== 'object' || value === null) return;
  if (scope.has(value as Disposable)) yield value as Disposable;
  else if (Array.isArray(value)) for (const entry of value) yield* tensorsIn(entry, scope);
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const entry of Object.values(value)) yield* tensorsIn(entry, scope);
  }
}

/**
 * Runs `f` and frees every tensor made inside, but those in its result (a tensor, or an array or record of them), at
 * once instead of when the garbage collector comes round. Scopes nest: a kept tensor joins the scope outside.
 *
 * @throws ArgumentError if `f` returns a promise: an async function's tensors outlive the call.
 * @example
 * const energy = tidy(() => x.mul(x).sum());
 */
export function tidy<T>(f: () => T): T {
  const scope = new Set<Disposable>();
  scopes.push(scope);
  let kept = new Set<Disposable>();
  try {
    const result = f();
    if (result instanceof Promise) {
      result.catch(() => undefined);
      throw new ArgumentError('tidy: f must not be async, got a function that returns a promise');
    }
    kept = new Set(tensorsIn(result, scope));
    return result;
  } finally {
    scopes.pop();
    for (const tensor of scope) {
      if (kept.has(tensor)) track(tensor);
      else tensor.dispose();
    }
  }
}
