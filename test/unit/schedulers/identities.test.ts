import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, type Tensor } from '../../../ts/index';
import { assertClose, assertSame, constant, maxAbs, maxDifference, noise } from './helpers';

const x0 = noise(11).clamp(-1, 1);
const eps = noise(12);
const PREDICTIONS = ['epsilon', 'sample', 'v_prediction'] as const;
type Prediction = (typeof PREDICTIONS)[number];

/** What a perfect model says of x_t = √ᾱ x0 + √(1 − ᾱ) ε. */
function perfect(scheduler: DDPMScheduler | DDIMScheduler, type: Prediction, t: number): Tensor {
  if (type === 'epsilon') return eps;
  return type === 'sample' ? x0 : scheduler.getVelocity(x0, eps, t);
}

describe('schedulers: x0', () => {
  for (const Class of [DDPMScheduler, DDIMScheduler]) {
    for (const predictionType of PREDICTIONS) {
      it(`${Class.name}, ${predictionType}: the true noise gives x0 back`, () => {
        const scheduler = new Class({ predictionType, clipSample: false });
        scheduler.setTimesteps(1000);
        for (const t of [0, 1, 17, 500, 998, 999]) {
          const xt = scheduler.addNoise(x0, eps, t);
          const out = perfect(scheduler, predictionType, t);
          const got = scheduler.step(out, t, xt, { varianceNoise: eps }).predOriginalSample;
          // addNoise rounds √ᾱ in the sample's float64, step in float32: relative to 1/√ᾱ_t.
          assertClose(got, x0, 5e-7 / Math.sqrt(scheduler.alphasCumprod[t]!), `t = ${t}`);
        }
      });
    }
  }

  for (const predictionType of PREDICTIONS) {
    it(`DDIM, ${predictionType}: with the true noise every jump lands on q(x_s | x_0)`, () => {
      const scheduler = new DDIMScheduler({ predictionType, clipSample: false });
      for (const [t, s] of [
        [999, 500],
        [999, 0],
        [500, 499],
        [20, 3],
        [0, 700],
        [300, 999],
      ] as const) {
        const out = perfect(scheduler, predictionType, t);
        const xs = scheduler.step(out, t, scheduler.addNoise(x0, eps, t), { prevTimestep: s }).prevSample;
        assertClose(xs, scheduler.addNoise(x0, eps, s), 1e-4, `${t} → ${s}`);
      }
      const clean = scheduler.step(perfect(scheduler, predictionType, 40), 40, scheduler.addNoise(x0, eps, 40), {
        prevTimestep: -1,
      });
      assertClose(clean.prevSample, x0, 1e-5);
    });

    it(`DDIMInverse, ${predictionType}: a step up lands on q(x_t | x_0)`, () => {
      const scheduler = new DDIMInverseScheduler({ predictionType, clipSample: false });
      const forward = new DDIMScheduler({ predictionType, clipSample: false });
      scheduler.setTimesteps(10);
      const source = forward.addNoise(x0, eps, 300);
      const got = scheduler.step(perfect(forward, predictionType, 300), 400, source).prevSample;
      assertClose(got, forward.addNoise(x0, eps, 400), 1e-5);
    });
  }

  it('DDIM: σ² and the squared direction add up to 1 − ᾱ_s for any η', () => {
    const scheduler = new DDIMScheduler({ clipSample: false, predictionType: 'epsilon' });
    scheduler.setTimesteps(10);
    const zero = constant(0, x0);
    for (const eta of [0.1, 0.5, 1]) {
      for (const [t, s] of [
        [999, 899],
        [500, 400],
        [99, 50],
      ] as const) {
        const at = (out: Tensor, z: Tensor): Tensor =>
          scheduler.step(out, t, zero, { eta, varianceNoise: z, prevTimestep: s }).prevSample;
        const sigma = at(zero, constant(1, x0)).amax().item();
        const bar = (i: number): number => scheduler.alphasCumprod[i]!;
        // With x = 0 and out = 1: x_s = (direction − √ᾱ_s √(1 − ᾱ_t)/√ᾱ_t)
        const offset = (-Math.sqrt(bar(s)) * Math.sqrt(1 - bar(t))) / Math.sqrt(bar(t));
        const direction = at(constant(1, x0), zero).amax().item() - offset;
        assert.ok(Math.abs(sigma ** 2 + direction ** 2 - (1 - bar(s))) < 1e-4, `η = ${eta}, ${t} → ${s}`);
        const want = eta * Math.sqrt(((1 - bar(s)) / (1 - bar(t))) * (1 - bar(t) / bar(s)));
        assert.ok(Math.abs(sigma / want - 1) < 1e-5, `σ = ${sigma}, eq. 16 gives ${want}`);
      }
    }
  });
});

describe('schedulers: the posterior q(x_s | x_t, x_0)', () => {
  const xt = noise(13);

  /** DDPM eqs. 6 and 7 in doubles, from the float32 ᾱ. */
  function formula(barT: number, barS: number): { c0: number; ct: number; variance: number } {
    const beta = 1 - barT / barS;
    return {
      c0: (Math.sqrt(barS) * beta) / (1 - barT),
      ct: (Math.sqrt(barT / barS) * (1 - barS)) / (1 - barT),
      variance: ((1 - barS) / (1 - barT)) * beta,
    };
  }
  /** float32 leaves 1 − ᾱ_t/ᾱ_s an absolute error near 6e-8. */
  const rtol = (barT: number, barS: number): number => 1e-6 + 2.5e-7 / (1 - barT / barS) + 2.5e-7 / (1 - barS || 1);

  for (const Class of [DDPMScheduler, DDIMScheduler]) {
    it(`${Class.name}: mean and variance are the formulas'`, () => {
      const scheduler = new Class({ betaSchedule: 'scaled_linear' });
      const bar = (t: number): number => (t < 0 ? 1 : scheduler.alphasCumprod[t]!);
      for (const [t, s] of [
        [999, 998],
        [999, 0],
        [500, 250],
        [20, 19],
        [2, 1],
        [1, 0],
        [0, -1],
        [400, -1],
      ] as const) {
        const want = formula(bar(t), bar(s));
        const { mean, variance } = scheduler.posterior(xt, x0, t, s);
        assert.equal(typeof variance, 'number');
        const tolerance = rtol(bar(t), bar(s));
        const expected = x0.mul(want.c0).add(xt.mul(want.ct));
        assertClose(mean, expected, tolerance * Math.max(maxAbs(expected), want.c0, want.ct), `mean ${t} → ${s}`);
        const error = Math.abs((variance as number) - want.variance);
        assert.ok(error <= tolerance * want.variance, `variance ${t} → ${s}: ${String(variance)}, ${want.variance}`);
      }
    });
  }

  it('maps the mean of x_t to the mean of x_s: c0 + ct √ᾱ_t = √ᾱ_s', () => {
    const scheduler = new DDPMScheduler();
    for (const [t, s] of [
      [999, 900],
      [500, 499],
      [100, 0],
    ] as const) {
      const mean = scheduler.posterior(x0.mul(Math.sqrt(scheduler.alphasCumprod[t]!)), x0, t, s).mean;
      assertClose(mean, x0.mul(Math.sqrt(scheduler.alphasCumprod[s]!)), 2e-4, `${t} → ${s}`);
    }
  });

  it('is the same q on DDIM and DDIMInverse, whatever the variance type', () => {
    const all = [
      new DDPMScheduler({ varianceType: 'fixed_large' }),
      new DDPMScheduler({ varianceType: 'learned_range' }),
      new DDIMScheduler(),
      new DDIMInverseScheduler(),
    ];
    const want = new DDPMScheduler().posterior(xt, x0, 500, 400);
    for (const scheduler of all) {
      const got = scheduler.posterior(xt, x0, 500, 400);
      assertSame(got.mean, want.mean);
      assert.equal(got.variance, want.variance);
    }
  });

  it("is the mean and variance of DDPM's step", () => {
    const scheduler = new DDPMScheduler({ clipSample: false });
    scheduler.setTimesteps(20);
    const out = noise(14);
    for (const t of [950, 500, 50]) {
      const quiet = scheduler.step(out, t, xt, { varianceNoise: constant(0, xt) });
      const { mean, variance } = scheduler.posterior(xt, quiet.predOriginalSample, t);
      assertClose(quiet.prevSample, mean, 1e-12);
      const loud = scheduler.step(out, t, xt, { varianceNoise: constant(1, xt) }).prevSample.sub(mean);
      assert.ok(Math.abs(loud.amax().item() ** 2 / (variance as number) - 1) < 1e-5);
    }
  });

  it('prevTimestep defaults to previousTimestep(t)', () => {
    const [ddpm, ddim] = [new DDPMScheduler(), new DDIMScheduler()];
    assertSame(ddpm.posterior(xt, x0, 500).mean, ddpm.posterior(xt, x0, 500, 499).mean);
    for (const scheduler of [ddpm, ddim]) {
      scheduler.setTimesteps(10);
      const [a, b] = [scheduler.posterior(xt, x0, 500), scheduler.posterior(xt, x0, 500, 400)];
      assertSame(a.mean, b.mean);
      assert.equal(a.variance, b.variance);
    }
  });

  it('s = −1 uses finalAlphaCumprod: 1 on DDPM, as setAlphaToOne says on DDIM', () => {
    for (const scheduler of [new DDPMScheduler(), new DDIMScheduler()]) {
      const { mean, variance } = scheduler.posterior(xt, x0, 300, -1);
      assert.equal(variance, 0);
      assertClose(mean, x0, 1e-6);
    }
    const kept = new DDIMScheduler({ setAlphaToOne: false });
    const want = formula(kept.alphasCumprod[300]!, kept.alphasCumprod[0]!);
    const { mean, variance } = kept.posterior(xt, x0, 300, -1);
    assert.ok(Math.abs((variance as number) / want.variance - 1) < 1e-3);
    assertClose(mean, x0.mul(want.c0).add(xt.mul(want.ct)), 1e-4);
  });

  it('gives a Float32Array of variances for timesteps per sample, a number for one', () => {
    const scheduler = new DDPMScheduler();
    const { mean, variance } = scheduler.posterior(xt, x0, [999, 5], [900, 2]);
    assert.ok(variance instanceof Float32Array);
    assert.equal(variance.length, 2);
    const one = scheduler.posterior(xt.narrow(0, 1, 1), x0.narrow(0, 1, 1), 5, 2);
    assert.equal(one.variance, variance[1]);
    assertSame(mean.narrow(0, 1, 1).contiguous(), one.mean);
  });

  it("differs visibly between DDPM's variance types only in step", () => {
    const t = 500;
    const std = (varianceType: 'fixed_small' | 'fixed_large' | 'fixed_small_log' | 'fixed_large_log'): number => {
      const scheduler = new DDPMScheduler({ varianceType, clipSample: false });
      scheduler.setTimesteps(10);
      const at = (z: number): Tensor => scheduler.step(eps, t, xt, { varianceNoise: constant(z, xt) }).prevSample;
      return at(1).sub(at(0)).mean().item();
    };
    const scheduler = new DDPMScheduler();
    const want = formula(scheduler.alphasCumprod[500]!, scheduler.alphasCumprod[400]!);
    const beta = 1 - scheduler.alphasCumprod[500]! / scheduler.alphasCumprod[400]!;
    assert.ok(Math.abs(std('fixed_small') / Math.sqrt(want.variance) - 1) < 1e-5);
    assert.ok(Math.abs(std('fixed_small_log') / Math.sqrt(want.variance) - 1) < 1e-5);
    assert.ok(Math.abs(std('fixed_large') / Math.sqrt(beta) - 1) < 1e-5);
    assert.ok(Math.abs(std('fixed_large_log') / Math.sqrt(beta) - 1) < 1e-5);
  });

  it('moves DDPM by 1e-4 at t = 1, 2 if coefficients were doubles, so they are not', () => {
    // β_t/(1 − ᾱ_t) from the float32 table in doubles and in float32: the fine print's reason for float32.
    const scheduler = new DDPMScheduler();
    const f = Math.fround;
    let worst = 0;
    for (const t of [1, 2]) {
      const [barT, barS] = [scheduler.alphasCumprod[t]!, scheduler.alphasCumprod[t - 1]!];
      const single = f(f(f(Math.sqrt(barS)) * f(1 - f(barT / barS))) / f(1 - barT));
      const { mean } = scheduler.posterior(constant(0, xt), constant(1, xt), t, t - 1);
      assert.equal(f(mean.amax().item()), single);
      worst = Math.max(worst, Math.abs(single / formula(barT, barS).c0 - 1));
    }
    assert.ok(worst > 5e-5, `float32 and double differ by ${worst}`);
    assert.ok(maxDifference(constant(0, xt), constant(0, xt)) === 0);
  });
});
