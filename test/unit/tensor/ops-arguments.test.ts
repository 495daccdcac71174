import assert from 'node:assert/strict';
import { ops, Tensor, zeros } from '../../../ts/index';

const { aten } = ops;
const x = Tensor.from([[1, 2], [3, 4]]); // prettier-ignore
const coded = (code: string, message: RegExp) => ({ code, message });

describe('what operators take', () => {
  it('a dtype, layout or memory format by name only: a number would leave libtorch’s tables', () => {
    assert.throws(() => aten['to']!(zeros([4, 4]), -1), coded('ERR_ARGUMENT', /dtype must be a string/));
    assert.throws(() => aten['zeros']!([2], { layout: 1 }), coded('ERR_ARGUMENT', /layout must be a string/));
    assert.throws(() => aten['clone']!(x, { memory_format: 77 }), coded('ERR_ARGUMENT', /memory_format must be a string/));
    assert.throws(() => aten['clone']!(x, { memory_format: 'nhwc' }), coded('ERR_ARGUMENT', /memory_format must be 'contig.*got 'nhwc'/));
    assert.throws(() => aten['view']!(x, -1), coded('ERR_ARGUMENT', /view: size must be an array/));
    assert.deepEqual((aten['view']!(x, [-1]) as Tensor).shape, [4]);
  });

  it('a string for whichever overload has a use for it', () => {
    assert.equal((aten['to']!(x, 'float64') as Tensor).dtype, 'float64');
    assert.equal((aten['to']!(x, 'cpu', 'float64') as Tensor).dtype, 'float64');
    assert.throws(() => aten['to']!(x, 'float65'), coded('ERR_ARGUMENT', /float65/));
  });

  it('tensors without a storage of their own', () => {
    const sparse = aten['to_sparse']!(x) as Tensor;
    assert.deepEqual(sparse.shape, [2, 2]);
    assert.deepEqual((aten['to_dense']!(sparse) as Tensor).tolist(), x.tolist());
  });

  it('and say in one line what libtorch refuses', () => {
    for (const wrong of [() => aten['hspmm']!(x, x), () => aten['conv2d']!(x, x), () => x.reshape([3])]) {
      assert.throws(wrong, (error: Error & { code: string }) => {
        assert.equal(error.code, 'ERR_OP');
        assert.ok(error.message.length < 600 && !error.message.includes('\n'), error.message);
        return true;
      });
    }
    assert.throws(() => zeros([2 ** 50, 2 ** 50]), coded('ERR_OUT_OF_MEMORY', /overflow/));
  });
});
