import assert from 'node:assert/strict';
import {
  formatBytes,
  formatCount,
  formatRate,
  formatSeconds,
  formatTable,
  formatValue,
  plural,
} from '../../../ts/cli/format';

describe('cli/format', () => {
  it('writes sizes, counts, times and rates', () => {
    assert.deepEqual([0, 1023, 1024, 7239188, 5 * 1024 ** 4, 1024 ** 5].map(formatBytes), [
      '0 B',
      '1023 B',
      '1.0 KiB',
      '6.9 MiB',
      '5.0 TiB',
      '1024.0 TiB',
    ]);
    assert.equal(formatCount(1805057), '1,805,057');
    assert.deepEqual(
      [1, 2, 1000].map((n) => plural(n, 'image')),
      ['1 image', '2 images', '1,000 images'],
    );
    assert.deepEqual([0.349, 9.996, 10, 12.34, 125, 12_000].map(formatSeconds), ['0.35 s', '10.00 s', '10.0 s', '12.3 s', '2 min 5 s', '3 h 20 min']);
    assert.deepEqual([0.01234, 4.678, 12.34, 1234.5].map(formatRate), ['0.0123', '4.68', '12.3', '1,235']);
  });

  it('lets nothing in a value reach the terminal but text', () => {
    assert.equal(formatValue('a\u001b[31m\u009b\n'), '"a\\u001b[31m\\u009b\\n"');
    assert.equal(formatValue([1, null, true]), '[1,null,true]');
    assert.equal(formatValue(undefined), 'undefined');
    assert.equal(formatValue('x'.repeat(500)).length, 100);
  });

  it('lines names and values up', () => {
    assert.equal(
      formatTable([
        ['a', '1'],
        ['long', '2'],
      ]),
      '  a     1\n  long  2',
    );
    assert.equal(formatTable([]), '');
  });
});
