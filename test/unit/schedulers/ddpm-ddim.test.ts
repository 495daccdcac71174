import assert from 'node:assert/strict';
import { DDIMScheduler, DDPMScheduler } from '../../../ts/index';
import { constant, maxAbs, maxDifference, noise } from './helpers';

/** The tolerance: float32 coefficients differ most where 1 − ᾱ is small. */
const rtol = (t: number): number => (t < 20 ? 1e-3 : 1e-5);

describe('schedulers: DDIM with η = 1 over all steps is DDPM', function () {
  this.timeout(60_000);
  const shape = [1, 2, 3, 3];
  const [sample, output] = [noise(1, shape), noise(2, shape)];
  const [zeros, ones] = [constant(0, sample), constant(1, sample)];

  const variants = [
    { clipSample: false, useClippedModelOutput: false },
    { clipSample: false, useClippedModelOutput: true },
    { clipSample: true, useClippedModelOutput: true },
  ];
  for (const predictionType of ['epsilon', 'sample', 'v_prediction'] as const) {
    for (const { clipSample, useClippedModelOutput } of variants) {
      const clipping = `${clipSample ? 'clipped' : 'not clipped'}, useClippedModelOutput ${useClippedModelOutput}`;
      it(`${predictionType}, ${clipping}: the same mean and variance at every t`, () => {
        const config = { predictionType, clipSample };
        const [ddpm, ddim] = [new DDPMScheduler(config), new DDIMScheduler(config)];
        ddpm.setTimesteps(1000);
        ddim.setTimesteps(1000);
        for (let t = 999; t > 0; t -= t > 60 ? 13 : 1) {
          const options = { eta: 1, useClippedModelOutput };
          const mean = ddpm.step(output, t, sample, { varianceNoise: zeros }).prevSample;
          const mean2 = ddim.step(output, t, sample, { ...options, varianceNoise: zeros }).prevSample;
          const error = maxDifference(mean, mean2) / maxAbs(mean);
          assert.ok(error <= rtol(t), `mean at t = ${t}: relative error ${error}`);

          const std = ddpm.step(output, t, sample, { varianceNoise: ones }).prevSample.sub(mean);
          const std2 = ddim.step(output, t, sample, { ...options, varianceNoise: ones }).prevSample.sub(mean2);
          const ratio = std2.pow(2).mean().item() / std.pow(2).mean().item();
          assert.ok(Math.abs(ratio - 1) <= rtol(t), `variance at t = ${t}: ratio ${ratio}`);

          const { variance } = ddpm.posterior(sample, sample, t);
          assert.equal(typeof variance, 'number');
          const ratio2 = std.pow(2).mean().item() / (variance as number);
          assert.ok(Math.abs(ratio2 - 1) <= rtol(t), `posterior variance at t = ${t}: ratio ${ratio2}`);
        }
      });
    }
  }

  it('is not DDPM where x0 is clipped and ε is not', () => {
    const config = { clipSample: true } as const;
    const [ddpm, ddim] = [new DDPMScheduler(config), new DDIMScheduler(config)];
    ddpm.setTimesteps(1000);
    ddim.setTimesteps(1000);
    const mean = ddpm.step(output, 900, sample, { varianceNoise: zeros }).prevSample;
    const mean2 = ddim.step(output, 900, sample, { eta: 1, varianceNoise: zeros }).prevSample;
    assert.ok(maxDifference(mean, mean2) > 1e-3 * maxAbs(mean));
  });

  it('at t = 0 both give x0, and DDPM draws no noise', () => {
    const [ddpm, ddim] = [new DDPMScheduler({ clipSample: false }), new DDIMScheduler({ clipSample: false })];
    ddpm.setTimesteps(1000);
    ddim.setTimesteps(1000);
    const a = ddpm.step(output, 0, sample, { varianceNoise: ones });
    const b = ddim.step(output, 0, sample, { eta: 1, varianceNoise: ones });
    for (const { prevSample, predOriginalSample } of [a, b]) {
      assert.ok(maxDifference(prevSample, predOriginalSample) <= 1e-6 * maxAbs(prevSample));
    }
  });
});
