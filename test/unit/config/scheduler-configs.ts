import assert from 'node:assert/strict';
import { parseSchedulerConfig, type SchedulerKind } from '../../../ts/config/scheduler-config';
import { ConfigError } from '../../../ts/errors';

export const KINDS: readonly SchedulerKind[] = ['DDPMScheduler', 'DDIMScheduler', 'DDIMInverseScheduler'];

export const construct = (input: unknown, kind: SchedulerKind = 'DDIMScheduler') =>
  parseSchedulerConfig(kind, input, 'constructor');
export const load = (input: unknown, kind: SchedulerKind = 'DDIMScheduler') => parseSchedulerConfig(kind, input, 'file');

export const refuses = (run: () => unknown, message: string | RegExp) =>
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.code, 'ERR_CONFIG');
    if (typeof message === 'string') assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  });
