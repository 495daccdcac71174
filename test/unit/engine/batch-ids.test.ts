import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BatchIds, digestOptions, seedOfId } from '../../../ts/engine/batch-ids';

describe('engine/batch-ids', () => {
  it('says who was first, as a Map would, through every growth', () => {
    const ids = new BatchIds();
    const first = new Map<string, number>();
    for (let line = 1; line <= 50_000; line++) {
      const id = `r${(line * 7919) % 30_011}`;
      if (!first.has(id)) first.set(id, line);
      assert.equal(ids.claim(id, line), first.get(id));
    }
  });

  it('knows what is finished with what options, if its file is there', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom('claim', 'finish', 'found'), fc.nat(20), fc.nat(3))), (calls) => {
        const ids = new BatchIds();
        const [finished, onDisk] = [new Map<string, bigint>(), new Set<string>()];
        for (const [call, n, options] of calls) {
          const id = `r${n}`;
          if (call === 'claim') ids.claim(id, n + 1);
          if (call === 'finish') {
            ids.finish(id, BigInt(options));
            finished.set(id, BigInt(options));
            onDisk.delete(id);
          }
          if (call === 'found') {
            ids.found(id);
            if (finished.has(id)) onDisk.add(id);
          }
        }
        for (let n = 0; n <= 20; n++) {
          const id = `r${n}`;
          assert.equal(ids.finishedWith(id), onDisk.has(id) ? finished.get(id) : undefined);
        }
        assert.equal(ids.finished, finished.size);
      }),
    );
  });

  it('tells options apart, seeds included, and gives an id the same seed always', () => {
    const options = { scheduler: 'ddim', numInferenceSteps: 5, eta: 0 };
    const digests = [
      digestOptions(1n, options),
      digestOptions(2n, options),
      digestOptions(1n, { ...options, eta: 0.5 }),
      digestOptions(1n, { ...options, numInferenceSteps: 6 }),
    ];
    assert.equal(new Set(digests).size, digests.length);
    assert.equal(digestOptions(1n, JSON.parse(JSON.stringify(options)) as object), digests[0]);
    // int.from_bytes(hashlib.sha256(b'seed of r1').digest()[:6], 'little')
    assert.equal(seedOfId('r1'), 278_590_788_872_942n);
  });
});
