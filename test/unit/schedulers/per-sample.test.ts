import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, Tensor, cat } from '../../../ts/index';
import { assertSame, fresh, noise } from './helpers';

const shape = [3, 2, 4, 5];
const [x, out] = [noise(1, shape, 'float32'), noise(2, shape, 'float32')];
const one = (tensor: Tensor, i: number): Tensor => tensor.narrow(0, i, 1).contiguous();

const CLIPS = [{ clipSample: false }, { clipSample: true }, { thresholding: true, sampleMaxValue: 3 }];
const PREDICTIONS = ['epsilon', 'sample', 'v_prediction'] as const;

describe('schedulers: a batch with a timestep, η and jump per sample is its lone calls, to the bit', () => {
  for (const predictionType of PREDICTIONS) {
    for (const clip of CLIPS) {
      it(`DDIM, ${predictionType}, ${JSON.stringify(clip)}`, () => {
        const scheduler = new DDIMScheduler({ predictionType, ...clip });
        scheduler.setTimesteps(10);
        const [t, s, eta] = [
          [999, 0, 421],
          [899, -1, 7],
          [0, 0.5, 1],
        ];
        for (const useClippedModelOutput of [false, true]) {
          const generator = [fresh(1), fresh(2), fresh(3)];
          const batch = scheduler.step(out, t, x, { prevTimestep: s, eta, generator, useClippedModelOutput });
          t.forEach((ti, i) => {
            const options = { prevTimestep: s[i]!, eta: eta[i]!, generator: fresh(i + 1), useClippedModelOutput };
            const lone = scheduler.step(one(out, i), ti, one(x, i), options);
            assertSame(one(batch.prevSample, i), lone.prevSample, `sample ${i}`);
            assertSame(one(batch.predOriginalSample, i), lone.predOriginalSample, `sample ${i}`);
          });
        }
      });

      it(`DDPM, ${predictionType}, ${JSON.stringify(clip)}`, () => {
        for (const varianceType of [
          'fixed_small',
          'fixed_large',
          'fixed_small_log',
          'learned_range',
          'learned',
        ] as const) {
          const scheduler = new DDPMScheduler({ predictionType, varianceType, ...clip });
          const learned = varianceType.startsWith('learned');
          const output = learned ? cat([out, noise(3, shape, 'float32').abs().clamp(0, 1)], 1) : out;
          const [t, s] = [
            [999, 0, 421],
            [899, -1, 7],
          ];
          const batch = scheduler.step(output, t, x, { prevTimestep: s, generator: [fresh(1), fresh(2), fresh(3)] });
          t.forEach((ti, i) => {
            const options = { prevTimestep: s[i]!, generator: fresh(i + 1) };
            const lone = scheduler.step(one(output, i), ti, one(x, i), options);
            assertSame(one(batch.prevSample, i), lone.prevSample, `${varianceType}, sample ${i}`);
            assertSame(one(batch.predOriginalSample, i), lone.predOriginalSample, `${varianceType}, sample ${i}`);
          });
        }
      });
    }
  }

  it('one timestep for all is that timestep per sample', () => {
    for (const scheduler of [new DDIMScheduler(), new DDPMScheduler()]) {
      scheduler.setTimesteps(10);
      const all = scheduler.step(out, 500, x, { generator: fresh(1) }).prevSample;
      const each = scheduler.step(out, [500, 500, 500], x, {
        generator: fresh(1),
        prevTimestep: [400, 400, 400],
      }).prevSample;
      assertSame(each, all);
    }
  });

  it("prevTimestep defaults to each sample's own previousTimestep", () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(10);
    const got = scheduler.step(out, [900, 0, 300], x).prevSample;
    assertSame(got, scheduler.step(out, [900, 0, 300], x, { prevTimestep: [800, -1, 200] }).prevSample);
  });

  it('DDIMInverse', () => {
    const scheduler = new DDIMInverseScheduler();
    scheduler.setTimesteps(10);
    const t = [900, 0, 100];
    const batch = scheduler.step(out, t, x);
    t.forEach((ti, i) => assertSame(one(batch.prevSample, i), scheduler.step(one(out, i), ti, one(x, i)).prevSample));
  });

  it('addNoise and getVelocity', () => {
    const scheduler = new DDPMScheduler();
    const t = [0, 999, 421];
    const [noisy, velocity] = [scheduler.addNoise(x, out, t), scheduler.getVelocity(x, out, t)];
    t.forEach((ti, i) => {
      assertSame(one(noisy, i), scheduler.addNoise(one(x, i), one(out, i), ti));
      assertSame(one(velocity, i), scheduler.getVelocity(one(x, i), one(out, i), ti));
    });
  });

  it('a sample does not depend on its neighbours, not even on a NaN among them', () => {
    const scheduler = new DDIMScheduler({ thresholding: true });
    scheduler.setTimesteps(10);
    const bad = cat([one(out, 0), one(out, 1).mul(NaN), one(out, 2)]);
    const [a, b] = [scheduler.step(out, 500, x).prevSample, scheduler.step(bad, 500, x).prevSample];
    for (const i of [0, 2]) assertSame(one(b, i), one(a, i));
    assert.ok(Number.isNaN(one(b, 1).mean().item()));
  });
});
