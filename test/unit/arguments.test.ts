import assert from 'node:assert/strict';
import { checkOptions, nearest, showValue } from '../../ts/arguments';

describe('arguments', () => {
  it('shows values on one short line', () => {
    assert.equal(showValue('a\nb'), '"a\\nb"');
    assert.equal(showValue(NaN), 'NaN');
    assert.equal(showValue(10n), '10n');
    assert.equal(showValue([1, 'a', {}]), '[1, "a", …]');
    assert.equal(showValue(new Float32Array(9)), 'an array of 9');
    assert.equal(showValue({ a: 1 }), 'an object');
    assert.equal(showValue(Symbol('s')), 'Symbol(s)');
    assert.ok(showValue('x'.repeat(1000)).length < 70);
  });

  it('suggests the nearest name, or none', () => {
    assert.equal(nearest('betaStrt', ['betaEnd', 'betaStart']), 'betaStart');
    assert.equal(nearest('schedular', ['steps', 'scheduler']), 'scheduler');
    assert.equal(nearest('zzzzzzzz', ['betaEnd', 'betaStart']), undefined);
  });

  it('refuses unknown options by name', () => {
    checkOptions('run', undefined, ['eta']);
    checkOptions('run', { eta: 1 }, ['eta']);
    assert.throws(() => checkOptions('run', { etaa: 1 }, ['eta']), {
      code: 'ERR_ARGUMENT',
      message: 'run: unknown option "etaa"; did you mean eta?',
    });
    assert.throws(() => checkOptions('run', [], ['eta']), { message: 'run: options must be an object, got []' });
  });
});
