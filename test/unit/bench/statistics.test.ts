import assert from 'node:assert/strict';
import { quantile, relativeError, summarize } from '../../../scripts/bench/statistics';

describe('bench: statistics', () => {
  it('gives the median and quartiles that NumPy gives', () => {
    assert.deepEqual(summarize([4, 1, 3, 2]), { median: 2.5, lower: 1.75, upper: 3.25, count: 4 });
    assert.deepEqual(summarize([7]), { median: 7, lower: 7, upper: 7, count: 1 });
  });

  it('sorts by size, not by spelling, and leaves the list as it was', () => {
    const values = [10, 9, 100];
    assert.equal(summarize(values).median, 10);
    assert.deepEqual(values, [10, 9, 100]);
  });

  it('has no quantile of nothing', () => {
    assert.throws(() => quantile([], 0.5), RangeError);
  });

  it('takes the error relative to the reference', () => {
    assert.equal(relativeError([3, 4], [3, 4]), 0);
    assert.equal(relativeError([3, 9], [3, 4]), 1);
    assert.throws(() => relativeError([1], [1, 2]), RangeError);
  });

  it('passes a NaN on, so that no comparison takes it for right', () => {
    assert.ok(!(relativeError([Number.NaN, 1], [1, 1]) <= 1));
  });
});
