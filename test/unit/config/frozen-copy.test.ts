import assert from 'node:assert/strict';
import { frozenCopy } from '../../../ts/config/frozen-copy';

describe('config/frozen-copy', () => {
  it('copies and freezes lists and records, and leaves what it was given alone', () => {
    const given = { list: [{ a: 1 }], when: new Date(0) };
    const copy = frozenCopy(given, 'odd');
    assert.deepEqual(copy, given);
    assert.ok([copy, copy.list, copy.list[0]].every(Object.isFrozen));
    assert.ok(![given, given.list, given.list[0]].some(Object.isFrozen));
    assert.equal(copy.when, given.when);
  });

  it('drops keys that reach a prototype, however deep', () => {
    const given = JSON.parse('{"a": [{"__proto__": {"polluted": 1}, "constructor": 2, "prototype": 3, "b": 4}]}') as object;
    const copy = frozenCopy(given, 'odd') as { a: object[] };
    assert.deepEqual(Object.keys(copy.a[0]!), ['b']);
    assert.equal(Object.getPrototypeOf(copy.a[0]), Object.prototype);
  });

  it('refuses what JSON has no form for, and a cycle', () => {
    const refuses = (value: unknown, message: string): void =>
      assert.throws(() => frozenCopy(value, 'odd'), { code: 'ERR_CONFIG', message });
    refuses({ a: [1n] }, 'odd must hold what JSON can, got 1n');
    const cycle: unknown[] = [];
    cycle.push(cycle);
    refuses(cycle, 'odd must nest at most 64 deep');
  });

  it('takes 65 lists in one another, of which the innermost lies 64 deep', () => {
    const nest = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
    assert.deepEqual(frozenCopy(nest(65), 'odd'), nest(65));
    assert.throws(() => frozenCopy(nest(66), 'odd'), { code: 'ERR_CONFIG', message: 'odd must nest at most 64 deep' });
  });
});
