import assert from 'node:assert/strict';
import { cat, DDIMScheduler, DDPMScheduler, Generator, type Tensor } from '../../../ts/index';
import { magnitude, worstError } from '../../parity/fixture';
import { schedulersFixture, type Outcome } from '../../parity/recordings';
import { assertClose, assertSame, constant, fresh, numbers, throwsCode } from './helpers';

// Where the schedulers differ from diffusers on purpose: what it does (recorded), and what we do.
const fixture = schedulersFixture();
const recorded = fixture.manifest.differences;
const [sample, output] = [fixture.tensor(recorded.sample), fixture.tensor(recorded.model_output)];
const learned = fixture.tensor(recorded.learned_output);

function ours(name: string): { scheduler: DDPMScheduler | DDIMScheduler; outcome: Outcome } {
  const outcome = recorded[name] as Outcome;
  const Class = outcome.class === 'DDPMScheduler' ? DDPMScheduler : DDIMScheduler;
  const scheduler = Class.fromConfig(outcome.config);
  if (outcome.n !== null) scheduler.setTimesteps(outcome.n);
  return { scheduler, outcome };
}
const step = (s: DDPMScheduler | DDIMScheduler, t: number, out: Tensor = output, options: object = {}): Tensor =>
  s.step(out, t, sample, { generator: fresh(1), ...options }).prevSample;

const close = (got: Tensor, outcome: Outcome): void => {
  const want = fixture.numbers(outcome.prev_sample!);
  assert.ok(worstError(numbers(got), want) <= 1e-5 * magnitude(want));
};
const isNaNThere = (outcome: Outcome): void => {
  assert.equal(outcome.finite, false);
  assert.ok(fixture.numbers(outcome.prev_sample!).some((v) => !Number.isFinite(v)));
};

describe('schedulers: differs from diffusers', () => {
  it('fixed_large_log: NaN there, std √β_t here', () => {
    const { scheduler, outcome } = ours('fixed_large_log');
    isNaNThere(outcome);
    const large = ours('fixed_large');
    assert.equal(large.outcome.finite, true);
    const got = step(scheduler, 500);
    assertSame(got, step(large.scheduler, 500));
    close(got, large.outcome);
    const at = (z: number): Tensor =>
      scheduler.step(output, 500, sample, { varianceNoise: constant(z, sample) }).prevSample;
    const beta = 1 - scheduler.alphasCumprod[500]! / scheduler.alphasCumprod[400]!;
    assertClose(at(1).sub(at(0)), constant(Math.sqrt(beta), sample), 1e-6);
  });

  it('1 − ᾱ_s − σ² a hair below 0: NaN there, clamped at 0 here', () => {
    assert.ok(fixture.manifest.negative_remainder.length > 0);
    for (const found of fixture.manifest.negative_remainder) {
      assert.ok(found.remainder < 0 && found.remainder > -1e-6);
      assert.equal(found.finite, false);
      const scheduler = DDIMScheduler.fromConfig(found.config);
      scheduler.setTimesteps(found.n);
      const options = { eta: 1, varianceNoise: constant(0, sample) };
      const got = scheduler.step(output, found.t, sample, options);
      const x0 = fixture.numbers(found.pred_original_sample);
      assert.ok(worstError(numbers(got.predOriginalSample), x0) <= 1e-5 * magnitude(x0));
      // No direction left: x_s = √ᾱ_s x0.
      const s = scheduler.previousTimestep(found.t);
      const barS = s < 0 ? scheduler.finalAlphaCumprod : scheduler.alphasCumprod[s]!;
      assertClose(got.prevSample, got.predOriginalSample.mul(Math.sqrt(barS)), 1e-6);
    }
  });

  it('1 − ᾱ_s − σ² well below 0 (η = 2): NaN there, ERR_CONFIG here', () => {
    const { scheduler, outcome } = ours('eta_two');
    isNaNThere(outcome);
    throwsCode(() => step(scheduler, outcome.t, output, { eta: 2 }), 'ERR_CONFIG', /eta.* 2/);
  });

  it('draws the line between the two at −1e-6', () => {
    // With ᾱ_t = 0, σ² = η² (1 − ᾱ_s): the remainder is (1 − η²)(1 − ᾱ_s).
    const config = { rescaleBetasZeroSnr: true, timestepSpacing: 'trailing', predictionType: 'v_prediction' } as const;
    const scheduler = new DDIMScheduler(config);
    scheduler.setTimesteps(10);
    assert.ok(numbers(step(scheduler, 999, output, { eta: 1 + 2e-7 })).every(Number.isFinite));
    throwsCode(() => step(scheduler, 999, output, { eta: 1 + 2e-6 }), 'ERR_CONFIG', /eta/);
  });

  it('η = 0 means σ = 0 exactly, so that s > t works; with η > 0 it does not', () => {
    const scheduler = new DDIMScheduler({ clipSample: false });
    assert.ok(numbers(step(scheduler, 100, output, { prevTimestep: 900, eta: 0 })).every(Number.isFinite));
    for (const eta of [1e-6, 0.5, 1]) {
      throwsCode(
        () => step(scheduler, 100, output, { prevTimestep: 900, eta }),
        'ERR_TIMESTEP',
        /prevTimestep.*900.*eta/,
      );
    }
    throwsCode(
      () => step(new DDPMScheduler(), 100, output, { prevTimestep: 900 }),
      'ERR_TIMESTEP',
      /prevTimestep.*900/,
    );
  });

  it('ᾱ_t = 0 with ε-prediction and no bound: not finite there, ERR_CONFIG at step here', () => {
    for (const name of ['zero_snr_epsilon_ddim', 'zero_snr_epsilon_ddpm']) {
      const { scheduler, outcome } = ours(name);
      isNaNThere(outcome);
      assert.equal(scheduler.alphasCumprod[999], 0);
      throwsCode(() => step(scheduler, 999), 'ERR_CONFIG', /clipSample.*thresholding/);
      step(scheduler, 899);
    }
    for (const Class of [DDPMScheduler, DDIMScheduler]) {
      for (const bound of [{ clipSample: true }, { thresholding: true, clipSample: false }]) {
        const scheduler = new Class({ rescaleBetasZeroSnr: true, timestepSpacing: 'trailing', ...bound });
        scheduler.setTimesteps(10);
        assert.ok(numbers(step(scheduler, 999)).every(Number.isFinite));
      }
      for (const predictionType of ['sample', 'v_prediction'] as const) {
        const scheduler = new Class({
          rescaleBetasZeroSnr: true,
          timestepSpacing: 'trailing',
          clipSample: false,
          predictionType,
        });
        scheduler.setTimesteps(10);
        assert.ok(numbers(step(scheduler, 999)).every(Number.isFinite));
      }
    }
  });

  it('ᾱ_t = 0 with ε-prediction and thresholding: NaN there where the quantile meets two infinities, ±1 here', () => {
    const found = fixture.manifest.nonfinite_steps.filter(
      (s) => s.config['thresholding'] === true && s.config['prediction_type'] === 'epsilon',
    );
    assert.ok(found.length > 0);
    const config = { rescaleBetasZeroSnr: true, thresholding: true, timestepSpacing: 'trailing' } as const;
    const scheduler = new DDIMScheduler({ ...config, sampleMaxValue: 2.5 });
    scheduler.setTimesteps(10);
    const { predOriginalSample } = scheduler.step(output, 999, sample);
    const sign = numbers(sample.sub(output)).map(Math.sign);
    assert.deepEqual(numbers(predOriginalSample), sign);
  });

  it('learned variance without 2C channels: a TypeError there, ERR_SHAPE here', () => {
    for (const name of ['learned_plain_output', 'learned_range_plain_output']) {
      const { scheduler, outcome } = ours(name);
      assert.equal(outcome.error, 'TypeError');
      throwsCode(() => step(scheduler, outcome.t), 'ERR_SHAPE', /modelOutput.*twice the channels.*got \[2, 3, 4, 4\]/);
    }
  });

  it('negative learned variances: NaN there, an error here', () => {
    const { scheduler, outcome } = ours('learned_negative');
    isNaNThere(outcome);
    const negative = cat([output, learned.narrow(1, 3, 3).neg()], 1);
    throwsCode(() => step(scheduler, outcome.t, negative), 'ERR_ARGUMENT', /modelOutput.*non-negative/);
    assert.ok(numbers(step(scheduler, outcome.t, learned)).every(Number.isFinite));
  });

  it('a 2C-channel model under DDIM: a RuntimeError there, the variance half dropped here', () => {
    const { scheduler, outcome } = ours('two_c_ddim');
    assert.equal(outcome.error, 'RuntimeError');
    const plain = ours('plain_c_ddim');
    const got = step(scheduler, outcome.t, learned);
    close(got, plain.outcome);
    assertSame(got, step(plain.scheduler, 500, learned.narrow(1, 0, 3)));
  });

  it('2C channels with a fixed variance under DDPM: an error on both sides', () => {
    const { scheduler, outcome } = ours('two_c_fixed_small');
    assert.equal(outcome.error, 'RuntimeError');
    throwsCode(() => step(scheduler, outcome.t, learned), 'ERR_SHAPE', /modelOutput.*\[2, 3, 4, 4\].*\[2, 6, 4, 4\]/);
  });

  it('trainedBetas of a wrong length or with a 0: accepted there until they fail, ERR_CONFIG here', () => {
    const short = recorded['trained_betas_short'] as Outcome;
    assert.equal(short.error, 'IndexError');
    throwsCode(() => DDIMScheduler.fromConfig(short.config), 'ERR_CONFIG', /trained_betas.*1000.*20/);
    const zero = recorded['trained_beta_zero'] as Outcome;
    isNaNThere(zero);
    throwsCode(() => DDIMScheduler.fromConfig(zero.config), 'ERR_CONFIG', /trained_betas/);
    for (const beta of [0, -0.1, 1.0001, NaN, Infinity]) {
      const config = { numTrainTimesteps: 3, trainedBetas: [0.1, beta, 0.2] };
      throwsCode(() => new DDPMScheduler(config), 'ERR_CONFIG', /trainedBetas/);
    }
    assert.equal(new DDPMScheduler({ numTrainTimesteps: 3, trainedBetas: [0.1, 1, 0.2] }).betas[1], 1);
  });

  it('a bound that is not above 0: nonsense there, ERR_CONFIG here', () => {
    for (const [name, key] of [
      ['clip_range_negative', 'clip_sample_range'],
      ['sample_max_negative', 'sample_max_value'],
    ] as const) {
      const outcome = recorded[name] as Outcome;
      assert.equal(outcome.finite, true);
      throwsCode(() => DDIMScheduler.fromConfig(outcome.config), 'ERR_CONFIG', new RegExp(`${key}.*-1`));
    }
    throwsCode(() => new DDPMScheduler({ clipSampleRange: 0 }), 'ERR_CONFIG', /clipSampleRange.*got 0/);
    throwsCode(() => new DDPMScheduler({ sampleMaxValue: 0 }), 'ERR_CONFIG', /sampleMaxValue.*got 0/);
    // As float32 these are 0 and ∞: 0/0 and no bound at all.
    for (const value of [5e-324, 1e308, Infinity, NaN]) {
      throwsCode(() => new DDIMScheduler({ clipSampleRange: value }), 'ERR_CONFIG', /clipSampleRange/);
      throwsCode(() => new DDIMScheduler({ sampleMaxValue: value }), 'ERR_CONFIG', /sampleMaxValue/);
    }
  });

  it('a list that leaves [0, T): an IndexError in the middle there, ERR_TIMESTEP at setTimesteps here', () => {
    const outcome = recorded['list_leaves_range'] as Outcome;
    assert.equal(outcome.error, 'IndexError');
    const scheduler = DDIMScheduler.fromConfig(outcome.config);
    throwsCode(() => scheduler.setTimesteps(1000), 'ERR_TIMESTEP', /1000.*stepsOffset 1/);
    scheduler.setTimesteps(999);
  });

  it('negative entries of a custom list: taken there, ERR_TIMESTEP here', () => {
    const outcome = recorded['negative_custom'] as Outcome;
    assert.equal(outcome.error, undefined);
    const scheduler = new DDPMScheduler();
    throwsCode(() => scheduler.setTimesteps({ timesteps: outcome.timesteps! }), 'ERR_TIMESTEP', /timesteps.*-5/);
  });

  it('a timestep not in the list, no steps, an empty list, no list yet: bare errors there, ERR_TIMESTEP here', () => {
    assert.equal((recorded['not_in_list'] as Outcome).error, 'IndexError');
    throwsCode(() => step(ours('not_in_list').scheduler, 555), 'ERR_TIMESTEP', /timestep.*555/);
    assert.equal((recorded['zero_steps'] as Outcome).error, 'ZeroDivisionError');
    throwsCode(() => new DDIMScheduler().setTimesteps(0), 'ERR_TIMESTEP', /numInferenceSteps.*1 … 1000.*got 0/);
    assert.equal((recorded['empty_custom'] as Outcome).error, 'IndexError');
    throwsCode(() => new DDPMScheduler().setTimesteps({ timesteps: [] }), 'ERR_TIMESTEP', /timesteps.*empty/);
    assert.equal((recorded['before_set_timesteps'] as Outcome).error, 'ValueError');
    throwsCode(() => step(new DDIMScheduler(), 500), 'ERR_TIMESTEP', /setTimesteps/);
  });

  it('an unknown predictionType: a ValueError at step there, ERR_CONFIG at once here', () => {
    const outcome = recorded['prediction_type_unknown'] as Outcome;
    assert.equal(outcome.error, 'ValueError');
    throwsCode(() => DDIMScheduler.fromConfig(outcome.config), 'ERR_CONFIG', /prediction_type.*epsilon.*nonsense/);
  });

  it('generator and varianceNoise together: an error there for η > 0 only, always here', () => {
    assert.equal((recorded['both_noises'] as Outcome).error, 'ValueError');
    assert.equal((recorded['both_noises_eta_zero'] as Outcome).error, undefined);
    for (const eta of [0, 1]) {
      const options = { generator: new Generator({ seed: 1 }), varianceNoise: sample, eta };
      const scheduler = ours('both_noises').scheduler;
      throwsCode(() => step(scheduler, 900, output, options), 'ERR_ARGUMENT', /generator.*varianceNoise/);
    }
  });
});
