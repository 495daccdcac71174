import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, DiffusersError, cat, type SchedulerConfigInput } from '../../../ts/index';
import { fresh, noise, numbers } from './helpers';

const unit = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 1, 1e-4, 0.02, 1e-12, 1e-300));
const wild = fc.oneof(
  fc.double(),
  fc.constantFrom(NaN, Infinity, -Infinity, -1, 0, 2, 1e308),
  fc.string(),
  fc.constant(null),
);
const number = (good: fc.Arbitrary<number>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 14, arbitrary: good as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: wild });
const choice = (...values: string[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 14, arbitrary: fc.constantFrom<unknown>(...values) }, { weight: 1, arbitrary: wild });
const flag = fc.oneof({ weight: 14, arbitrary: fc.boolean() as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: wild });

/** A config as a file may state it: mostly sane, now and then not. */
const config = fc.record(
  {
    num_train_timesteps: number(fc.integer({ min: 1, max: 60 })),
    beta_start: number(unit),
    beta_end: number(unit),
    beta_schedule: choice('linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid', 'laplace'),
    trained_betas: fc.oneof(
      { weight: 8, arbitrary: fc.constant(null) as fc.Arbitrary<unknown> },
      { weight: 1, arbitrary: fc.array(unit, { maxLength: 6 }) },
    ),
    variance_type: choice(
      'fixed_small',
      'fixed_small_log',
      'fixed_large',
      'fixed_large_log',
      'learned',
      'learned_range',
    ),
    clip_sample: flag,
    clip_sample_range: number(fc.double({ min: 1e-3, max: 10, noNaN: true })),
    set_alpha_to_one: flag,
    steps_offset: number(fc.integer({ min: 0, max: 3 })),
    prediction_type: choice('epsilon', 'sample', 'v_prediction'),
    thresholding: flag,
    dynamic_thresholding_ratio: number(unit),
    sample_max_value: number(fc.double({ min: 1e-3, max: 10, noNaN: true })),
    timestep_spacing: choice('leading', 'trailing', 'linspace', 'quadratic'),
    rescale_betas_zero_snr: flag,
    previous_timestep_rule: choice('stride', 'schedule'),
  },
  { requiredKeys: [] },
);

const [x, plain] = [noise(1, [2, 2, 3, 3], 'float32'), noise(2, [2, 2, 3, 3], 'float32')];
const doubled = cat([plain, noise(3, [2, 2, 3, 3], 'float32').abs().clamp(0, 1)], 1);

function assertFinite(values: ArrayLike<number>, what: string): void {
  for (let i = 0; i < values.length; i++) assert.ok(Number.isFinite(values[i]), `${what}[${i}] is ${values[i]}`);
}

/** Runs `use`; a DiffusersError is a fair answer, any other error is not. */
function orThrows(use: () => void, codes: Set<string>): void {
  try {
    use();
  } catch (error) {
    if (!(error instanceof DiffusersError)) throw error;
    assert.match(error.message, /\S/);
    codes.add(error.code);
  }
}

describe('schedulers: whatever fromConfig takes, the results are finite or it throws', function () {
  this.timeout(120_000);

  for (const Class of [DDPMScheduler, DDIMScheduler, DDIMInverseScheduler]) {
    it(Class.name, () => {
      const codes = new Set<string>();
      let stepped = 0;
      const property = fc.property(
        config,
        fc.nat(),
        fc.constantFrom(0, 0.5, 1),
        fc.boolean(),
        (given, k, eta, clipped) => {
          orThrows(() => {
            const scheduler = Class.fromConfig(given as SchedulerConfigInput);
            assertFinite(scheduler.betas, 'betas');
            assertFinite(scheduler.alphas, 'alphas');
            assertFinite(scheduler.alphasCumprod, 'alphasCumprod');
            const T = scheduler.length;
            assert.equal(scheduler.betas.length, T);
            scheduler.setTimesteps(1 + (k % T));
            const { timesteps } = scheduler;
            for (const t of new Set([timesteps[0]!, timesteps[timesteps.length >> 1]!, timesteps.at(-1)!])) {
              orThrows(() => {
                const learned =
                  'varianceType' in scheduler.config && scheduler.config.varianceType.startsWith('learned');
                const output = learned ? doubled : plain;
                const result =
                  scheduler instanceof DDIMScheduler
                    ? scheduler.step(output, t, x, { eta, useClippedModelOutput: clipped, generator: fresh(1) })
                    : scheduler instanceof DDPMScheduler
                      ? scheduler.step(output, t, x, { generator: fresh(1) })
                      : scheduler.step(output, t, x);
                assertFinite(numbers(result.prevSample), `prevSample at t = ${t}`);
                assertFinite(numbers(result.predOriginalSample), `predOriginalSample at t = ${t}`);
                stepped++;
              }, codes);
              orThrows(() => {
                const { mean, variance } = scheduler.posterior(x, plain, t);
                assertFinite(numbers(mean), `posterior mean at t = ${t}`);
                assert.ok((variance as number) >= 0, `posterior variance ${String(variance)} at t = ${t}`);
              }, codes);
              assertFinite(numbers(scheduler.addNoise(x, plain, t)), `addNoise at t = ${t}`);
            }
          }, codes);
        },
      );
      fc.assert(property, { numRuns: 600 });
      assert.ok(stepped > 100, `only ${stepped} steps were reached`);
      assert.deepEqual(
        [...codes].filter((code) => code !== 'ERR_CONFIG' && code !== 'ERR_TIMESTEP'),
        [],
      );
    });
  }

  it('a custom list is taken or refused, and then steps to the end', () => {
    const property = fc.property(
      fc.array(fc.integer({ min: -2, max: 52 }), { maxLength: 8 }),
      fc.boolean(),
      (list, sort) => {
        const timesteps = sort ? [...new Set(list)].sort((a, b) => b - a) : list;
        const scheduler = new DDIMScheduler({ numTrainTimesteps: 50 });
        const good =
          timesteps.length > 0 && timesteps.every((t, i) => t >= 0 && t < 50 && (i === 0 || t < timesteps[i - 1]!));
        if (!good) {
          assert.throws(() => scheduler.setTimesteps({ timesteps }), { code: 'ERR_TIMESTEP' });
          return;
        }
        scheduler.setTimesteps({ timesteps });
        let sample = x;
        for (const t of scheduler.timesteps) sample = scheduler.step(plain, t, sample).prevSample;
        assertFinite(numbers(sample), 'sample');
      },
    );
    fc.assert(property, { numRuns: 200 });
  });
});
