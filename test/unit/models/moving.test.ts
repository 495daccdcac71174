import assert from 'node:assert/strict';
import { Generator, randn, TorchScriptModel } from '../../../ts/index';
import { loadUNet } from '../../../ts/models';
import { archive, MODEL, rejects } from './fixtures';
import { tinyUNet } from './tiny-unet';

describe('to', () => {
  it('wants options', async () => {
    for (const model of [tinyUNet(), await loadUNet(archive('tiny-unet')), await TorchScriptModel.load(archive('probe'))]) {
      await rejects(() => (model.to as () => Promise<unknown>)(), 'ERR_ARGUMENT', /^to: options must be an object, got undefined/);
    }
  });
});

describe('a model that is cast while it runs', () => {
  it('finishes the calls under way with the weights and dtype they began with', async () => {
    const unet = await loadUNet(MODEL);
    const x = randn([4, 1, 32, 32], { generator: new Generator({ seed: 0 }) });
    const expected = (await unet.forward(x, 500)).sample.toTypedArray();
    for (const dtype of ['float64', 'float32', 'float64', 'float32'] as const) {
      const before = unet.dtype;
      const pending = Promise.all([unet.forward(x, 500), unet.forward(x, 500), unet.forward(x, 500)]);
      const moved = unet.to({ dtype });
      for (const { sample } of await pending) {
        assert.equal(sample.dtype, before);
        if (before === 'float32') assert.deepEqual(sample.toTypedArray(), expected);
      }
      await moved;
      assert.equal(unet.dtype, dtype);
    }
  });
});
