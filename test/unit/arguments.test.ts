import assert from 'node:assert/strict';
import { checkOptions, nearest, showValue } from '../../ts/arguments';

describe('arguments', () => {
  it('shows values on one short line', () => {
    assert.equal(showValue('a\nb'), '"a\\nb"');
    assert.equal(showValue(NaN), 'NaN');
    assert.equal(showValue(10n), '10n');
    assert.equal(showValue([1, 'a', {}]), '[1, "a", …]');
    assert.equal(showValue(new Float32Array(9)), 'an array of 9');
    assert.equal(showValue([1, 2, 3, 4, 5, 6, 7, 8]), '[1, 2, 3, 4, 5, 6, 7, 8]');
    assert.equal(showValue({ a: 1 }), 'an object');
    assert.equal(
      showValue(() => 1),
      'a function',
    );
    assert.equal(showValue(Symbol('s')), 'Symbol(s)');
    assert.equal(showValue('x'.repeat(58)), `"${'x'.repeat(58)}"`);
    assert.equal(showValue('x'.repeat(59)), `"${'x'.repeat(56)}…`);
  });

  it('shows no character that a terminal obeys or that ends a line', () => {
    assert.equal(showValue('\x1b\x7f\x9b\u2028\u2029'), '"\\u001b\\u007f\\u009b\\u2028\\u2029"');
  });

  it('suggests the nearest name, or none', () => {
    assert.equal(nearest('betaStrt', ['betaEnd', 'betaStart']), 'betaStart');
    assert.equal(nearest('schedular', ['steps', 'scheduler']), 'scheduler');
    assert.equal(nearest('BETASTART', ['betaEnd', 'betaStart']), 'betaStart');
    assert.equal(nearest('ste', ['steps']), 'steps');
    assert.equal(nearest('steps', ['stops', 'stepe']), 'stops');
    assert.equal(nearest('zzzzzzzz', ['betaEnd', 'betaStart']), undefined);
    assert.equal(nearest('beta', ['betaEnd']), undefined);
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
