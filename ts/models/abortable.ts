import { abortError, throwIfAborted } from '../errors';

/** A native call under way. */
export interface NativeCall {
  readonly result: Promise<unknown>;
  /** Skips the call if no thread has begun it; ends it soon if it can be broken off. */
  cancel(): void;
}

/** What waits for each signal: one listener a signal, since Node warns of more than ten as of a leak. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `listener` when the signal fires; the result takes it away again. */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  const known = waiting.get(signal);
  const listeners = known ?? new Set();
  if (known === undefined) {
    waiting.set(signal, listeners);
    signal.addEventListener('abort', () => [...listeners].forEach((one) => one()), { once: true });
  }
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Starts a call that `signal` cancels: before it begins it is skipped; once it runs, its promise rejects at once while
 * the forward itself ends unheard (a native UNet's soon, a TorchScript program can't be broken off) and its result goes
 * to `discard`.
 */
export async function abortable(
  signal: AbortSignal | undefined,
  start: () => NativeCall,
  discard: (result: unknown) => void,
): Promise<unknown> {
  throwIfAborted(signal);
  const { result, cancel } = start();
  if (signal === undefined) return result;
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => {
      forget();
      cancel();
      result.then(discard, () => undefined);
      reject(abortError(signal));
    });
    result.finally(forget).then(resolve, reject);
  });
}
