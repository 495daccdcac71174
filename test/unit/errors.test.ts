import assert from 'node:assert/strict';
import { DiffusersError, DTypeError, ERROR_CODES, makeError, OutOfMemoryError } from '../../ts/errors';

describe('errors', () => {
  it('gives each code a class of its own, for instanceof', () => {
    const made = ERROR_CODES.map((code) => makeError(code, 'what is wrong'));
    assert.deepEqual(
      made.map(({ code }) => code),
      ERROR_CODES,
    );
    const classes = new Set(made.map((error) => error.constructor));
    assert.equal(classes.size, ERROR_CODES.length);
    assert.ok(!classes.has(DiffusersError));
    assert.ok(makeError('ERR_DTYPE', '') instanceof DTypeError);
    assert.ok(makeError('ERR_OUT_OF_MEMORY', '') instanceof OutOfMemoryError);
  });

  it('escapes what names out of a file could write to a terminal, and keeps the lines that operators write', () => {
    assert.equal(makeError('ERR_CHECKPOINT', 'unexpected a\x1b[2J\nb').message, 'unexpected a\\u001b[2J\\u000ab');
    for (const code of ['ERR_ARGUMENT', 'ERR_OP'] as const) {
      assert.equal(makeError(code, 'first\nsecond\x1b[2J').message, 'first\nsecond\\u001b[2J');
    }
  });
});
