import assert from 'node:assert/strict';
import { orderOf, takeTurns, timeCalls } from '../../../scripts/bench/turns';

describe('bench: turns', () => {
  it('begins each round with the next arm', () => {
    assert.deepEqual(orderOf(['a', 'b', 'c'], 0), ['a', 'b', 'c']);
    assert.deepEqual(orderOf(['a', 'b', 'c'], 4), ['b', 'c', 'a']);
    assert.deepEqual(orderOf([], 1), []);
  });

  it('gives each arm as many calls as fill a turn and leaves the first of every turn out', async () => {
    const turns: string[] = [];
    const arm = (name: string, seconds: number) => ({
      run: (calls: number) => {
        turns.push(`${name}${calls}`);
        // the first call of a turn is slow: it must not show
        return Promise.resolve(Array.from({ length: calls }, (_, call) => (call === 0 ? 99 : seconds)));
      },
    });
    const [slow, fast] = [arm('slow', 2), arm('fast', 0.25)];
    const seconds = await takeTurns([slow, fast], { rounds: 2, turnSeconds: 1, pauseMs: 1 });
    assert.deepEqual(turns.slice(4), ['slow2', 'fast5', 'fast5', 'slow2']);
    assert.deepEqual(seconds.get(slow), [2, 2]);
    assert.deepEqual(seconds.get(fast), new Array(8).fill(0.25));
  });

  it('times calls one after the other', async () => {
    const seen: number[] = [];
    const seconds = await timeCalls(3, (call) => Promise.resolve(void seen.push(call)));
    assert.deepEqual(seen, [0, 1, 2]);
    assert.ok(seconds.length === 3 && seconds.every((one) => one >= 0));
  });
});
