import assert from 'node:assert/strict';
import vm from 'node:vm';
import { isPlainObject } from '../../../ts/arguments';
import { bothSpellings, camelToSnake, snakeToCamel } from '../../../ts/config/keys';
import { ConfigError } from '../../../ts/errors';

describe('config/keys', () => {
  it('turns each spelling into the other', () => {
    const pairs = [
      ['num_train_timesteps', 'numTrainTimesteps'],
      ['rescale_betas_zero_snr', 'rescaleBetasZeroSnr'],
      ['thresholding', 'thresholding'],
      ['_class_name', '_className'],
      ['flip_sin_to_cos', 'flipSinToCos'],
    ] as const;
    for (const [snake, camel] of pairs) {
      assert.equal(snakeToCamel(snake), camel);
      assert.equal(camelToSnake(camel), snake);
      assert.equal(snakeToCamel(camel), camel);
    }
  });

  it('reads both spellings into one map and keeps the one written', () => {
    const entries = bothSpellings({ beta_start: 1, betaEnd: 2, foo_bar: undefined });
    assert.deepEqual(
      [...entries],
      [
        ['betaStart', { key: 'beta_start', value: 1 }],
        ['betaEnd', { key: 'betaEnd', value: 2 }],
      ],
    );
  });

  it('takes two spellings that agree and refuses two that differ', () => {
    assert.equal(bothSpellings({ trained_betas: [1], trainedBetas: [1] }).size, 1);
    assert.throws(() => bothSpellings({ beta_start: 0.1, betaStart: 0.2 }), {
      name: 'ConfigError',
      code: 'ERR_CONFIG',
      message: 'beta_start and betaStart are two spellings of one key and must agree, got 0.1 and 0.2',
    });
  });

  it('leaves out keys that reach a prototype', () => {
    const hostile = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": 1, "prototype": 2, "a": 3}') as Record<
      string,
      unknown
    >;
    assert.deepEqual([...bothSpellings(hostile).keys()], ['a']);
  });

  it('tells a plain object from everything else, in any realm', () => {
    assert.ok(isPlainObject({}) && isPlainObject(Object.create(null)) && isPlainObject(vm.runInNewContext('({})')));
    for (const other of [null, undefined, [], new Map(), new ConfigError('x'), new Float32Array(1), () => 1, 'a', 1]) {
      assert.ok(!isPlainObject(other));
    }
  });
});
