import assert from 'node:assert/strict';
import { Generator, ops, Tensor } from '../../../ts/index';

const rejects = (f: () => unknown, code: string, message: RegExp) =>
  assert.throws(f, (error: Error & { code: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });

describe('ops.aten', () => {
  const { aten } = ops;
  const x = Tensor.from([[-1, 2], [3, -4]]); // prettier-ignore

  it('chooses the overload by the arguments', () => {
    assert.deepEqual((aten['add']!(x, x) as Tensor).tolist(), [[-2, 4], [6, -8]]); // prettier-ignore
    assert.deepEqual((aten['add']!(x, 1) as Tensor).tolist(), [[0, 3], [4, -3]]); // prettier-ignore
    assert.deepEqual((aten['add.Tensor']!(x, x, { alpha: -1 }) as Tensor).tolist(), [[0, 0], [0, 0]]); // prettier-ignore
    assert.equal((aten['sum']!(x) as Tensor).item(), 0);
    assert.deepEqual((aten['sum']!(x, [0], true) as Tensor).shape, [1, 2]);
  });

  it('treats an integral number as an int Scalar and keeps integer dtypes', () => {
    const ints = Tensor.from([1n, 2n]);
    assert.equal((aten['mul']!(ints, 2) as Tensor).dtype, 'int64');
    assert.equal((aten['mul']!(ints, 2.5) as Tensor).dtype, 'float32');
  });

  it('takes keyword-only arguments in a last plain object', () => {
    const made = aten['full']!([2], 3, { dtype: 'float64', device: 'cpu' }) as Tensor;
    assert.deepEqual([made.dtype, made.tolist()], ['float64', [3, 3]]);
    const drawn = aten['randn']!([2], { generator: new Generator({ seed: 0 }) }) as Tensor;
    assert.ok(Math.abs((drawn.tolist() as number[])[0]! - 1.5409960746765137) < 1e-12);
  });

  it('returns lists, tuples, numbers and booleans as such', () => {
    const [values, indices] = aten['topk']!(x, 1) as [Tensor, Tensor];
    assert.deepEqual([values.tolist(), indices.tolist()], [[[2], [3]], [[1], [0]]]); // prettier-ignore
    assert.equal((aten['unbind']!(x) as Tensor[]).length, 2);
    assert.equal(aten['size']!(x, 0), 2);
    assert.equal(aten['equal']!(x, x), true);
  });

  it('expands one number to a fixed-size list', () => {
    const pooled = aten['avg_pool2d']!(x.reshape([1, 1, 2, 2]), 2) as Tensor;
    assert.equal(pooled.item(), 0);
  });

  it('converts optional, string and list arguments', () => {
    assert.deepEqual((aten['clamp']!(x, null, 0) as Tensor).tolist(), [[-1, 0], [0, -4]]); // prettier-ignore
    assert.deepEqual((aten['gelu']!(Tensor.from([0]), { approximate: 'tanh' }) as Tensor).tolist(), [0]);
    assert.deepEqual((aten['cat']!([x, x], 1) as Tensor).shape, [2, 4]);
    assert.deepEqual((aten['index']!(x, [null, Tensor.from([0n])]) as Tensor).tolist(), [[-1], [3]]);
  });

  it('says which argument is wrong', () => {
    rejects(() => aten['silu']!(3), 'ERR_ARGUMENT', /self must be a Tensor/);
    rejects(() => aten['silu']!(), 'ERR_ARGUMENT', /self \(Tensor\) is missing/);
    rejects(() => aten['silu']!(x, x), 'ERR_ARGUMENT', /takes 1 arguments, got 2/);
    rejects(() => aten['full']!([1], 1, { dtyp: 'float32' }), 'ERR_ARGUMENT', /no argument 'dtyp'/);
    rejects(() => aten['add']!(x, 'a'), 'ERR_ARGUMENT', /no overload[^]*add\.Tensor[^]*add\.Scalar: other must be a number, got 'a'/);
    rejects(() => aten['permute']!(x, [0.5, 1]), 'ERR_ARGUMENT', /dims\[0\] must be an integer, got 0.5/);
    rejects(() => aten['permute']!(x, [0, 7]), 'ERR_OP', /Dimension out of range/);
    rejects(() => aten['add.Nonsense']!(x, x), 'ERR_ARGUMENT', /no overload 'add.Nonsense'/);
  });

  it('lists operators and hides private, out= and file ones', () => {
    assert.ok('silu' in aten && 'conv2d' in aten && !('nosuch' in aten) && !('_softmax' in aten));
    assert.ok(Object.keys(aten).length > 900);
    for (const hidden of ['nosuch', '_softmax', 'from_file', 'save', '__proto__', 'constructor']) {
      assert.equal(aten[hidden], undefined, hidden);
    }
    rejects(() => aten['add.out']!(x, x, { out: x }), 'ERR_ARGUMENT', /no overload 'add.out'/);
    assert.throws(() => ((aten as Record<string, unknown>)['silu'] = 1), TypeError);
  });
});
