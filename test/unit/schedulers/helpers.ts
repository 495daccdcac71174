import assert from 'node:assert/strict';
import { DiffusersError, Generator, randn, Tensor } from '../../../ts/index';
import type { ErrorCode } from '../../../ts/errors';

/** Asserts that `run` throws a DiffusersError of this code whose message says so. */
export function throwsCode(run: () => unknown, code: ErrorCode, message: RegExp): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof DiffusersError, `expected a DiffusersError, got ${String(error)}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

/** The same of a promise, which must not throw synchronously. */
export async function rejectsCode(run: () => Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  const promise = run();
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof DiffusersError, `expected a DiffusersError, got ${String(error)}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

export const numbers = (tensor: Tensor): number[] => Array.from(tensor.toTypedArray() as Float64Array, Number);

/** Seeded normal numbers; float64 unless told, so that only the coefficients are rounded to float32. */
export function noise(seed: number, shape: number[] = [2, 3, 4, 4], dtype: 'float32' | 'float64' = 'float64'): Tensor {
  return randn(shape, { generator: new Generator({ seed }), dtype });
}

/** A tensor of one value in noise's shape and dtype. */
export function constant(value: number, like: Tensor): Tensor {
  return like.mul(0).add(value);
}

/** max |a − b|. */
export function maxDifference(a: Tensor, b: Tensor): number {
  assert.deepEqual([...a.shape], [...b.shape]);
  return a.sub(b).abs().amax().item();
}

export const maxAbs = (a: Tensor): number => a.abs().amax().item();

export function assertClose(got: Tensor, want: Tensor, tolerance: number, what = ''): void {
  const error = maxDifference(got, want);
  assert.ok(error <= tolerance, `${what} max error ${error}, allowed ${tolerance}`);
}

export function assertSame(got: Tensor, want: Tensor, what = ''): void {
  assert.equal(got.dtype, want.dtype, what);
  assert.deepEqual([...got.shape], [...want.shape], what);
  assert.deepEqual(got.toTypedArray(), want.toTypedArray(), what);
}

/** The next 4 numbers of a generator: equal lists mean equal states. */
export const nextDraws = (generator: Generator): number[] => numbers(randn([4], { generator }));

export const fresh = (seed: number): Generator => new Generator({ seed });
