import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cat, ones, randn, Tensor, zeros } from '../../../ts/index';
import { freedBy } from '../tensor/freed';
import { rejects } from './fixtures';
import { noise, tinyUNet } from './tiny-unet';

describe('models/UNet2DModel under use', () => {
  describe('forward', () => {
    it('gives each sample what it gets alone, at its own timestep', async () => {
      const unet = tinyUNet();
      const x = noise([3, 2, 8, 16]);
      const { sample } = await unet.forward(x, [0, 500, 999]);
      assert.deepEqual(sample.shape, [3, 2, 8, 16]);
      for (const [i, t] of [0, 500, 999].entries()) {
        const alone = (await unet.forward(x.narrow(0, i, 1), t)).sample;
        assert.ok(alone.sub(sample.narrow(0, i, 1)).abs().amax().item() < 1e-5);
      }
    });

    it('casts the sample and answers in the model’s dtype', async () => {
      const unet = tinyUNet();
      const x = noise([1, 2, 8, 8]);
      const single = (await unet.forward(x, 1)).sample;
      const doubled = (await unet.forward(x.to({ dtype: 'float64' }), 1)).sample;
      assert.equal(doubled.dtype, 'float32');
      assert.deepEqual(doubled.toTypedArray(), single.toTypedArray());
    });

    it('frees the tensors that it makes of its inputs, and no other', async () => {
      const table = tinyUNet({ numClassEmbeds: 3 });
      const [x, timestep, classLabels] = [noise([2, 2, 8, 8]), Tensor.from([1n]), Tensor.from([0n, 1n])];
      assert.equal((await freedBy(() => table.forward(x, 1, { classLabels: [0, 1] }))).length, 3); // timesteps; the list, and what it became
      const freed = await freedBy(() => table.forward(x, timestep, { classLabels }));
      assert.equal(freed.length, 3); // what was cast, and spread over the batch; a handle on the labels
      assert.ok(![x, timestep, classLabels].some((given) => freed.includes(given)));
      assert.equal((await freedBy(() => table.forward(x, 1, { classLabels: [0, 7] }).catch(() => undefined))).length, 2);
    });

    it('refuses inputs that do not fit', async () => {
      const unet = tinyUNet();
      const x = zeros([2, 2, 8, 8]);
      await rejects(() => unet.forward([1] as never, 1), 'ERR_ARGUMENT', /sample must be a Tensor/);
      await rejects(() => unet.forward(zeros([2, 3, 8, 8]), 1), 'ERR_SHAPE', /\[B, 2, H, W\], got \[2, 3, 8, 8\]/);
      await rejects(() => unet.forward(zeros([1, 2, 7, 8]), 1), 'ERR_SHAPE', /multiples of 2/);
      await rejects(() => unet.forward(ones([1, 2, 8, 8], { dtype: 'int64' }), 1), 'ERR_DTYPE', /floating/);
      await rejects(() => unet.forward(x, [1, 2, 3]), 'ERR_ARGUMENT', /one number or 2/);
      await rejects(() => unet.forward(x, NaN), 'ERR_TIMESTEP', /finite/);
      await rejects(() => unet.forward(x, zeros([2], { dtype: 'bool' })), 'ERR_DTYPE', /timestep must be of numbers, got bool/);
      await rejects(() => unet.forward(x, 1, { classLabels: [0, 1] }), 'ERR_ARGUMENT', /takes no classes/);
      await rejects(() => unet.forward(x, 1, { clasLabels: [0] } as never), 'ERR_ARGUMENT', /did you mean classLabels/);
      await rejects(() => unet.forward(x, 1, { signal: 1 } as never), 'ERR_ARGUMENT', /signal must be an AbortSignal/);
    });

    it('wants classes of a class-conditional model, in its range or as embeddings', async () => {
      const table = tinyUNet({ numClassEmbeds: 3 });
      const x = noise([2, 2, 8, 8]);
      await rejects(() => table.forward(x, 1), 'ERR_ARGUMENT', /classLabels is missing/);
      await rejects(() => table.forward(x, 1, { classLabels: [0, 3] }), 'ERR_ARGUMENT', /0 … 2, got 3/);
      const [zero, one] = await Promise.all([[0, 0], [0, 1]].map((classLabels) => table.forward(x, 1, { classLabels })));
      const moved = zero!.sample.sub(one!.sample).abs().amax([1, 2, 3]).tolist() as number[];
      assert.ok(moved[0]! < 1e-6 && moved[1]! > 1e-4, String(moved));

      const identity = tinyUNet({ classEmbedType: 'identity' });
      await identity.forward(x, 1, { classLabels: zeros([2, 32]) });
      await rejects(() => identity.forward(x, 1, { classLabels: [0, 1] }), 'ERR_DTYPE', /must be embeddings/);
      await rejects(() => identity.forward(x, 1, { classLabels: zeros([2, 31]) }), 'ERR_SHAPE', /32/);
      const timestep = tinyUNet({ classEmbedType: 'timestep' });
      assert.deepEqual((await timestep.forward(x, 1, { classLabels: [500, 7] })).sample.shape, [2, 2, 8, 8]);
    });
  });

  describe('under way', () => {
    const BIG = { blockOutChannels: [32, 64], sampleSize: 32 } as const;

    it('forwards run side by side, as each does alone', async () => {
      const unet = tinyUNet(BIG);
      const inputs = Array.from({ length: 8 }, (_, i) => noise([1, 2, 16, 16], i));
      const together = await Promise.all(inputs.map((x, i) => unet.forward(x, i * 100)));
      for (const [i, { sample }] of together.entries()) {
        const alone = (await unet.forward(inputs[i]!, i * 100)).sample;
        assert.ok(alone.sub(sample).abs().amax().item() < 1e-5, `forward ${i}`);
      }
    });

    it('disposing the model or the inputs frees nothing under a call', async () => {
      const unet = tinyUNet(BIG);
      const x = noise([4, 2, 32, 32]);
      const expected = (await unet.forward(x, 10)).sample.toTypedArray();
      const calls = [unet.forward(x, 10), unet.forward(x, 10), unet.forward(x, 10)];
      x.dispose();
      unet.dispose();
      unet.dispose();
      for (const { sample } of await Promise.all(calls)) assert.deepEqual(sample.toTypedArray(), expected);
      await rejects(() => unet.forward(zeros([1, 2, 8, 8]), 1), 'ERR_DISPOSED', /disposed/);
      await rejects(() => unet.to({ dtype: 'float64' }), 'ERR_DISPOSED', /disposed/);
      await rejects(() => unet.savePretrained(join(tmpdir(), 'unet2d-disposed')), 'ERR_DISPOSED', /disposed/);
    });

    it('a signal ends a call soon, and the model stays usable', async () => {
      const unet = tinyUNet({ blockOutChannels: [64, 128], sampleSize: 64 });
      const x = randn([16, 2, 64, 64]);
      const controller = new AbortController();
      const calls = Array.from({ length: 6 }, () => unet.forward(x, 1, { signal: controller.signal }));
      const ended = Promise.allSettled(calls);
      await new Promise((resolve) => setTimeout(resolve, 5));
      controller.abort('enough');
      for (const result of await ended) {
        assert.equal(result.status, 'rejected');
        const { code, cause } = result.reason as { code: string; cause: unknown };
        assert.deepEqual([code, cause], ['ERR_ABORTED', 'enough']);
      }
      const before = performance.now();
      await unet.forward(noise([1, 2, 8, 8]), 1);
      assert.ok(performance.now() - before < 5000, 'calls that were cancelled still run');
      await rejects(() => unet.forward(x, 1, { signal: AbortSignal.abort() }), 'ERR_ABORTED', /aborted/);
    });

    it('many calls listen once to the signal that they share, of which Node would warn', async () => {
      const unet = tinyUNet();
      const { signal } = new AbortController();
      const calls = Array.from({ length: 12 }, () => unet.forward(noise([1, 2, 8, 8]), 1, { signal }));
      assert.equal(getEventListeners(signal, 'abort').length, 1);
      await Promise.all(calls);
    });

    it('to() casts in place; calls under way end with the old weights', async () => {
      const unet = tinyUNet();
      const x = noise([1, 2, 8, 8]);
      const expected = (await unet.forward(x, 1)).sample;
      const pending = unet.forward(x, 1);
      const moved = unet.to({ dtype: 'float64' });
      assert.deepEqual((await pending).sample.toTypedArray(), expected.toTypedArray());
      assert.equal(await moved, unet);
      assert.equal(unet.dtype, 'float64');
      const double = (await unet.forward(x, 1)).sample;
      assert.equal(double.dtype, 'float64');
      assert.ok(double.sub(expected).abs().amax().item() < 1e-5);
      await rejects(() => unet.to({ dtype: 'int32' }), 'ERR_DTYPE', /got int32/);
      await rejects(() => unet.to({ device: 'cuda:77' }), 'ERR_DEVICE', /'cuda:77'/);
      await rejects(() => unet.to({ memoryFormat: 'x' } as never), 'ERR_ARGUMENT', /unknown option/);
      assert.equal(unet.dtype, 'float64');
      const last = unet.to({ dtype: 'float32' });
      unet.dispose();
      await last;
      await rejects(() => unet.forward(x, 1), 'ERR_DISPOSED', /disposed/);
    });

    it('is disposed at the end of its scope', async () => {
      const kept = tinyUNet();
      kept[Symbol.dispose]();
      await rejects(() => kept.forward(cat([noise([1, 2, 8, 8])]), 1), 'ERR_DISPOSED', /disposed/);
    });
  });
});
