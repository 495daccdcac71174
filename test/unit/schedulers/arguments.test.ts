import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, zeros } from '../../../ts/index';
import { noise, throwsCode } from './helpers';

const [x, out] = [noise(1, undefined, 'float32'), noise(2, undefined, 'float32')];

describe('schedulers: what callers can not do', () => {
  it('change the scheduler through the lists it returns', () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(10);
    for (const key of ['betas', 'alphas', 'alphasCumprod', 'timesteps'] as const) {
      const before = scheduler[key].slice();
      scheduler[key].fill(7);
      assert.deepEqual(scheduler[key], before, key);
    }
  });

  it('make a length allocate', () => {
    const scheduler = new DDPMScheduler();
    for (const length of [1e12, 2 ** 31, 1.5, -1, NaN, Infinity, 1_000_001]) {
      const message = new RegExp(`timestep must have a length.*0 … 1000000, got ${String(length).replace('+', '.')}`);
      throwsCode(() => scheduler.step(out, { length } as never, x), 'ERR_ARGUMENT', message);
      throwsCode(() => scheduler.setTimesteps({ timesteps: { length } as never }), 'ERR_ARGUMENT', /timesteps must have/);
    }
    const long = zeros([1_000_001], { dtype: 'uint8' });
    throwsCode(() => scheduler.step(out, long, x), 'ERR_ARGUMENT', /timestep must have a length.*0 … 1000000, got 1000001/);
  });

  it('step at no timestep at all', () => {
    const empty = (name: string): RegExp => new RegExp(`^${name} must not be empty`);
    const ddim = new DDIMScheduler();
    throwsCode(() => ddim.step(out, [], x, { prevTimestep: 1 }), 'ERR_ARGUMENT', empty('timestep'));
    throwsCode(() => ddim.step(out, zeros([0], { dtype: 'int64' }), x), 'ERR_ARGUMENT', empty('timestep'));
    throwsCode(() => ddim.step(out, 5, x, { prevTimestep: [] }), 'ERR_ARGUMENT', empty('prevTimestep'));
    throwsCode(() => ddim.step(out, 5, x, { prevTimestep: 1, eta: [] }), 'ERR_ARGUMENT', empty('eta'));
    throwsCode(() => ddim.addNoise(x, out, []), 'ERR_ARGUMENT', empty('timesteps'));
    const inverse = new DDIMInverseScheduler();
    throwsCode(() => inverse.step(out, 5, x, { sourceTimestep: [] }), 'ERR_ARGUMENT', empty('sourceTimestep'));
    throwsCode(() => inverse.step(out, 5, x, { sourceTimestep: 0.5 }), 'ERR_TIMESTEP', /^sourceTimestep must be an integer/);
  });

  it('ask for the timestep before a list', () => {
    const scheduler = new DDPMScheduler();
    for (const t of [[5], [], [5, 4], '5', null, undefined, zeros([1])]) {
      throwsCode(() => scheduler.previousTimestep(t as never), 'ERR_ARGUMENT', /timestep must be one integer/);
    }
    for (const t of [0.5, NaN]) throwsCode(() => scheduler.previousTimestep(t), 'ERR_TIMESTEP', /timestep must be an integer/);
    assert.equal(scheduler.previousTimestep(5), 4);
  });

  it('get a raw file error from savePretrained', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'schedulers-'));
    try {
      const file = join(scratch, 'file');
      writeFileSync(file, '');
      const scheduler = new DDPMScheduler();
      await assert.rejects(scheduler.savePretrained(join(file, 'below')), { code: 'ERR_ARGUMENT' });
      await scheduler.savePretrained(join(scratch, 'made', 'anew'));
      assert.equal((await DDPMScheduler.fromPretrained(join(scratch, 'made', 'anew'))).length, 1000);
    } finally {
      rmSync(scratch, { recursive: true });
    }
  });
});
