import assert from 'node:assert/strict';
import { toSample } from '../../../ts/engine/sample-output';
import { Tensor } from '../../../ts/index';
import { HANDLE } from '../../../ts/tensor/handle';

describe('engine/sample-output', () => {
  const pixels = () => Tensor.from(Uint8Array.of(1, 2, 3, 4, 5, 6), [1, 2, 3]);

  it('is an image with a copy of the pixels, whose tensor it frees', () => {
    const tensor = pixels();
    const { width, height, channels, data } = toSample(tensor[HANDLE], 'image');
    assert.deepEqual([width, height, channels, [...data]], [2, 1, 3, [1, 2, 3, 4, 5, 6]]);
    assert.ok(tensor[HANDLE].disposed);
  });

  it('is the tensor itself otherwise', () => {
    for (const outputType of ['tensor', 'uint8', 'latent'] as const) {
      const tensor = pixels();
      const sample = toSample(tensor[HANDLE], outputType);
      assert.deepEqual([sample.shape, tensor[HANDLE].disposed], [[1, 2, 3], false]);
    }
  });
});
