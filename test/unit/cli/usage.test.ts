import assert from 'node:assert/strict';
import {
  choiceOption,
  descendingOption,
  deviceOption,
  integerOption,
  MAX_SEED,
  numberOption,
  seedOption,
  shardOption,
  UsageError,
} from '../../../ts/cli/usage';

const refuses = (parse: (value: string) => unknown, values: readonly string[], wants: string) => {
  for (const value of values) {
    assert.throws(
      () => parse(value),
      (error: unknown) => {
        assert.ok(error instanceof UsageError);
        assert.equal(error.message, `--x must be ${wants}, got ${JSON.stringify(value)}`);
        return true;
      },
    );
  }
};

describe('cli/usage', () => {
  it('reads integers in their range', () => {
    const parse = integerOption('--x', 1, 1000);
    assert.deepEqual(['1', '1000', '007'].map(parse), [1, 1000, 7]);
    refuses(
      parse,
      ['0', '1001', '-1', '1.5', '1e3', 'abc', '', ' ', '0x10', 'NaN', 'Infinity', '9'.repeat(400)],
      'an integer in 1 … 1000',
    );
  });

  it('reads numbers from a bound up', () => {
    const parse = numberOption('--x', 0);
    assert.deepEqual(['0', '0.5', '1e-3'].map(parse), [0, 0.5, 0.001]);
    refuses(parse, ['-1', '-0.1', 'abc', '', ' ', 'NaN', 'Infinity', '1,5'], 'a number from 0 up');
  });

  it('reads seeds of 64 bits', () => {
    const parse = seedOption('--x');
    assert.deepEqual(['0', '18446744073709551615'].map(parse), [0n, MAX_SEED]);
    refuses(parse, ['-1', '18446744073709551616', '1.0', '', 'x', '9'.repeat(30)], 'an integer in 0 … 2^64 - 1');
  });

  it('reads words of a list and suggests the one that is meant', () => {
    const parse = choiceOption('--x', ['ddpm', 'ddim']);
    assert.equal(parse('ddim'), 'ddim');
    refuses(parse, ['dddim'], 'one of ddpm, ddim (did you mean ddim?)');
    refuses(parse, ['', 'euler-ancestral'], 'one of ddpm, ddim');
  });

  it('reads descending lists', () => {
    const parse = descendingOption('--x');
    assert.deepEqual(parse('801, 601,0'), [801, 601, 0]);
    assert.deepEqual(parse('5'), [5]);
    refuses(
      parse,
      ['1,2', '5,5', '', '5,', 'a', '5,-1', '5;4', '1.5'],
      'descending integers from 0 up with commas between',
    );
  });

  it('reads a part of so many', () => {
    const parse = shardOption('--x');
    assert.deepEqual(parse('1/1'), { index: 1, count: 1 });
    assert.deepEqual(parse('12/100'), { index: 12, count: 100 });
    refuses(parse, ['0/1', '2/1', '1', '1/', '/1', 'a/b', '1/2/3', '-1/2', '1.0/2', ''], 'i/n with 1 ≤ i ≤ n');
  });

  it('reads devices', () => {
    const parse = deviceOption('--x');
    assert.deepEqual(['cpu', 'cuda', 'cuda:1'].map(parse), ['cpu', 'cuda', 'cuda:1']);
    refuses(parse, ['gpu', 'cuda:', 'cuda:x', 'CPU', '', 'cpu:0 '], 'cpu, cuda or cuda:N');
  });
});
