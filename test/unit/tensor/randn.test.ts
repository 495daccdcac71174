import assert from 'node:assert/strict';
import { DiffusersError, Generator, manualSeed, randn, type Tensor } from '../../../ts/index';

const numbers = (tensor: Tensor): number[] => Array.from(tensor.toTypedArray() as Float64Array, Number);
const fresh = (seed: number | bigint): Generator => new Generator({ seed });
const draw = (generator: Generator | Generator[], shape = [20]): number[] => numbers(randn(shape, { generator }));

function throwsCode(run: () => unknown, code: string, message: RegExp): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof DiffusersError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

describe('tensor/randn', () => {
  it('is float32 unless told', () => {
    assert.equal(randn([3]).dtype, 'float32');
    assert.equal(randn([3], { dtype: 'float64' }).dtype, 'float64');
    assert.deepEqual([...randn([2, 0, 3]).shape], [2, 0, 3]);
  });

  it('without a generator the default one draws, and manualSeed seeds and returns it', () => {
    const generator = manualSeed(5);
    assert.ok(generator instanceof Generator);
    const first = numbers(randn([20]));
    assert.deepEqual(first, draw(fresh(5)));
    manualSeed(5);
    assert.deepEqual(draw(generator), first, 'what manualSeed returns is the default generator itself');
    assert.notDeepEqual(numbers(randn([20])), first, 'it was advanced');
  });

  it('numbers and bigints are one seed; above 2⁵³ a bigint is needed', () => {
    assert.deepEqual(draw(fresh(7)), draw(fresh(7n)));
    assert.notDeepEqual(draw(fresh(2n ** 53n + 1n)), draw(fresh(2n ** 53n)));
    assert.deepEqual(draw(fresh(2n ** 64n - 1n)).length, 20);
    for (const seed of [2 ** 53 + 2, 0.5, NaN, -1.5, '7', null, {}, 2n ** 64n]) {
      throwsCode(() => new Generator({ seed: seed as never }), 'ERR_ARGUMENT', /seed/);
    }
  });

  it("a negative seed is torch's two's complement", () => {
    assert.deepEqual(draw(fresh(-1)), draw(fresh(2n ** 64n - 1n)));
  });

  it('manualSeed(seed) of a generator restarts it and returns it', () => {
    const generator = fresh(1);
    draw(generator);
    assert.equal(generator.manualSeed(9), generator);
    assert.deepEqual(draw(generator), draw(fresh(9)));
    assert.equal(generator.device, 'cpu');
  });

  it('getState and setState take a generator back', () => {
    const generator = fresh(3);
    draw(generator, [7]); // leaves half a Box-Muller pair behind
    const state = generator.getState();
    const next = draw(generator, [5]);
    assert.notDeepEqual(draw(generator, [5]), next);
    generator.setState(state);
    assert.deepEqual(draw(generator, [5]), next);
    const other = new Generator();
    other.setState(state);
    assert.deepEqual(draw(other, [5]), next);
  });

  it('generators are independent of each other and of the default one', () => {
    const [a, b] = [fresh(4), fresh(4)];
    draw(a);
    randn([50]);
    assert.deepEqual(draw(b), draw(fresh(4)));
  });

  it('a list draws sample by sample', () => {
    const got = draw([fresh(1), fresh(2)], [2, 3]);
    assert.deepEqual(got, [...draw(fresh(1), [1, 3]), ...draw(fresh(2), [1, 3])]);
  });

  it('a list of one counts as that one', () => {
    assert.deepEqual(draw([fresh(1)], [4, 5]), draw(fresh(1), [4, 5]));
  });

  it('one generator twice in a list draws on', () => {
    const [twice, alone] = [fresh(1), fresh(1)];
    const got = draw([twice, twice], [2, 3]);
    assert.deepEqual(got, [...draw(alone, [1, 3]), ...draw(alone, [1, 3])]);
  });

  it('refuses a list that does not match the batch, and what is no generator', () => {
    throwsCode(() => draw([fresh(1), fresh(2)], [3, 3]), 'ERR_ARGUMENT', /generator.*3.*2/);
    throwsCode(() => draw([fresh(1), fresh(2)], []), 'ERR_SHAPE', /shape/);
    throwsCode(() => draw([], [3]), 'ERR_ARGUMENT', /generator/);
    throwsCode(() => draw(7 as never), 'ERR_ARGUMENT', /generator/);
    throwsCode(() => draw([fresh(1), 7] as never, [2, 3]), 'ERR_ARGUMENT', /generator/);
    throwsCode(() => randn([3], { generatr: fresh(1) } as never), 'ERR_ARGUMENT', /generatr/);
  });

  it('refuses bad shapes, dtypes and devices', () => {
    for (const shape of [[-1], [1.5], [NaN], 'x', null, 3, [2, '3']]) {
      throwsCode(() => randn(shape as never), 'ERR_SHAPE', /shape must be an array of integers/);
    }
    throwsCode(() => randn([3], { dtype: 'int64' as never }), 'ERR_DTYPE', /int64/);
    throwsCode(() => randn([3], { dtype: 'float8' as never }), 'ERR_DTYPE', /float8/);
    throwsCode(() => randn([3], { device: 'nowhere' }), 'ERR_DEVICE', /nowhere/);
  });
});
