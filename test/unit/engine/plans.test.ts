import assert from 'node:assert/strict';
import { Plans, type PlanOptions } from '../../../ts/engine/plans';
import { DDIMScheduler, type SchedulerConfigInput } from '../../../ts/index';

const options = (change: Partial<PlanOptions> = {}): PlanOptions => ({
  source: { kind: 'DDIMScheduler', config: {} },
  timesteps: 5,
  eta: 0,
  useClippedModelOutput: false,
  strength: 1,
  ...change,
});

describe('engine/plans', () => {
  it('works the same steps out once, and others anew', () => {
    const plans = new Plans();
    const plan = plans.get(options());
    assert.equal(plans.get(options()), plan);
    const others: Partial<PlanOptions>[] = [
      { source: { kind: 'DDPMScheduler', config: {} } },
      { source: { kind: 'DDIMScheduler', config: { betaEnd: 0.03 } } },
      { timesteps: 6 },
      { timesteps: [800, 600, 400, 200, 0] },
      { eta: 1 },
      { useClippedModelOutput: true },
      { strength: 0.5 },
    ];
    const made = new Set([plan, ...others.map((change) => plans.get(options(change)))]);
    assert.equal(made.size, 1 + others.length);
  });

  it('sees that a config was changed, unless it can not be', () => {
    const plans = new Plans();
    const config = { betaEnd: 0.02 };
    const get = (of: SchedulerConfigInput) => plans.get(options({ source: { kind: 'DDIMScheduler', config: of } }));
    const before = get(config);
    config.betaEnd = 0.03;
    assert.notEqual(get(config), before);
    assert.equal(get(new DDIMScheduler().config), get(new DDIMScheduler().config));
    assert.throws(() => get({ betaEnd: 1n } as never), { code: 'ERR_CONFIG', message: /betaEnd must be a number in 0 … 1, got 1n/ });
  });

  it('goes through the last ⌊n·strength⌋ steps, and wants one at least', () => {
    const plans = new Plans();
    const lengthOf = (strength: number) => plans.get(options({ strength })).length;
    assert.deepEqual([0.2, 0.39, 0.4, 0.99, 1].map(lengthOf), [1, 1, 2, 4, 5]);
    assert.throws(() => lengthOf(0.19), { code: 'ERR_ARGUMENT', message: /^strength 0\.19 of 5 steps leaves none; it must be at least 0\.2$/ });
  });

  it('keeps 128, those that were asked for last', () => {
    const plans = new Plans();
    const get = (timesteps: number) => plans.get(options({ timesteps }));
    const [first, second] = [get(1), get(2)];
    for (let n = 3; n <= 128; n++) get(n);
    assert.equal(get(1), first); // from now on the last
    get(129);
    assert.equal(get(1), first);
    assert.notEqual(get(2), second);
  });
});
