import assert from 'node:assert/strict';
import { createContext, runInContext } from 'node:vm';
import { DDIMScheduler, DiffusionImage, Tensor, ones, tidy } from '../../../ts/index';

/** What a vm context makes (a test runner has one for each file) is of other classes than ours. */
describe('tensor: values of another realm', () => {
  const context = createContext({});
  const there = <T>(code: string): T => runInContext(code, context) as T;

  it('typed arrays are what they are', () => {
    const kinds = { Float32Array: 'float32', Float64Array: 'float64', BigInt64Array: 'int64', Int32Array: 'int32', Uint8Array: 'uint8', Uint8ClampedArray: 'uint8' };
    for (const [name, dtype] of Object.entries(kinds)) {
      const data = there<Float32Array>(`${name}.of(${name.startsWith('Big') ? '1n, 2n' : '1, 2'})`);
      assert.ok(!(data instanceof Float32Array));
      const tensor = Tensor.from(data);
      assert.deepEqual([tensor.dtype, tensor.tolist()], [dtype, [1, 2]]);
    }
    const bits = there<Uint16Array>('Uint16Array.of(0x3c00)');
    assert.equal(Tensor.from({ data: bits, dims: [1], type: 'float16' }).item(), 1);
    assert.throws(() => Tensor.from(there<Float32Array>('new Int8Array(1)')), { code: 'ERR_DTYPE', message: /got a Int8Array/ });
  });

  it('records, Maps and Sets keep the tensors that tidy returns', () => {
    for (const code of ['(t) => ({ t })', '(t) => [t]', '(t) => new Map([[1, t]])', '(t) => new Set([t])']) {
      const hold = there<(tensor: Tensor) => unknown>(code);
      let made: Tensor | undefined;
      tidy(() => hold((made = ones([2]))));
      assert.equal(made!.numel, 2, code);
      assert.deepEqual(made!.tolist(), [1, 1], code);
    }
    assert.throws(() => tidy(there<() => never>('async () => 1')), { code: 'ERR_ARGUMENT', message: /must not be async/ });
  });

  it('options, configs and pixels are read', () => {
    const scheduler = new DDIMScheduler(there<object>('({ numTrainTimesteps: 2, trainedBetas: Float32Array.of(0.5, 0.25) })'));
    assert.deepEqual([...scheduler.betas], [0.5, 0.25]);
    assert.equal(new DiffusionImage(there<Uint8Array>('new Uint8Array(4)'), { width: 2, height: 2, channels: 1 }).data.length, 4);
  });
});
