import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMScheduler, type Tensor } from '../../../ts/index';
import { assertClose, maxDifference, noise } from './helpers';

/** The best ε of data N(0, c²): √(1 − ᾱ_t) x / (ᾱ_t c² + 1 − ᾱ_t). Linear in x, so of small curvature. */
const gaussianModel =
  (scheduler: { alphasCumprod: Float32Array }, c: number) =>
  (x: Tensor, t: number): Tensor => {
    const bar = scheduler.alphasCumprod[t]!;
    return x.mul(Math.sqrt(1 - bar) / (bar * c * c + 1 - bar));
  };

function roundTrip(n: number, model: (x: Tensor, t: number) => Tensor, x: Tensor): { latent: Tensor; back: Tensor } {
  const [up, down] = [new DDIMInverseScheduler({ clipSample: false }), new DDIMScheduler({ clipSample: false })];
  up.setTimesteps(n);
  down.setTimesteps(n);
  let latent = x;
  for (const t of up.timesteps) latent = up.step(model(latent, t), t, latent).prevSample;
  let back = latent;
  for (const t of down.timesteps) back = down.step(model(back, t), t, back).prevSample;
  return { latent, back };
}

describe('schedulers: inversion, then sampling', function () {
  this.timeout(60_000);
  const x = noise(21, [1, 2, 4, 4]).mul(0.5);
  const tables = new DDIMScheduler();

  it('returns its input for a model that does not look at x', () => {
    const fixed = noise(22, [1, 2, 4, 4]);
    for (const n of [10, 50, 1000]) {
      const { latent, back } = roundTrip(n, (_, t) => fixed.mul(Math.cos(t / 300)), x);
      assertClose(back, x, 2e-3, `n = ${n}`);
      assert.ok(maxDifference(latent, x) > 0.5, 'the latent is not the input');
    }
  });

  it('returns its input for a Gaussian model, the closer the more steps', () => {
    const model = gaussianModel(tables, 0.5);
    const errors = [50, 200, 1000].map((n) => maxDifference(roundTrip(n, model, x).back, x));
    assert.ok(errors[2]! < 0.02, `error ${errors[2]!} at 1000 steps`);
    assert.ok(errors[0]! > 2 * errors[1]! && errors[1]! > 2 * errors[2]!, `errors ${errors.join(', ')}`);
  });

  it('makes the latent of Gaussian data standard normal', () => {
    const data = noise(23, [1, 4, 16, 16]).mul(0.5);
    const { latent } = roundTrip(200, gaussianModel(tables, 0.5), data);
    assert.ok(Math.abs(latent.std().item() - 1) < 0.1, `std ${latent.std().item()}`);
  });

  it('works on DDIM alone, by jumps to a prevTimestep above timestep', () => {
    const scheduler = new DDIMScheduler({ clipSample: false });
    const rising = Array.from({ length: 100 }, (_, i) => i * 10);
    const fixed = noise(24, [1, 2, 4, 4]);
    let latent = x;
    for (let i = 0; i + 1 < rising.length; i++) {
      latent = scheduler.step(fixed, rising[i]!, latent, { prevTimestep: rising[i + 1]! }).prevSample;
    }
    let back = latent;
    for (let i = rising.length - 1; i > 0; i--) {
      back = scheduler.step(fixed, rising[i]!, back, { prevTimestep: rising[i - 1]! }).prevSample;
    }
    assertClose(back, x, 1e-4);
    assert.ok(maxDifference(latent, x) > 0.5);
  });

  it('does not return its input with clipping on', () => {
    const wide = x.mul(8);
    const scheduler = new DDIMInverseScheduler();
    scheduler.setTimesteps(10);
    const { predOriginalSample } = scheduler.step(wide.mul(0), 400, wide);
    assert.ok(predOriginalSample.abs().amax().item() <= 1);
  });
});
