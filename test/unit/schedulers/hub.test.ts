import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler } from '../../../ts/index';
import { COMMIT } from '../hub/fake-hub';
import { hubOfItsOwn, NAME } from '../hub/hub-of-its-own';

describe('schedulers: a hub repository', () => {
  const own = hubOfItsOwn();

  for (const Class of [DDPMScheduler, DDIMScheduler, DDIMInverseScheduler]) {
    it(`${Class.name} fetches its config alone, at the revision that is asked for`, async () => {
      const scheduler = await Class.fromPretrained(NAME, { revision: COMMIT });
      assert.equal(scheduler.config.betaEnd, 0.02);
      assert.deepEqual(own.hub.downloads, ['scheduler/scheduler_config.json']);
      assert.ok(own.hub.seen.every(({ path }) => !path.includes('main')));
    });
  }

  it('fetches what a pattern asks for instead', async () => {
    await DDIMScheduler.fromPretrained(NAME, { allowPatterns: ['scheduler/*', 'README*'] });
    assert.deepEqual(own.hub.downloads, ['scheduler/scheduler_config.json', 'README.md']);
  });
});
