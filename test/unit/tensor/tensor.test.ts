import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { Tensor, zeros, type DType } from '../../../ts/index';
import { freedBy } from './freed';

const code = (expected: string, message: RegExp) => (error: unknown) => {
  const { code: got, message: text } = error as { code?: string; message: string };
  assert.equal(got, expected, text);
  assert.match(text, message);
  return true;
};

describe('Tensor.from', () => {
  it('keeps the type of a typed array, and copies', () => {
    const data = Float64Array.of(1, 2, 3, 4);
    const x = Tensor.from(data, [2, 2]);
    data[0] = 99;
    assert.equal(x.dtype, 'float64');
    assert.deepEqual(x.tolist(), [[1, 2], [3, 4]]); // prettier-ignore
    assert.equal(Tensor.from(BigInt64Array.of(1n)).dtype, 'int64');
    assert.equal(Tensor.from(Int32Array.of(1)).dtype, 'int32');
    assert.equal(Tensor.from(Uint8Array.of(1)).dtype, 'uint8');
    assert.equal(Tensor.from(Float32Array.of(1)).dtype, 'float32');
  });

  it('reads a view into a larger buffer from its own offset', () => {
    const x = Tensor.from(new Float32Array(Float32Array.of(0, 1, 2, 3).buffer, 4, 2));
    assert.deepEqual(x.tolist(), [1, 2]);
  });

  it('takes nested numbers, booleans and bigints', () => {
    assert.equal(Tensor.from([[1, 2, 3]]).dtype, 'float32');
    assert.deepEqual(Tensor.from([[1, 2, 3]]).shape, [1, 3]);
    assert.equal(Tensor.from([true, false]).dtype, 'bool');
    assert.equal(Tensor.from([1n, 2n]).dtype, 'int64');
    assert.deepEqual(Tensor.from(7).shape, []);
    assert.deepEqual(Tensor.from([]).shape, [0]);
    assert.deepEqual(Tensor.from([1, 2, 3, 4], [2, 2]).shape, [2, 2]);
  });

  it('reads raw half bits', () => {
    // IEEE binary16: 1.0, −2.0, 65504; bfloat16: 1.0, −2.0
    const half = Tensor.from({ data: Uint16Array.of(0x3c00, 0xc000, 0x7bff), dims: [3], type: 'float16' });
    assert.deepEqual(half.tolist(), [1, -2, 65504]);
    const brain = Tensor.from({ data: Uint16Array.of(0x3f80, 0xc000), shape: [2, 1], dtype: 'bfloat16' });
    assert.deepEqual(brain.tolist(), [[1], [-2]]);
    assert.ok(brain.toTypedArray() instanceof Float32Array);
  });

  it('converts to a dtype', () => {
    assert.deepEqual(Tensor.from([1.5, -1.5], undefined, { dtype: 'int32' }).tolist(), [1, -1]);
  });

  it('frees what it converts from', async () => {
    let x!: Tensor;
    const freed = await freedBy(() => (x = Tensor.from([1.5], undefined, { dtype: 'float16' })));
    assert.deepEqual([freed.length, freed.includes(x)], [1, false]);
  });

  it('refuses what is no box of numbers, by name', () => {
    assert.throws(() => Tensor.from([[1, 2], [3]]), code('ERR_SHAPE', /data must be a box of shape \[2, 2\], got an array of 1/));
    assert.throws(() => Tensor.from([[1, 2], [3, 4, 5]]), code('ERR_SHAPE', /data must be a box of shape \[2, 2\], got an array of 3/));
    assert.throws(() => Tensor.from([1, [2]]), code('ERR_SHAPE', /data must be a box/));
    assert.throws(() => Tensor.from([1, 2n]), code('ERR_ARGUMENT', /data must hold numbers.*of one kind, got 2n/));
    assert.throws(() => Tensor.from(['a'] as never), code('ERR_ARGUMENT', /got "a"/));
    assert.throws(() => Tensor.from(null as never), code('ERR_ARGUMENT', /data must be .*got null/));
    assert.throws(() => Tensor.from(new Float32Array(5), [2, 2]), code('ERR_SHAPE', /shape \[2, 2\] wants 4 entries, data has 5/));
    assert.throws(() => Tensor.from(new Float32Array(1), [-1]), code('ERR_SHAPE', /shape must be .*≥ 0/));
    assert.throws(() => Tensor.from(new Uint16Array(1) as never), code('ERR_DTYPE', /got a Uint16Array/));
    assert.throws(
      () => Tensor.from({ data: new Float32Array(1), type: 'int64' }),
      code('ERR_DTYPE', /data of type int64 must be a BigInt64Array, got a Float32Array/),
    );
    assert.throws(() => Tensor.from({ data: Uint8Array.of(2), type: 'bool' }), code('ERR_ARGUMENT', /0 and 1 only/));
    assert.throws(() => Tensor.from([1], [1], { dtype: 'float31' as DType }), code('ERR_DTYPE', /dtype must be one of .*got "float31"/));
    assert.throws(() => Tensor.from([1], [1], { device: 'tpu' }), code('ERR_DEVICE', /device must be 'cpu'.*got 'tpu'/));
    assert.throws(() => Tensor.from([1], [1], { dtpye: 'float32' } as never), code('ERR_ARGUMENT', /"dtpye"; did you mean dtype/));
  });
});

describe('Tensor', () => {
  const x = Tensor.from([[1, 2, 3], [4, 5, 6]]); // prettier-ignore
  const list = (t: Tensor) => t.tolist();

  it('says what it is', () => {
    assert.deepEqual([x.shape, x.dtype, x.device, x.numel], [[2, 3], 'float32', 'cpu', 6]);
    assert.equal(inspect(x), 'Tensor(shape=[2, 3], dtype=float32, device=cpu)');
  });

  it('computes elementwise, with numbers and broadcasting', () => {
    const row = Tensor.from([1, 0, -1]);
    assert.deepEqual(list(x.add(1)), [[2, 3, 4], [5, 6, 7]]); // prettier-ignore
    assert.deepEqual(list(x.add(row)), [[2, 2, 2], [5, 5, 5]]); // prettier-ignore
    assert.deepEqual(list(x.sub(row)), [[0, 2, 4], [3, 5, 7]]); // prettier-ignore
    assert.deepEqual(list(x.mul(row)), [[1, 0, -3], [4, 0, -6]]); // prettier-ignore
    assert.deepEqual(list(x.div(2)), [[0.5, 1, 1.5], [2, 2.5, 3]]); // prettier-ignore
    assert.deepEqual(list(x.pow(2)), [[1, 4, 9], [16, 25, 36]]); // prettier-ignore
    assert.deepEqual(list(row.neg()), [-1, -0, 1]);
    assert.deepEqual(list(row.abs()), [1, 0, 1]);
    assert.deepEqual(list(Tensor.from([4, 9]).sqrt()), [2, 3]);
    assert.deepEqual(list(Tensor.from([0]).exp()), [1]);
    assert.deepEqual(list(x.clamp(2, 5)), [[2, 2, 3], [4, 5, 5]]); // prettier-ignore
    assert.deepEqual(list(x.clamp(null, 5)), [[1, 2, 3], [4, 5, 5]]); // prettier-ignore
    assert.deepEqual([list(row.clamp(0)), list(row.clamp(null, 0))], [[1, 0, 0], [0, 0, -1]]); // prettier-ignore
    assert.deepEqual(list(row.clamp(null, Tensor.from([0, 1, 2]))), [0, 0, -1]);
    assert.deepEqual(list(x.pow(row.abs())), [[1, 1, 3], [4, 1, 6]]); // prettier-ignore
    assert.deepEqual(list(Tensor.from([NaN]).clamp(0, 1)), [NaN]);
    assert.deepEqual(list(Tensor.from([NaN, 1, 9]).clamp(Tensor.from([2, 2, 2]), 5)), [NaN, 2, 5]);
    assert.deepEqual(list(Tensor.from([0, 3, 9]).clamp(2, Tensor.from([1, 4, 4]))), [1, 3, 4]); // the upper bound wins, as in torch
  });

  it('reduces', () => {
    assert.equal(x.mean().item(), 3.5);
    assert.deepEqual(list(x.sum(0)), [5, 7, 9]);
    assert.deepEqual(list(x.std(1)), [1, 1]);
    assert.ok(Math.abs(x.std(1, { correction: 0 }).tolist()[0 as never] - Math.sqrt(2 / 3)) < 1e-6);
    assert.deepEqual([x.amin().item(), x.amax().item()], [1, 6]);
    assert.deepEqual(list(x.amax(1)), [3, 6]);
    assert.throws(() => x.sum(0, { keepdim: { dtype: 'float64' } } as never), code('ERR_ARGUMENT', /keepdim must be a boolean/));
    for (const name of ['mean', 'sum', 'std', 'amin', 'amax'] as const) {
      assert.deepEqual(x[name](1).shape, [2], name);
      assert.deepEqual(x[name](1, { keepdim: true }).shape, [2, 1], name);
      assert.throws(() => x[name](0, { keepDim: true } as never), code('ERR_ARGUMENT', /keepDim.*did you mean keepdim/));
    }
  });

  it('changes shape as torch does', () => {
    assert.deepEqual(x.reshape([3, -1]).shape, [3, 2]);
    assert.deepEqual(list(x.permute([1, 0])), [[1, 4], [2, 5], [3, 6]]); // prettier-ignore
    assert.deepEqual(x.transpose(0, 1).shape, [3, 2]);
    assert.deepEqual(x.unsqueeze(0).shape, [1, 2, 3]);
    assert.deepEqual(x.unsqueeze(0).unsqueeze(3).squeeze().shape, [2, 3]);
    assert.deepEqual(x.unsqueeze(0).unsqueeze(3).squeeze(0).shape, [2, 3, 1]);
    assert.deepEqual(Tensor.from([[1], [2]]).expand([2, 2]).tolist(), [[1, 1], [2, 2]]); // prettier-ignore
    assert.deepEqual(list(x.slice(1, -2)), [[2, 3], [5, 6]]); // prettier-ignore
    assert.deepEqual(list(x.slice(1, 0, null, 2)), [[1, 3], [4, 6]]); // prettier-ignore
    assert.deepEqual(list(x.narrow(1, 1, 1)), [[2], [5]]);
    assert.deepEqual(x.chunk(2, 1).map((t) => t.shape), [[2, 2], [2, 1]]); // prettier-ignore
    assert.deepEqual(x.split(2, 1).map((t) => t.shape), [[2, 2], [2, 1]]); // prettier-ignore
    assert.deepEqual(x.split([1, 2], 1).map(list), [[[1], [4]], [[2, 3], [5, 6]]]); // prettier-ignore
    assert.deepEqual(list(x.flip([1])), [[3, 2, 1], [6, 5, 4]]); // prettier-ignore
    assert.deepEqual(list(x.transpose(0, 1).contiguous()), [[1, 4], [2, 5], [3, 6]]); // prettier-ignore
  });

  it('shares storage among views and not with clones', () => {
    const base = zeros([2, 2]);
    const view = base.narrow(0, 0, 1);
    const clone = base.clone();
    base.dispose();
    assert.deepEqual(list(view), [[0, 0]]);
    assert.deepEqual(clone.numel, 4);
  });

  it('converts dtype and memory format', () => {
    assert.equal(x.to({ dtype: 'bfloat16' }).dtype, 'bfloat16');
    const image = zeros([1, 3, 2, 2]);
    assert.deepEqual(image.to({ memoryFormat: 'channelsLast' }).shape, [1, 3, 2, 2]);
    assert.throws(() => x.to({ memoryFormat: 'channelsLast' }), code('ERR_SHAPE', /channelsLast wants \[N, C, H, W\]/));
    assert.throws(() => x.to({ memoryFormat: 'nhwc' as never }), code('ERR_ARGUMENT', /memoryFormat must be one of/));
  });

  it('gives exact numbers or throws', () => {
    assert.equal(Tensor.from([3n]).item(), 3);
    assert.throws(() => x.item(), code('ERR_SHAPE', /one entry, got shape \[2, 3\]/));
    assert.throws(() => Tensor.from([2n ** 60n]).item(), code('ERR_DTYPE', /1152921504606846976 is beyond 2\^53/));
    assert.deepEqual([...(Tensor.from([2n ** 60n]).toTypedArray() as BigInt64Array)], [2n ** 60n]);
  });

  it('is ERR_DISPOSED after dispose, which is idempotent', () => {
    const t = zeros([2]);
    t.dispose();
    t.dispose();
    const scoped = zeros([2]);
    scoped[Symbol.dispose]();
    assert.throws(() => scoped.shape, code('ERR_DISPOSED', /disposed/));
    assert.equal(inspect(t), 'Tensor(disposed)');
    assert.throws(() => t.shape, code('ERR_DISPOSED', /disposed/));
    assert.throws(() => t.add(1), code('ERR_DISPOSED', /disposed/));
    assert.throws(() => x.add(t), code('ERR_DISPOSED', /other is a Tensor that was disposed/));
  });

  it('reports what an operator refuses, without a C++ stack', () => {
    assert.throws(
      () => x.add(Tensor.from([1, 2])),
      (error: Error & { code: string }) => {
        assert.equal(error.code, 'ERR_OP');
        assert.match(error.message, /size of tensor/);
        assert.doesNotMatch(error.message, /frame #|\.so|\.cpp/);
        return true;
      },
    );
    assert.throws(() => zeros([2 ** 40, 2 ** 10]), code('ERR_OUT_OF_MEMORY', /^DefaultCPUAllocator: can't allocate memory/));
  });
});
