import assert from 'node:assert/strict';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, Generator, randn, Tensor, zeros } from '../../../ts/index';
import { fresh, noise, throwsCode } from './helpers';

const [x, out] = [noise(1, undefined, 'float32'), noise(2, undefined, 'float32')];
const CLASSES = [DDPMScheduler, DDIMScheduler, DDIMInverseScheduler] as const;

describe('schedulers: errors of setTimesteps', () => {
  for (const Class of CLASSES) {
    it(`${Class.name}: numInferenceSteps outside 1 … T or no integer`, () => {
      const scheduler = new Class();
      for (const n of [0, -1, 1001, 1.5, NaN, Infinity, -Infinity, 2 ** 40]) {
        const message = new RegExp(`numInferenceSteps must be an integer in 1 … 1000.*got ${n}`);
        throwsCode(() => scheduler.setTimesteps(n), 'ERR_TIMESTEP', message);
        throwsCode(() => scheduler.setTimesteps({ numInferenceSteps: n }), 'ERR_TIMESTEP', message);
      }
      for (const n of ['10', null, undefined, true, {}, 10n]) {
        assert.throws(() => scheduler.setTimesteps(n as never), { code: /^ERR_(ARGUMENT|TIMESTEP)$/ }, String(n));
      }
      assert.equal(scheduler.numInferenceSteps, null, 'a refused call changes nothing');
    });

    it(`${Class.name}: custom lists`, () => {
      const scheduler = new Class();
      const up = Class === DDIMInverseScheduler;
      const order = up ? /timesteps must be strictly ascending/ : /timesteps must be strictly descending/;
      const sorted = (list: number[]): number[] => (up ? [...list].reverse() : list);
      const refuse = (timesteps: unknown, message: RegExp): void =>
        throwsCode(() => scheduler.setTimesteps({ timesteps } as never), 'ERR_TIMESTEP', message);
      refuse([], /timesteps must not be empty/);
      refuse(sorted([3, 7]), order);
      refuse(sorted([9, 5, 5]), order);
      refuse(sorted([1000, 3]), /timesteps.*0 … 999.*1000/);
      refuse(sorted([3, -1]), /timesteps.*0 … 999.*-1/);
      refuse(sorted([3.5, 1]), /timesteps.*integer.*3\.5/);
      refuse(sorted([NaN]), /timesteps.*NaN/);
      scheduler.setTimesteps({ timesteps: sorted([999, 0]) });
    });

    it(`${Class.name}: options`, () => {
      const scheduler = new Class();
      throwsCode(
        () => scheduler.setTimesteps({ numInferenceSteps: 3, timesteps: [2, 1] } as never),
        'ERR_ARGUMENT',
        /numInferenceSteps.*timesteps/,
      );
      throwsCode(() => scheduler.setTimesteps({ steps: 3 } as never), 'ERR_ARGUMENT', /steps/);
      throwsCode(() => scheduler.setTimesteps({} as never), 'ERR_ARGUMENT', /numInferenceSteps.*timesteps/);
    });
  }
});

/** What the three classes' steps have in common, as far as wrong arguments go. */
interface Stepping {
  step(modelOutput: Tensor, timestep: number | ArrayLike<number> | Tensor, sample: Tensor, options?: never): unknown;
}

describe('schedulers: errors of step', () => {
  const ready = <S extends DDPMScheduler | DDIMScheduler | DDIMInverseScheduler>(Class: new () => S): S => {
    const scheduler = new Class();
    scheduler.setTimesteps(10);
    return scheduler;
  };
  const any = (Class: (typeof CLASSES)[number]): Stepping =>
    ready<DDPMScheduler | DDIMScheduler | DDIMInverseScheduler>(Class) as Stepping;

  for (const Class of CLASSES) {
    it(`${Class.name}: timesteps`, () => {
      const scheduler = any(Class);
      for (const t of [-1, 1000, 1.5, NaN, Infinity]) {
        throwsCode(() => scheduler.step(out, t, x), 'ERR_TIMESTEP', new RegExp(`timestep must be .*got ${t}`));
        throwsCode(() => scheduler.step(out, [100, t], x), 'ERR_TIMESTEP', new RegExp(`timestep must be .*got ${t}`));
      }
      throwsCode(() => scheduler.step(out, [100, 100, 100], x), 'ERR_ARGUMENT', /timestep.*\(2\).*got 3/);
      throwsCode(() => scheduler.step(out, [], x), 'ERR_ARGUMENT', /timestep/);
      throwsCode(() => scheduler.step(out, Tensor.from([100.5, 2]), x), 'ERR_TIMESTEP', /timestep.*integer.*100\.5/);
      const square = Tensor.from([
        [1, 2],
        [3, 4],
      ]).to({ dtype: 'int64' });
      throwsCode(() => scheduler.step(out, square, x), 'ERR_ARGUMENT', /timestep.*one dimension.*\[2, 2\]/);
      for (const t of ['100', null, undefined, {}]) {
        assert.throws(() => scheduler.step(out, t as never, x), { code: /^ERR_(ARGUMENT|TIMESTEP)$/ }, String(t));
      }
    });

    it(`${Class.name}: shapes, dtypes and kinds of modelOutput and sample`, () => {
      const scheduler = any(Class);
      throwsCode(
        () => scheduler.step(noise(1, [2, 3, 4, 5], 'float32'), 100, x),
        'ERR_SHAPE',
        /modelOutput.*\[2, 3, 4, 4\].*\[2, 3, 4, 5\]/,
      );
      throwsCode(
        () => scheduler.step(noise(1, [1, 3, 4, 4], 'float32'), 100, x),
        'ERR_SHAPE',
        /modelOutput.*\[1, 3, 4, 4\]/,
      );
      throwsCode(() => scheduler.step(noise(1, [3, 4, 4], 'float32'), 100, x), 'ERR_SHAPE', /modelOutput.*\[3, 4, 4\]/);
      const scalar = Tensor.from([1]).reshape([]);
      throwsCode(() => scheduler.step(scalar, 100, scalar), 'ERR_SHAPE', /sample.*\[\]/);
      const empty = zeros([0, 3, 4, 4]);
      throwsCode(() => scheduler.step(empty, 100, empty), 'ERR_SHAPE', /sample.*\[0, 3, 4, 4\]/);
      const integers = x.to({ dtype: 'int64' });
      throwsCode(() => scheduler.step(out, 100, integers), 'ERR_DTYPE', /sample.*floating-point.*(int64|Long)/);
      throwsCode(() => scheduler.step(integers, 100, x), 'ERR_DTYPE', /modelOutput.*floating-point.*(int64|Long)/);
      for (const wrong of [null, undefined, 3, [1, 2], {}, 'x']) {
        throwsCode(() => scheduler.step(wrong as never, 100, x), 'ERR_ARGUMENT', /modelOutput.*Tensor/);
        throwsCode(() => scheduler.step(out, 100, wrong as never), 'ERR_ARGUMENT', /sample.*Tensor/);
      }
    });

    it(`${Class.name}: a disposed tensor`, () => {
      const gone = x.clone();
      gone.dispose();
      throwsCode(() => any(Class).step(out, 100, gone), 'ERR_DISPOSED', /dispose/);
      throwsCode(() => any(Class).step(gone, 100, x), 'ERR_DISPOSED', /dispose/);
    });

    it(`${Class.name}: unknown options, and a switch that is none`, () => {
      const switched = { returnPredOriginalSample: 1 } as never;
      throwsCode(() => any(Class).step(out, 100, x, switched), 'ERR_ARGUMENT', /returnPredOriginalSample must be a boolean/);
      throwsCode(() => any(Class).step(out, 100, x, { etaa: 0 } as never), 'ERR_ARGUMENT', /etaa/);
      throwsCode(() => any(Class).step(out, 100, x, 3 as never), 'ERR_ARGUMENT', /options/);
    });
  }

  it('eta: below 0, not a number, of a wrong length', () => {
    const scheduler = ready(DDIMScheduler);
    for (const eta of [-0.1, NaN, Infinity]) {
      throwsCode(() => scheduler.step(out, 100, x, { eta }), 'ERR_ARGUMENT', new RegExp(`eta.*got ${eta}`));
      throwsCode(() => scheduler.step(out, 100, x, { eta: [0, eta] }), 'ERR_ARGUMENT', new RegExp(`eta.*got ${eta}`));
    }
    throwsCode(() => scheduler.step(out, 100, x, { eta: [0, 0, 0] }), 'ERR_ARGUMENT', /eta.*\(2\).*got 3/);
    throwsCode(() => scheduler.step(out, 100, x, { eta: 'one' as never }), 'ERR_ARGUMENT', /eta/);
    throwsCode(
      () => scheduler.step(out, 100, x, { useClippedModelOutput: 1 as never }),
      'ERR_ARGUMENT',
      /useClippedModelOutput/,
    );
    throwsCode(() => ready(DDPMScheduler).step(out, 100, x, { eta: 1 } as never), 'ERR_ARGUMENT', /eta/);
  });

  it('prevTimestep: out of range, not an integer, of a wrong length, not below timestep', () => {
    for (const Class of [DDPMScheduler, DDIMScheduler]) {
      const scheduler = ready<DDPMScheduler | DDIMScheduler>(Class) as DDPMScheduler;
      for (const s of [-2, 1000, 1.5, NaN]) {
        const run = (): unknown => scheduler.step(out, 100, x, { prevTimestep: s });
        throwsCode(run, 'ERR_TIMESTEP', new RegExp(`prevTimestep must be .*got ${s}`));
      }
      throwsCode(
        () => scheduler.step(out, 100, x, { prevTimestep: [1, 2, 3] }),
        'ERR_ARGUMENT',
        /prevTimestep.*\(2\).*got 3/,
      );
      throwsCode(() => scheduler.posterior(x, x, 100, 100), 'ERR_TIMESTEP', /prevTimestep.*99.*got 100/);
      throwsCode(() => scheduler.posterior(x, x, 100, -2), 'ERR_TIMESTEP', /prevTimestep.*got -2/);
    }
    throwsCode(
      () => ready(DDPMScheduler).step(out, 100, x, { prevTimestep: 100 }),
      'ERR_TIMESTEP',
      /prevTimestep.*99.*100/,
    );
  });

  it('generators: together with varianceNoise, wrong counts, wrong kinds', () => {
    for (const Class of [DDPMScheduler, DDIMScheduler]) {
      const scheduler = ready<DDPMScheduler | DDIMScheduler>(Class) as DDPMScheduler;
      throwsCode(
        () => scheduler.step(out, 100, x, { generator: fresh(1), varianceNoise: x }),
        'ERR_ARGUMENT',
        /generator.*varianceNoise/,
      );
      const three = [fresh(1), fresh(2), fresh(3)];
      throwsCode(() => scheduler.step(out, 100, x, { generator: three }), 'ERR_ARGUMENT', /generator.*\(2\).*got 3/);
      throwsCode(() => scheduler.step(out, 100, x, { generator: [] }), 'ERR_ARGUMENT', /generator/);
      throwsCode(() => scheduler.step(out, 100, x, { generator: 7 as never }), 'ERR_ARGUMENT', /generator.*Generator/);
      throwsCode(
        () => scheduler.step(out, 100, x, { generator: [fresh(1), {}] as never }),
        'ERR_ARGUMENT',
        /generator.*Generator/,
      );
      throwsCode(
        () => scheduler.step(out, 100, x, { varianceNoise: noise(1, [2, 3, 4, 5]) }),
        'ERR_SHAPE',
        /varianceNoise.*\[2, 3, 4, 4\].*\[2, 3, 4, 5\]/,
      );
      throwsCode(
        () => scheduler.step(out, 100, x, { varianceNoise: x.to({ dtype: 'int32' }) }),
        'ERR_DTYPE',
        /varianceNoise/,
      );
      throwsCode(
        () => scheduler.step(out, 100, x, { varianceNoise: 3 as never }),
        'ERR_ARGUMENT',
        /varianceNoise.*Tensor/,
      );
    }
  });

  it('addNoise, getVelocity, posterior and previousTimestep', () => {
    const scheduler = ready(DDPMScheduler);
    const wide = noise(1, [2, 3, 4, 5], 'float32');
    throwsCode(
      () => scheduler.addNoise(x, wide, 5),
      'ERR_SHAPE',
      /noise.*originalSamples.*\[2, 3, 4, 4\].*\[2, 3, 4, 5\]/,
    );
    throwsCode(() => scheduler.getVelocity(x, wide, 5), 'ERR_SHAPE', /noise.*sample/);
    throwsCode(() => scheduler.posterior(x, wide, 5, 2), 'ERR_SHAPE', /originalSample.*sample/);
    throwsCode(() => scheduler.addNoise(x, out, 1000), 'ERR_TIMESTEP', /timesteps.*0 … 999.*1000/);
    throwsCode(() => scheduler.addNoise(x, out, [1, 2, 3]), 'ERR_ARGUMENT', /timesteps.*\(2\).*got 3/);
    throwsCode(() => scheduler.addNoise(x, out, 0.5), 'ERR_TIMESTEP', /timesteps.*integer.*0\.5/);
    throwsCode(() => scheduler.addNoise(x.to({ dtype: 'uint8' }), out, 5), 'ERR_DTYPE', /originalSamples/);
    throwsCode(() => scheduler.addNoise(null as never, out, 5), 'ERR_ARGUMENT', /originalSamples.*Tensor/);
    throwsCode(() => scheduler.posterior(x, x, -1, -1), 'ERR_TIMESTEP', /timestep.*0 … 999.*-1/);
    for (const t of [-1, 1000, 0.5, NaN]) {
      throwsCode(() => scheduler.previousTimestep(t), 'ERR_TIMESTEP', new RegExp(`timestep.*got ${t}`));
    }
    throwsCode(() => new DDIMScheduler().previousTimestep(5), 'ERR_TIMESTEP', /setTimesteps/);
  });

  it('wants learned variances in twice the channels', () => {
    const scheduler = new DDPMScheduler({ varianceType: 'learned_range' });
    throwsCode(() => scheduler.step(out, 100, x), 'ERR_SHAPE', /modelOutput.*twice the channels.*learned/);
    const wrong = randn([2, 6, 4, 5], { generator: new Generator({ seed: 1 }) });
    throwsCode(() => scheduler.step(wrong, 100, x), 'ERR_SHAPE', /modelOutput/);
  });
});
