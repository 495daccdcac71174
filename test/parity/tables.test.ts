import assert from 'node:assert/strict';
import { DDIMScheduler, DiffusersError } from '../../ts/index';
import { schedulersFixture, makeScheduler } from './recordings';

const fixture = schedulersFixture();
const { manifest } = fixture;
const show = (config: object): string => JSON.stringify(config).slice(0, 140);

describe('parity/tables', () => {
  it('is recorded by the pinned diffusers', () => {
    assert.equal(manifest.versions['diffusers'], '0.40.0');
    assert.match(manifest.versions['torch']!, /^2\.13\.0/);
    assert.equal(manifest.command, 'python scripts/parity/record.py');
  });

  for (const name of ['DDPMScheduler', 'DDIMScheduler', 'DDIMInverseScheduler'] as const) {
    it(`${name}: betas, alphas and alphasCumprod are diffusers' to the bit`, () => {
      const cases = manifest.tables.filter((c) => c.class === name);
      assert.ok(cases.length >= 20, `${cases.length} cases`);
      for (const c of cases) {
        const scheduler = makeScheduler(name, c.config);
        assert.deepEqual(scheduler.betas, fixture.raw(c.betas), `betas of ${show(c.config)}`);
        assert.deepEqual(scheduler.alphas, fixture.raw(c.alphas), `alphas of ${show(c.config)}`);
        assert.deepEqual(scheduler.alphasCumprod, fixture.raw(c.alphas_cumprod), `alphasCumprod of ${show(c.config)}`);
        assert.equal(scheduler.length, scheduler.betas.length);
        assert.equal(scheduler.initNoiseSigma, 1);
        assert.equal(scheduler.order, 1);
      }
    });
  }

  it('finalAlphaCumprod is 1 or the first alpha, as set_alpha_to_one says', () => {
    for (const c of manifest.tables) {
      if (c.final_alpha_cumprod === undefined) continue;
      const [one, first] = c.final_alpha_cumprod;
      assert.equal(DDIMScheduler.fromConfig(c.config).finalAlphaCumprod, one);
      assert.equal(DDIMScheduler.fromConfig({ ...c.config, set_alpha_to_one: false }).finalAlphaCumprod, first);
    }
  });

  it('refuses the configs whose tables are not finite in diffusers', () => {
    assert.ok(manifest.nonfinite_tables.length > 0);
    for (const c of manifest.nonfinite_tables) {
      assert.throws(
        () => makeScheduler(c.class, c.config),
        (error) => error instanceof DiffusersError && error.code === 'ERR_CONFIG',
        show(c.config),
      );
    }
  });
});

describe('parity/timesteps', () => {
  for (const spacing of ['leading', 'trailing', 'linspace'] as const) {
    it(`${spacing}: the lists are diffusers' for every recorded n`, () => {
      const cases = manifest.timesteps.filter((c) => c.config['timestep_spacing'] === spacing);
      assert.ok(cases.length > 80, `${cases.length} cases`);
      for (const c of cases) {
        const want = Array.from(fixture.numbers(c.timesteps));
        const T = c.config['num_train_timesteps'] as number;
        const what = `${show(c.config)}, n = ${c.n}`;
        const inRange = want.every((t) => t < T);
        const classes = ['DDPMScheduler', 'DDIMScheduler', 'DDIMInverseScheduler'] as const;
        for (const name of classes.slice(0, c.inverse === undefined ? 2 : 3)) {
          const scheduler = makeScheduler(name, c.config);
          if (!inRange) {
            // Differs from diffusers: a list that leaves [0, T) fails here, not in the middle of the loop.
            assert.throws(
              () => scheduler.setTimesteps(c.n),
              (error) => error instanceof DiffusersError && error.code === 'ERR_TIMESTEP',
              what,
            );
            continue;
          }
          scheduler.setTimesteps(c.n);
          // Differs from diffusers: an (n+1)-th entry, −1, is dropped (the manifest's `extra`).
          const list = name === 'DDIMInverseScheduler' ? fixture.numbers(c.inverse!) : want;
          assert.deepEqual(
            Array.from(scheduler.timesteps),
            list.filter((t) => t !== -1),
            `${name} ${what}`,
          );
          assert.equal(scheduler.timesteps.length, c.n, what);
          assert.ok(scheduler.timesteps instanceof Int32Array);
          assert.equal(scheduler.numInferenceSteps, c.n);
        }
      }
    });
  }

  it("drops the −1 that NumPy's arange yields past the end for some n", () => {
    const extra = manifest.timesteps.filter((c) => c.extra);
    assert.ok(extra.some((c) => c.config['num_train_timesteps'] === 1000));
    for (const c of extra) {
      const recorded = fixture.numbers(c.timesteps);
      assert.equal(recorded.length, c.n + 1);
      assert.equal(recorded.at(-1), -1);
      const scheduler = DDIMScheduler.fromConfig(c.config);
      scheduler.setTimesteps(c.n);
      assert.deepEqual(Array.from(scheduler.timesteps), recorded.slice(0, -1));
    }
  });

  it("gives 801, 601, 401, 201, 1 for diffusers' test of steps_offset", () => {
    const scheduler = new DDIMScheduler({ stepsOffset: 1 });
    scheduler.setTimesteps(5);
    assert.deepEqual(Array.from(scheduler.timesteps), [801, 601, 401, 201, 1]);
  });

  it('ran every recorded list', () => {
    const spacings = new Set(manifest.timesteps.map((c) => c.config['timestep_spacing']));
    assert.deepEqual([...spacings].sort(), ['leading', 'linspace', 'trailing']);
  });
});
