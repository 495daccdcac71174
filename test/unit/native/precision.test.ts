import assert from 'node:assert/strict';
import { ArgumentError, getFloat32MatmulPrecision, setFloat32MatmulPrecision } from '../../../ts/index';

describe('float32 precision', () => {
  afterEach(() => setFloat32MatmulPrecision('highest'));

  it('is the highest until it is set', () => {
    assert.equal(getFloat32MatmulPrecision(), 'highest');
    setFloat32MatmulPrecision('high');
    assert.equal(getFloat32MatmulPrecision(), 'high');
  });

  it('refuses what it does not know', () => {
    for (const wrong of ['medium', 'HIGH', 1, undefined]) {
      assert.throws(
        () => setFloat32MatmulPrecision(wrong as 'high'),
        (error) => error instanceof ArgumentError && /must be 'highest' or 'high', got/.test(error.message),
      );
    }
    assert.equal(getFloat32MatmulPrecision(), 'highest');
  });
});
