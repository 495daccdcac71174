import assert from 'node:assert/strict';
import { Generator, manualSeed, randn } from '../../../ts/index';

const draw = (generator?: Generator): number[] =>
  randn([3], generator === undefined ? {} : { generator }).tolist() as number[];

describe('Generator', () => {
  it('starts from torch’s default seed', () => {
    assert.deepEqual(draw(new Generator()), draw(new Generator({ seed: 67280421310721n })));
  });

  it('reseeds, and returns itself', () => {
    const generator = new Generator({ seed: 3 });
    const first = draw(generator);
    assert.notDeepEqual(draw(generator), first);
    assert.equal(generator.manualSeed(3), generator);
    assert.deepEqual(draw(generator), first);
  });

  it('takes numbers and bigints, negative ones modulo 2^64 as torch does', () => {
    assert.deepEqual(draw(new Generator({ seed: 5 })), draw(new Generator({ seed: 5n })));
    assert.deepEqual(draw(new Generator({ seed: -1 })), draw(new Generator({ seed: 2n ** 64n - 1n })));
    assert.deepEqual(draw(new Generator().manualSeed(-1)), draw(new Generator({ seed: -1 })));
    for (const seed of [1.5, NaN, 2 ** 53, 2n ** 64n, '1']) {
      assert.throws(() => new Generator({ seed: seed as number }), { code: 'ERR_ARGUMENT', message: /seed must be an integer/ });
      assert.throws(() => new Generator().manualSeed(seed as number), { code: 'ERR_ARGUMENT', message: /seed must be an integer/ });
    }
  });

  it('saves and restores its state', () => {
    const generator = new Generator({ seed: 1 });
    draw(generator);
    const state = generator.getState();
    const next = draw(generator);
    assert.deepEqual(draw(new Generator().setState(state)), next);
  });

  it('refuses a state that is no tensor', () => {
    for (const state of [undefined, null, {}, new Uint8Array(5056)]) {
      assert.throws(() => new Generator().setState(state as never), { code: 'ERR_ARGUMENT', message: /state must be a Tensor/ });
    }
  });

  it('refuses unknown options and devices', () => {
    assert.throws(() => new Generator({ sed: 1 } as never), { code: 'ERR_ARGUMENT', message: /"sed"; did you mean seed/ });
    assert.throws(() => new Generator({ device: 'gpu' }), { code: 'ERR_DEVICE', message: /got 'gpu'/ });
  });

  it('manualSeed seeds the default generator and returns it', () => {
    const generator = manualSeed(11);
    const first = draw();
    manualSeed(11);
    assert.deepEqual(draw(generator), first);
    assert.deepEqual(first, draw(new Generator({ seed: 11 })));
  });
});
