import assert from 'node:assert/strict';
import { arange, cat, full, lerp, linspace, ones, randn, slerp, stack, Tensor, zeros } from '../../../ts/index';

describe('creators', () => {
  it('make float32 on the CPU unless told otherwise', () => {
    for (const t of [zeros([2]), ones([2]), full([2], 3), arange(0, 2), linspace(0, 1, 2), randn([2])]) {
      assert.deepEqual([t.dtype, t.device, t.shape], ['float32', 'cpu', [2]]);
    }
    assert.equal(zeros([1], { dtype: 'int64' }).dtype, 'int64');
    assert.deepEqual(full([2], 3).tolist(), [3, 3]);
    assert.deepEqual(arange(1, 8, 3).tolist(), [1, 4, 7]);
    assert.deepEqual(linspace(0, 1, 3).tolist(), [0, 0.5, 1]);
  });

  it('join tensors', () => {
    const [a, b] = [zeros([1, 2]), ones([1, 2])];
    assert.deepEqual(cat([a, b]).tolist(), [[0, 0], [1, 1]]); // prettier-ignore
    assert.deepEqual(cat([a, b], 1).shape, [1, 4]);
    assert.deepEqual(stack([a, b], 1).shape, [1, 2, 2]);
  });

  it('refuse bad shapes and options by name', () => {
    assert.throws(() => zeros([1.5]), { code: 'ERR_SHAPE', message: /shape must be an array of integers ≥ 0/ });
    assert.throws(() => randn([2], { seed: 1 } as never), { code: 'ERR_ARGUMENT', message: /unknown option "seed"/ });
    assert.throws(() => randn([2], { dtype: 'int64' as never }), { code: 'ERR_DTYPE', message: /dtype of randn must be/ });
    assert.throws(() => randn([2], { generator: 7 as never }), { code: 'ERR_ARGUMENT', message: /generator must be a Generator/ });
    const notText = { code: 'ERR_ARGUMENT', message: /device must be a string.*got 5/ };
    assert.throws(() => randn([1], { device: 5 as never }), notText);
    assert.throws(() => zeros([1], { device: 5 as never }), notText);
    assert.throws(() => arange(0, 3, 1, { device: 5 as never }), notText);
    assert.throws(() => Tensor.from([1], [1], { device: 5 as never }), notText);
    assert.throws(() => zeros([1]).to({ device: 5 as never }), notText);
    assert.throws(() => zeros([1], { device: 'cuda:999' }), { code: 'ERR_DEVICE', message: /cuda:999/ });
  });
});

describe('interpolation', () => {
  it('lerp is a + w (b − a)', () => {
    assert.deepEqual(lerp(Tensor.from([0, 2]), Tensor.from([4, 2]), 0.25).tolist(), [1, 2]);
    assert.deepEqual(lerp(Tensor.from([0, 2]), Tensor.from([4, 4]), Tensor.from([0.5, 1])).tolist(), [2, 4]);
  });

  it('slerp refuses what are no tensors and no number', () => {
    const x = zeros([1, 2]);
    assert.throws(() => slerp(x, 1 as never, 0.5), { code: 'ERR_ARGUMENT', message: 'b must be a Tensor, got 1' });
    assert.throws(() => slerp(null as never, x, 0.5), { code: 'ERR_ARGUMENT', message: 'a must be a Tensor, got null' });
    assert.throws(() => slerp(x, x, '1' as never), { code: 'ERR_ARGUMENT', message: 't must be a number, got "1"' });
  });

  it('slerp keeps the norm on the arc, sample by sample, and falls back to lerp when parallel', () => {
    const a = Tensor.from([[1, 0], [1, 0]]); // prettier-ignore
    const b = Tensor.from([[0, 1], [3, 0]]); // prettier-ignore
    const [[x, y], [z, w]] = slerp(a, b, 0.5).tolist() as number[][] as [[number, number], [number, number]];
    assert.ok(Math.abs(x - Math.SQRT1_2) < 1e-6 && Math.abs(y - Math.SQRT1_2) < 1e-6);
    assert.deepEqual([z, w], [2, 0]);
    const [[u, v]] = slerp(a, b, 1 / 3).tolist() as [[number, number]];
    assert.ok(Math.abs(u - Math.cos(Math.PI / 6)) < 1e-6 && Math.abs(v - Math.sin(Math.PI / 6)) < 1e-6);
    assert.deepEqual(slerp(zeros([1, 2]), ones([1, 2]), 0.5).tolist(), [[0.5, 0.5]]);
    assert.throws(() => slerp(a, zeros([2, 3]), 0.5), { code: 'ERR_SHAPE', message: /b must have the shape of a/ });
  });
});
