import assert from 'node:assert/strict';
import { ops, Tensor, zeros, type DType } from '../../../ts/index';

const from = (data: unknown, dtype?: DType, shape?: number[]): Tensor =>
  Tensor.from(data as never, shape, dtype === undefined ? {} : { dtype });

const refuses = (f: () => unknown, code: string, message: RegExp): void => assert.throws(f, { code, message });

describe('tensor/nested-numbers', () => {
  it('builds numbers in the dtype that is wanted, without float32 between', () => {
    const odd = 2 ** 24 + 1;
    assert.deepEqual(from([odd], 'int64').toTypedArray(), BigInt64Array.of(BigInt(odd)));
    assert.deepEqual(from([odd], 'int32').toTypedArray(), Int32Array.of(odd));
    assert.deepEqual(from([[0.1]], 'float64').tolist(), [[0.1]]);
    assert.deepEqual(from({ data: [odd], type: 'int64' }).toTypedArray(), BigInt64Array.of(BigInt(odd)));
    assert.deepEqual(from({ data: [0.1], dims: [1, 1], dtype: 'float64' }).tolist(), [[0.1]]);
    assert.deepEqual(from({ data: [0.1] }, 'float64').tolist(), [0.1]);
    assert.deepEqual(from([2n ** 53n], 'float64').tolist(), [2 ** 53]);
    assert.deepEqual(from([0, -0, 0.5, NaN], 'bool').tolist(), [0, 0, 1, 1]);
    assert.deepEqual(from([255.9, -0.5], 'uint8').tolist(), [255, 0]);
    assert.deepEqual(from([true, false], 'float64').tolist(), [1, 0]);
    for (const dtype of ['float16', 'bfloat16'] as const) {
      assert.deepEqual([from([1.5], dtype).dtype, from([1.5], dtype).tolist()], [dtype, [1.5]]);
      assert.deepEqual([from({ data: [2n], type: dtype }).dtype, from([2n], dtype).tolist()], [dtype, [2]]);
    }
    assert.equal(from({ data: [1], type: 'int32' }, 'float64').dtype, 'float64');
  });

  it('refuses numbers that an integer dtype does not have', () => {
    refuses(() => from([0, 256], 'uint8'), 'ERR_ARGUMENT', /dtype uint8 must be in its range, got 256 at entry 1/);
    refuses(() => from([-1], 'uint8'), 'ERR_ARGUMENT', /uint8.*got -1/);
    refuses(() => from([2 ** 31], 'int32'), 'ERR_ARGUMENT', /int32.*got 2147483648/);
    refuses(() => from([2 ** 63], 'int64'), 'ERR_ARGUMENT', /int64.*at entry 0/);
    refuses(() => from([NaN], 'int64'), 'ERR_ARGUMENT', /int64.*got NaN/);
    refuses(() => from([1n, 2n ** 63n]), 'ERR_ARGUMENT', /bigints of int64.*got 9223372036854775808n at entry 1/);
    assert.deepEqual(from([-(2n ** 63n)]).toTypedArray(), BigInt64Array.of(-(2n ** 63n)));
  });

  it('names the entry that is no number', () => {
    refuses(() => from([1, undefined]), 'ERR_ARGUMENT', /got undefined at entry 1/);
    refuses(() => from([undefined, 1]), 'ERR_ARGUMENT', /got undefined at entry 0/);
    refuses(() => from([1, , 3]), 'ERR_ARGUMENT', /got undefined at entry 1/);
    refuses(() => from([[1, 2], [3, null]]), 'ERR_ARGUMENT', /got null at entry 3/); // prettier-ignore
    refuses(() => from([null]), 'ERR_ARGUMENT', /got null at entry 0/);
    refuses(() => from([1, {}]), 'ERR_ARGUMENT', /got an object at entry 1/);
    refuses(() => from({ data: undefined }), 'ERR_ARGUMENT', /got undefined at entry 0/);
  });

  it('ends at 64 dimensions, in a cycle and in a box too large', () => {
    const nestedIn = (depth: number): unknown => Array.from({ length: depth }).reduce((inner) => [inner], 7);
    assert.equal(from(nestedIn(64)).shape.length, 64);
    refuses(() => from(nestedIn(65)), 'ERR_SHAPE', /nest at most 64 deep/);
    refuses(() => from(nestedIn(100_000)), 'ERR_SHAPE', /nest at most 64 deep/);
    const cycle: unknown[] = [];
    cycle.push(cycle);
    refuses(() => from(cycle), 'ERR_SHAPE', /is there a cycle/);
    refuses(() => from({ data: cycle }), 'ERR_SHAPE', /is there a cycle/);
    const shared = Array.from({ length: 40 }).reduce((inner) => [inner, inner], 7);
    refuses(() => from(shared), 'ERR_SHAPE', /must be a typed array/);
  });
});

describe('tensor/tensor-data', () => {
  it('refuses a description that contradicts itself or has other keys', () => {
    const data = Float32Array.of(1, 2);
    refuses(() => from({ data, dims: [2], shape: [1, 2] }), 'ERR_ARGUMENT', /dims and shape must agree.*\[2\] and \[1, 2\]/);
    refuses(() => from({ data, type: 'float32', dtype: 'int32' }), 'ERR_ARGUMENT', /type and dtype must agree.*float32 and int32/);
    refuses(() => from({ data, dimz: [2] }), 'ERR_ARGUMENT', /unknown option "dimz"; did you mean dims/);
    assert.deepEqual(from({ data, dims: [2], shape: [2], type: 'float32', dtype: 'float32' }).tolist(), [1, 2]);
  });

  it('takes the tensors of other libraries, objects of classes with more keys', () => {
    class Foreign {
      readonly data = Float32Array.of(1, 2);
      readonly dims = [1, 2];
      readonly type = 'float32';
      readonly location = 'cpu';
    }
    assert.deepEqual(from(new Foreign()).tolist(), [[1, 2]]);
  });

  it('copies views of shared memory', () => {
    const view = new Float32Array(new SharedArrayBuffer(16), 4, 2);
    view.set([3, 4]);
    assert.deepEqual(from(view).tolist(), [3, 4]);
    assert.deepEqual(from({ data: view, dims: [2, 1] }).tolist(), [[3], [4]]);
    const bits = new Uint8Array(new SharedArrayBuffer(1)).fill(2);
    refuses(() => from({ data: bits, type: 'bool' }), 'ERR_ARGUMENT', /0 and 1 only/);
  });
});

describe('arguments of tensors', () => {
  it('to wants options', () => {
    refuses(() => (zeros([1]).to as () => unknown)(), 'ERR_ARGUMENT', /to: options must be an object, got undefined/);
    refuses(() => zeros([1]).to(null as never), 'ERR_ARGUMENT', /to: options must be an object, got null/);
  });

  it('to keeps a dtype that has no name here', () => {
    const complex = ops.aten['view_as_complex']!(zeros([3, 2])) as Tensor;
    const moved = complex.to({ device: 'cpu', memoryFormat: 'contiguous' });
    assert.deepEqual([moved.dtype, moved.shape], [complex.dtype, [3]]);
  });

  it('more entries than lists are good for belong into a typed array', () => {
    const row = new Array<number>(2 ** 13 + 1).fill(0);
    const message = /data of more than 67108864 entries must be a typed array, got nested arrays of 67117056$/;
    refuses(() => Tensor.from(new Array<number[]>(2 ** 13).fill(row)), 'ERR_SHAPE', message);
  });

  it('a cycle in an operator’s arguments ends', () => {
    const list: unknown[] = [];
    list.push(list);
    const record: Record<string, unknown> = {};
    record['self'] = new Map([['self', record]]);
    for (const cycle of [list, record]) {
      refuses(() => ops.aten['silu']!(cycle), 'ERR_ARGUMENT', /nest at most 64 deep/);
    }
  });
});
