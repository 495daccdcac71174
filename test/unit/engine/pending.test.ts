import assert from 'node:assert/strict';
import { PendingSample } from '../../../ts/engine/pending';
import { zeros } from '../../../ts/index';
import type { EngineRequest } from '../../../ts/native/addon-types';
import { HANDLE } from '../../../ts/tensor/handle';

describe('engine/pending', () => {
  /** A request that was given up before the engine knew. */
  async function abandoned(): Promise<{ pending: PendingSample; told: () => number }> {
    const controller = new AbortController();
    const { signal } = controller;
    let told = 0;
    const read = { native: {} as EngineRequest, outputType: 'tensor', tensors: [], due: undefined } as const;
    const pending = new PendingSample(read, { scheduler: {}, signal }, () => void (told += 1));
    controller.abort();
    await assert.rejects(pending.promise, { code: 'ERR_ABORTED' });
    return { pending, told: () => told };
  }

  it('frees what still comes of a request that was given up, and ends it once', async () => {
    const { pending, told } = await abandoned();
    const [preview, output] = [zeros([1])[HANDLE], zeros([1])[HANDLE]];
    assert.equal(pending.settle({ kind: 'step', id: 1, step: 1, totalSteps: 2, timestep: 500, preview }), undefined);
    assert.equal(pending.settle({ kind: 'done', id: 1, output, milliseconds: 1 }), undefined);
    assert.deepEqual([preview.disposed, output.disposed, told()], [true, true, 1]);
  });
});
