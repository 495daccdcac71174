import assert from 'node:assert/strict';
import { DDIMPipeline, DDIMScheduler, Tensor, UNet2DModel, arange, ops, randn, setNumThreads, zeros } from '../../../ts/index';
import { addon } from '../../../ts/native/addon';
import { wrapTensor } from '../../../ts/tensor/tensor';

type Resizable = ArrayBuffer & { resize(bytes: number): void };
const resizable = (bytes: number): Resizable =>
  new (ArrayBuffer as unknown as new (bytes: number, options: object) => Resizable)(bytes, { maxByteLength: bytes });

describe('tensor: arguments that are made to hurt', () => {
  /** A shape whose first entry runs `act` when it is read for the n-th time. */
  const shapeThat = (n: number, act: () => void): number[] => {
    let reads = 0;
    return Object.defineProperty([1000], 0, {
      get() {
        reads += 1;
        if (reads === n) act();
        return 1000;
      },
    });
  };

  it('a shape that detaches the data, or shrinks it, while it is read', () => {
    for (let n = 1; n <= 6; n++) {
      const data = new Float32Array(1000).fill(1);
      const detach = shapeThat(n, () => void structuredClone(data.buffer, { transfer: [data.buffer] }));
      const buffer = resizable(4000);
      const shrink = shapeThat(n, () => buffer.resize(8));
      for (const [values, shape] of [[data, detach], [new Float32Array(buffer), shrink]] as const) {
        try {
          const entry = values === data ? 1 : 0;
          assert.deepEqual(Tensor.from(values, shape).tolist(), new Array(1000).fill(entry));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'ERR_SHAPE', String(error));
        }
      }
    }
  });

  it('a list that grows while it is read', () => {
    const sizes = [1, 1];
    Object.defineProperty(sizes, 0, {
      get() {
        if (sizes.length < 100_000) sizes.push(...new Array<number>(1000).fill(1));
        return 1;
      },
    });
    // Straight to the addon: what is public copies its lists.
    assert.equal(wrapTensor(addon().tensorFrom(new Float32Array(1), sizes, 'float32')).numel, 1);
  });

  it('lists without end', () => {
    const endless = new Array<number>(2 ** 32 - 1);
    for (const make of [randn, zeros]) assert.throws(() => make(endless), { code: 'ERR_SHAPE', message: /got an array of 4294967295/ });
    assert.throws(() => Tensor.from(new Float32Array(1), new Array<number>(65).fill(1)), { code: 'ERR_SHAPE' });
    assert.throws(() => ops.aten['reshape']!(zeros([1]), new Int32Array(2 ** 21)), { code: 'ERR_ARGUMENT', message: /at most 1048576 entries/ });
  });

  it('options that hide what they hold', () => {
    const map = new Map([['dtype', 'int64']]);
    assert.throws(() => zeros([2], map as never), { code: 'ERR_ARGUMENT', message: /options must be a plain object, got a Map/ });
    assert.throws(() => arange(0, 3, 1, zeros([1]) as never), { code: 'ERR_ARGUMENT', message: /must be a plain object, got a Tensor/ });
    class Options {
      dtype = 'int64' as const;
    }
    assert.equal(zeros([2], new Options()).dtype, 'int64');
    assert.equal(zeros([2], Object.assign(Object.create(null) as object, { dtype: 'int32' as const })).dtype, 'int32');
  });

  it('values that can not be shown', () => {
    const buffer = resizable(16);
    const beyond = new Float32Array(buffer, 8);
    buffer.resize(4);
    for (const call of [() => zeros(beyond as never), () => setNumThreads(beyond as never), () => new DDIMScheduler(beyond as never)]) {
      assert.throws(call, (error: { code?: string }) => /^ERR_/.test(error.code ?? ''));
    }
  });

  it('keys on Object.prototype', () => {
    const prototype = Object.prototype as unknown as Record<string, unknown>;
    prototype['numInferenceSteps'] = 1;
    try {
      assert.deepEqual(zeros([2]).tolist(), [0, 0]);
    } finally {
      delete prototype['numInferenceSteps'];
    }
  });

  it('a bigint in a config, a UNet that is none', () => {
    assert.throws(() => UNet2DModel.fromConfig({ sampleSize: 8, anything: 1n } as never), { code: 'ERR_CONFIG', message: /anything must hold what JSON can, got 1n/ });
    const unet = UNet2DModel.fromConfig({ inChannels: 1, outChannels: 1, blockOutChannels: [8], downBlockTypes: ['DownBlock2D'], upBlockTypes: ['UpBlock2D'], normNumGroups: 4 });
    const pipe = new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });
    for (const wrong of [undefined, 5, {}]) {
      assert.throws(() => void (pipe.unet = wrong as never), { code: 'ERR_ARGUMENT', message: /unet must be a model/ });
    }
    assert.equal(pipe.unet, unet);
  });

  it('what libtorch says has no places of its sources', () => {
    const convolve = () => ops.aten['convolution']!(zeros([1, 1, 4, 4]), zeros([1, 1, 3, 3]), null, [1, 1], [-(2 ** 53) + 1, 0], [1, 1], false, [0, 0], 1);
    assert.throws(convolve, (error: Error) => !/\.(?:cpp|h):\d/.test(error.message));
  });
});
