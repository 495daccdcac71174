import assert from 'node:assert/strict';
import { DDIMScheduler, DDPMScheduler, DiffusersError, Generator } from '../../ts/index';
import { Comparison, generatorsOf, magnitude, numbersOf, type Ref } from './fixture';
import {
  makeScheduler,
  runStep,
  schedulersFixture,
  setTimesteps,
  type AnyScheduler,
  type StepCase,
} from './recordings';

const fixture = schedulersFixture();
const { manifest } = fixture;

// Relative to the largest value. diffusers rounds after every operation in the half types, this package once.
const TOLERANCE = { float32: 1e-5, float64: 1e-5, float16: 4e-3, bfloat16: 3e-2 } as Record<string, number>;

/** x0 of an ε-prediction is a quotient by √ᾱ_t: its rounding errors are relative to 1/√ᾱ_t, even after a clip. */
function amplification(scheduler: AnyScheduler, group: StepCase, t: number): number {
  if (scheduler.config.predictionType !== 'epsilon') return 1;
  const source = group.class === 'DDIMInverseScheduler' ? scheduler.previousTimestep(t) : t;
  const alpha = source < 0 ? 1 : scheduler.alphasCumprod[source]!;
  return alpha === 0 ? 1 : 1 / Math.sqrt(alpha);
}

function describeCase(group: StepCase, t: number): string {
  const config = { ...group.config, ...('trained_betas' in group.config ? { trained_betas: '…' } : {}) };
  return `${group.class} ${JSON.stringify({ ...config, ...group.set, ...group.options, seeds: group.seeds })} t=${t}`;
}

describe('parity/steps', function () {
  this.timeout(60_000);
  let compared = 0;

  for (const name of ['DDPMScheduler', 'DDIMScheduler', 'DDIMInverseScheduler'] as const) {
    for (const prediction of ['epsilon', 'sample', 'v_prediction'] as const) {
      for (const dtype of ['float32', 'float64', 'float16', 'bfloat16'] as const) {
        const groups = manifest.steps.filter(
          (g) => g.class === name && g.config['prediction_type'] === prediction && g.sample[0] === dtype,
        );
        if (groups.length === 0) continue;
        it(`${name}, ${prediction}, ${dtype}: ${groups.length} configs`, () => {
          const comparison = new Comparison();
          for (const group of groups) {
            const scheduler = makeScheduler(name, group.config);
            setTimesteps(scheduler, group.set);
            const sample = fixture.tensor(group.sample);
            const output = fixture.tensor(group.model_output);
            for (const step of group.steps) {
              compared++;
              const what = describeCase(group, step.t);
              try {
                const got = runStep(scheduler, output, step.t, sample, group.options, generatorsOf(group.seeds));
                assert.equal(got.prevSample.dtype, dtype);
                const slack = 5e-7 * amplification(scheduler, group, step.t);
                const tolerance = (want: readonly number[]): number =>
                  TOLERANCE[dtype]! * magnitude(want) + (dtype === 'float32' ? slack : 0);
                const x0 = fixture.numbers(step.pred_original_sample);
                comparison.check(`${what} predOriginalSample`, numbersOf(got.predOriginalSample), x0, tolerance(x0));
                const prev = fixture.numbers(step.prev_sample);
                comparison.check(`${what} prevSample`, numbersOf(got.prevSample), prev, tolerance(prev));
              } catch (error) {
                comparison.fail(what, error);
              }
            }
          }
          comparison.assertAll();
        });
      }
    }
  }

  it('compared every step of the manifest', () => {
    const recorded = manifest.steps.reduce((sum, group) => sum + group.steps.length, 0);
    assert.equal(recorded, manifest.step_count);
    assert.equal(compared, manifest.step_count);
  });

  it('is finite or throws where diffusers is not finite', () => {
    assert.ok(manifest.nonfinite_steps.length > 0);
    for (const group of manifest.nonfinite_steps) {
      const what = describeCase(group, group.t);
      const scheduler = makeScheduler(group.class, group.config);
      setTimesteps(scheduler, group.set);
      try {
        const got = runStep(
          scheduler,
          fixture.tensor(group.model_output),
          group.t,
          fixture.tensor(group.sample),
          group.options,
          generatorsOf(group.seeds),
        );
        assert.ok([...numbersOf(got.prevSample), ...numbersOf(got.predOriginalSample)].every(Number.isFinite), what);
      } catch (error) {
        assert.ok(error instanceof DiffusersError, `${what}: ${String(error)}`);
        assert.equal(error.code, 'ERR_CONFIG', what);
      }
    }
  });
});

describe('parity/forward process', () => {
  for (const dtype of ['float32', 'float64', 'float16', 'bfloat16'] as const) {
    it(`addNoise and getVelocity, ${dtype}`, () => {
      const comparison = new Comparison();
      const tolerance = { float32: 1e-6, float64: 1e-12, float16: 2e-3, bfloat16: 1.6e-2 }[dtype];
      for (const c of manifest.forward.filter((f) => f.original[0] === dtype)) {
        const scheduler = makeScheduler(c.class, c.config) as DDPMScheduler | DDIMScheduler;
        const [original, noise] = [fixture.tensor(c.original), fixture.tensor(c.noise)];
        const t = c.timesteps.length === 1 ? c.timesteps[0]! : c.timesteps;
        const what = `${c.class} ${JSON.stringify(c.config)} t=${c.timesteps.join()}`;
        const check = (method: string, got: number[], want: number[]): void =>
          comparison.check(`${what} ${method}`, got, want, tolerance * magnitude(want));
        check('addNoise', numbersOf(scheduler.addNoise(original, noise, t)), fixture.numbers(c.noisy));
        check('getVelocity', numbersOf(scheduler.getVelocity(original, noise, t)), fixture.numbers(c.velocity));
      }
      comparison.assertAll();
    });
  }
});

describe('parity/a timestep per sample', () => {
  const numbers = (ref: Ref): number[] => fixture.numbers(ref);

  for (const name of ['DDPMScheduler', 'DDIMScheduler'] as const) {
    it(`${name}: row i is diffusers' step of sample i alone`, () => {
      const comparison = new Comparison();
      for (const c of manifest.per_sample.filter((p) => p.class === name)) {
        const scheduler = makeScheduler(name, c.config);
        const rows = c.rows;
        const noise = {
          generator: rows.map((row) => new Generator({ seed: row.seed })),
          prevTimestep: rows.map((row) => row.s),
        };
        const [output, sample] = [fixture.tensor(c.model_output), fixture.tensor(c.sample)];
        const t = rows.map((row) => row.t);
        const got =
          scheduler instanceof DDIMScheduler
            ? scheduler.step(output, t, sample, { ...noise, eta: rows.map((row) => row.eta!) })
            : (scheduler as DDPMScheduler).step(output, t, sample, noise);
        const what = `${name} ${JSON.stringify(c.config)} ${JSON.stringify(rows)}`;
        const prev = numbers(c.prev_sample);
        const x0 = numbers(c.pred_original_sample);
        // The smallest ᾱ of the linear table is 4e-5: 1/√ᾱ is at most 158.
        comparison.check(`${what} prevSample`, numbersOf(got.prevSample), prev, 1e-5 * magnitude(prev) + 1e-4);
        comparison.check(
          `${what} predOriginalSample`,
          numbersOf(got.predOriginalSample),
          x0,
          1e-5 * magnitude(x0) + 1e-4,
        );
      }
      comparison.assertAll();
      assert.equal(comparison.count, 2 * manifest.per_sample.filter((p) => p.class === name).length);
    });
  }
});

describe('parity/comparison', () => {
  it('notices one changed number, a NaN and a missing one', () => {
    const fails = (got: number[], want: number[]): void => {
      const comparison = new Comparison();
      comparison.check('case', got, want, 1e-5);
      assert.throws(() => comparison.assertAll(), /1 of 1 comparisons differ; worst: case/);
    };
    fails([1, 2, 3.0001], [1, 2, 3]);
    fails([1, NaN, 3], [1, 2, 3]);
    fails([1, 2], [1, 2, 3]);
    assert.throws(() => new Comparison().assertAll(), /no case was compared/);
  });
});
