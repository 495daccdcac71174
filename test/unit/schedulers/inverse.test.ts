import { DDIMInverseScheduler, DDIMScheduler } from '../../../ts/index';
import { assertClose, assertSame, noise, throwsCode } from './helpers';
import assert from 'node:assert/strict';

describe('schedulers: DDIMInverse', () => {
  const [x, out] = [noise(1), noise(2)];

  it('goes from the source t − ⌊T/n⌋ up to the target t', () => {
    const inverse = new DDIMInverseScheduler({ clipSample: false });
    inverse.setTimesteps(10);
    const up = new DDIMScheduler({ clipSample: false }).step(out, 300, x, { prevTimestep: 400 });
    const got = inverse.step(out, 400, x);
    assertSame(got.prevSample, up.prevSample);
    assertSame(got.predOriginalSample, up.predOriginalSample);
  });

  it('a negative source means initialAlphaCumprod', () => {
    const make = (setAlphaToOne: boolean): DDIMInverseScheduler => {
      const s = new DDIMInverseScheduler({ setAlphaToOne, clipSample: false });
      s.setTimesteps(10);
      return s;
    };
    // ᾱ = 1: x is x0 itself, √ᾱ_0 x + √(1 − ᾱ_0) ε
    const bar = make(true).alphasCumprod[0]!;
    assertClose(make(true).step(out, 0, x).predOriginalSample, x, 0);
    assertClose(make(true).step(out, 0, x).prevSample, x.mul(Math.sqrt(bar)).add(out.mul(Math.sqrt(1 - bar))), 1e-6);
    // ᾱ = ᾱ_0: the step to 0 goes nowhere
    assertClose(make(false).step(out, 0, x).prevSample, x, 1e-6);
  });

  it('sourceTimestep overrides the source, and is its only option', () => {
    const inverse = new DDIMInverseScheduler({ clipSample: false });
    inverse.setTimesteps(10);
    const up = new DDIMScheduler({ clipSample: false }).step(out, 20, x, { prevTimestep: 400 });
    assertSame(inverse.step(out, 400, x, { sourceTimestep: 20 }).prevSample, up.prevSample);
    for (const options of [{ eta: 0 }, { prevTimestep: 3 }, { generator: undefined, useClippedModelOutput: true }]) {
      throwsCode(
        () => inverse.step(out, 400, x, options as never),
        'ERR_ARGUMENT',
        /unknown option "(eta|prevTimestep|generator)"/,
      );
    }
    throwsCode(() => inverse.step(out, 400, x, { sourceTimestep: 1000 }), 'ERR_TIMESTEP', /sourceTimestep.*1000/);
    throwsCode(() => inverse.step(out, 400, x, { sourceTimestep: -2 }), 'ERR_TIMESTEP', /sourceTimestep.*-2/);
  });

  it('makes no predOriginalSample where it is told not to', () => {
    const inverse = new DDIMInverseScheduler();
    inverse.setTimesteps(10);
    assert.deepEqual(Object.keys(inverse.step(out, 400, x, { returnPredOriginalSample: false })), ['prevSample']);
  });

  it('takes the entry before t in a custom list as the source', () => {
    const inverse = new DDIMInverseScheduler({ clipSample: false });
    inverse.setTimesteps({ timesteps: [17, 400] });
    const up = new DDIMScheduler({ clipSample: false }).step(out, 17, x, { prevTimestep: 400 });
    assertSame(inverse.step(out, 400, x).prevSample, up.prevSample);
    assertClose(inverse.step(out, 17, x).predOriginalSample, x, 0);
    throwsCode(() => inverse.step(out, 18, x), 'ERR_TIMESTEP', /^timestep .*\(or sourceTimestep given\), got 18/);
    throwsCode(() => inverse.posterior(x, x, 18), 'ERR_TIMESTEP', /^timestep .*\(or prevTimestep given\), got 18/);
    throwsCode(() => inverse.previousTimestep(18), 'ERR_TIMESTEP', /^timestep must be one of the schedule's timesteps, got 18/);
    const sources = { sourceTimestep: [1, 2, 3] };
    throwsCode(() => inverse.step(out, 400, x, sources), 'ERR_ARGUMENT', /^sourceTimestep must be one value or one per sample/);
  });

  it('has no step before setTimesteps unless the source is given', () => {
    const inverse = new DDIMInverseScheduler();
    throwsCode(() => inverse.step(out, 400, x), 'ERR_TIMESTEP', /setTimesteps/);
    inverse.step(out, 400, x, { sourceTimestep: 300 });
  });

  it('takes leading and trailing only', () => {
    for (const timestepSpacing of ['linspace', 'quadratic']) {
      throwsCode(
        () => new DDIMInverseScheduler({ timestepSpacing } as never),
        'ERR_CONFIG',
        /timestepSpacing.*leading.*trailing/,
      );
    }
  });

  it('accepts set_alpha_to_zero as diffusers does', () => {
    const old = DDIMInverseScheduler.fromConfig({ set_alpha_to_zero: false });
    assert.equal(old.config.setAlphaToOne, false);
    assert.equal(DDIMInverseScheduler.fromConfig({ set_alpha_to_zero: null }).config.setAlphaToOne, true);
  });

  it('has no forward process of its own to forget: alphas are those of DDIM', () => {
    assert.deepEqual(new DDIMInverseScheduler().alphasCumprod, new DDIMScheduler().alphasCumprod);
  });
});
