import assert from 'node:assert/strict';
import { join } from 'node:path';

export const MODEL = join(__dirname, '../../../models/fashion-mnist-ddpm');

/** An archive of test/fixtures/torchscript, which scripts/parity/record_torchscript.py makes. */
export const archive = (name: string): string => join(__dirname, '../../fixtures/torchscript', `${name}.pt`);

/** Checks that a promise rejects (and its maker does not throw) with this code and message; gives the error. */
export async function rejects(make: () => Promise<unknown>, code: string, message: RegExp): Promise<Error> {
  let promise: Promise<unknown>;
  try {
    promise = make();
  } catch (error) {
    assert.fail(`threw synchronously: ${String(error)}`);
  }
  const error = await promise.then(
    () => assert.fail('resolved'),
    (reason: unknown) => reason as Error & { code: string },
  );
  assert.equal(error.code, code, error.stack);
  assert.match(error.message, message);
  return error;
}
