import assert from 'node:assert/strict';
import { tidy, zeros, type Tensor } from '../../../ts/index';

const disposed = (t: Tensor): boolean => {
  try {
    return t.shape.length < 0;
  } catch {
    return true;
  }
};

describe('tidy', () => {
  it('frees all but what it returns', () => {
    const outside = zeros([1]);
    let inner!: Tensor;
    const kept = tidy(() => {
      inner = outside.add(1);
      return inner.add(1);
    });
    assert.ok(disposed(inner));
    assert.deepEqual(kept.tolist(), [2]);
    assert.ok(!disposed(outside));
  });

  it('keeps tensors in arrays and records', () => {
    const { a, list } = tidy(() => ({ a: zeros([1]), list: [zeros([2])] }));
    assert.ok(!disposed(a) && !disposed(list[0]!));
  });

  it('keeps tensors in Maps, Sets and cycles', () => {
    let inner!: Tensor;
    const { map, set, ring } = tidy(() => {
      inner = zeros([1]);
      const knot: unknown[] = [zeros([1])];
      knot.push(knot);
      return { map: new Map([[zeros([1]), { deep: zeros([1]) }]]), set: new Set([[zeros([1])]]), ring: knot };
    });
    assert.ok(disposed(inner));
    const [[key, { deep }]] = [...map] as [[Tensor, { deep: Tensor }]];
    const [[member]] = [...set] as [[Tensor]];
    for (const kept of [key, deep, member, ring[0] as Tensor]) assert.ok(!disposed(kept));
  });

  it('refuses what is no function', () => {
    assert.throws(() => tidy('x' as never), { code: 'ERR_ARGUMENT', message: 'tidy: f must be a function, got "x"' });
  });

  it('hands what it keeps to the scope outside', () => {
    let middle!: Tensor;
    tidy(() => {
      middle = tidy(() => zeros([1]));
      assert.ok(!disposed(middle));
    });
    assert.ok(disposed(middle));
  });

  it('frees when f throws, and refuses async functions', () => {
    let inner!: Tensor;
    assert.throws(() => tidy(() => ((inner = zeros([1])), assert.fail('boom'))), /boom/);
    assert.ok(disposed(inner));
    // @ts-expect-error async functions do not compile either
    assert.throws(() => tidy(async () => zeros([1])), { code: 'ERR_ARGUMENT', message: /must not be async/ });
  });

  it('leaves no rejection of an async function unheard', async () => {
    const heard: unknown[] = [];
    const listener = (reason: unknown): void => void heard.push(reason);
    process.prependOnceListener('unhandledRejection', listener);
    const rejecting = (() => Promise.reject(new Error('boom'))) as never;
    assert.throws(() => tidy(rejecting), { code: 'ERR_ARGUMENT', message: /must not be async/ });
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', listener);
    assert.deepEqual(heard, []);
  });
});
