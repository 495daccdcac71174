import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler } from '../../../ts/index';
import { schedulersFixture } from '../../parity/recordings';
import { assertClose, assertSame, noise, throwsCode } from './helpers';

const list = (scheduler: { timesteps: Int32Array }): number[] => Array.from(scheduler.timesteps);

/** DDIM paper, section D.2, as the contract states it. */
function quadratic(T: number, n: number): number[] {
  if (n === 1) return [0];
  const tau: number[] = [];
  for (let i = 0; i < n; i++) {
    const value = Math.floor(((i * Math.sqrt(0.8 * T)) / (n - 1)) ** 2);
    tau.push(i === 0 ? value : Math.max(value, tau[i - 1]! + 1));
  }
  return tau.reverse();
}

describe('schedulers: timesteps', () => {
  it('are T − 1 … 0 before setTimesteps (0 … T − 1 on DDIMInverse), with numInferenceSteps null', () => {
    for (const scheduler of [
      new DDPMScheduler({ numTrainTimesteps: 5 }),
      new DDIMScheduler({ numTrainTimesteps: 5 }),
    ]) {
      assert.deepEqual(list(scheduler), [4, 3, 2, 1, 0]);
      assert.equal(scheduler.numInferenceSteps, null);
    }
    assert.deepEqual(list(new DDIMInverseScheduler({ numTrainTimesteps: 5 })), [0, 1, 2, 3, 4]);
  });

  it('take a number or an object', () => {
    const scheduler = new DDPMScheduler();
    scheduler.setTimesteps({ numInferenceSteps: 4 });
    assert.deepEqual(list(scheduler), [750, 500, 250, 0]);
    scheduler.setTimesteps(2);
    assert.deepEqual(list(scheduler), [500, 0]);
    assert.equal(scheduler.numInferenceSteps, 2);
  });

  it('round half to even', () => {
    // linspace(0, 1001, 3) has 500.5, linspace(0, 999, 3) has 499.5: both go to 500.
    for (const T of [1002, 1000]) {
      const scheduler = new DDIMScheduler({ numTrainTimesteps: T, timestepSpacing: 'linspace' });
      scheduler.setTimesteps(3);
      assert.deepEqual(list(scheduler), [T - 1, 500, 0]);
    }
    // trailing: 1000 · 15/16 = 937.5 → 938, 812.5 → 812, …
    const scheduler = new DDIMScheduler({ timestepSpacing: 'trailing' });
    scheduler.setTimesteps(16);
    assert.deepEqual(list(scheduler).slice(0, 4), [999, 937, 874, 811]);
  });

  it('linspace with n = 1 is [0], and so is quadratic', () => {
    for (const timestepSpacing of ['linspace', 'quadratic'] as const) {
      const scheduler = new DDIMScheduler({ timestepSpacing });
      scheduler.setTimesteps(1);
      assert.deepEqual(list(scheduler), [0]);
    }
  });

  it('quadratic follows its formula', () => {
    const scheduler = new DDIMScheduler({ timestepSpacing: 'quadratic' });
    scheduler.setTimesteps(10);
    assert.deepEqual(list(scheduler), [800, 632, 483, 355, 246, 158, 88, 39, 9, 0]);
    const property = fc.property(fc.integer({ min: 1, max: 1200 }), fc.nat(), (T, k) => {
      const n = 1 + (k % T);
      const s = new DDIMScheduler({ numTrainTimesteps: T, timestepSpacing: 'quadratic' });
      s.setTimesteps(n);
      assert.deepEqual(list(s), quadratic(T, n), `T = ${T}, n = ${n}`);
    });
    fc.assert(property, { numRuns: 100 });
  });

  it('every spacing gives n strictly descending timesteps in [0, T)', () => {
    const spacings = fc.constantFrom('leading', 'trailing', 'linspace', 'quadratic');
    const property = fc.property(fc.integer({ min: 1, max: 2000 }), fc.nat(), spacings, (T, k, timestepSpacing) => {
      const n = 1 + (k % T);
      const s = new DDIMScheduler({ numTrainTimesteps: T, timestepSpacing: timestepSpacing as 'leading' });
      s.setTimesteps(n);
      const ts = list(s);
      assert.equal(ts.length, n);
      assert.ok(
        ts.every((t, i) => t >= 0 && t < T && (i === 0 || t < ts[i - 1]!)),
        `T = ${T}, n = ${n}: ${ts.join()}`,
      );
    });
    fc.assert(property, { numRuns: 200 });
  });

  it('stepsOffset moves leading only', () => {
    const at = (timestepSpacing: 'leading' | 'trailing' | 'linspace', stepsOffset: number): number[] => {
      const s = new DDPMScheduler({ timestepSpacing, stepsOffset });
      s.setTimesteps(3);
      return list(s);
    };
    assert.deepEqual(
      at('leading', 7),
      at('leading', 0).map((t) => t + 7),
    );
    assert.deepEqual(at('trailing', 7), at('trailing', 0));
    assert.deepEqual(at('linspace', 7), at('linspace', 0));
  });

  it('numInferenceSteps is the length of a custom list', () => {
    for (const scheduler of [new DDPMScheduler(), new DDIMScheduler()]) {
      scheduler.setTimesteps({ timesteps: [999, 500, 3] });
      assert.equal(scheduler.numInferenceSteps, 3);
      assert.deepEqual(list(scheduler), [999, 500, 3]);
      scheduler.setTimesteps({ timesteps: Int32Array.of(7) });
      assert.deepEqual(list(scheduler), [7]);
    }
    const inverse = new DDIMInverseScheduler();
    inverse.setTimesteps({ timesteps: [3, 500, 999] });
    assert.deepEqual(list(inverse), [3, 500, 999]);
  });

  it('are a copy: writing into them changes nothing', () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(4);
    const x = noise(1);
    const want = scheduler.step(x, 750, x).prevSample;
    scheduler.timesteps.fill(-7);
    scheduler.alphasCumprod.fill(-7);
    assert.equal(scheduler.previousTimestep(750), 500);
    assertSame(scheduler.step(x, 750, x).prevSample, want);
    assert.ok(new DDIMScheduler().alphasCumprod.every((bar) => bar > 0));
  });

  it('free jumps 999, 899, …, 99, −1 are what trailing steps through', () => {
    const jumps = Array.from({ length: 10 }, (_, i) => 999 - 100 * i);
    const trailing = new DDIMScheduler({ timestepSpacing: 'trailing' });
    trailing.setTimesteps(10);
    const custom = new DDIMScheduler();
    custom.setTimesteps({ timesteps: jumps });
    const free = new DDIMScheduler();
    assert.deepEqual(list(trailing), jumps);
    let [a, b, c] = [noise(1), noise(1), noise(1)];
    jumps.forEach((t, i) => {
      const model = (x: typeof a): typeof a => x.mul(t).div(t + 1);
      a = trailing.step(model(a), t, a).prevSample;
      b = custom.step(model(b), t, b).prevSample;
      c = free.step(model(c), t, c, { prevTimestep: jumps[i + 1] ?? -1 }).prevSample;
    });
    assertSame(b, a);
    assertSame(c, a);
    const once = free.step(noise(2), 999, noise(1), { prevTimestep: -1 });
    assertClose(once.prevSample, once.predOriginalSample, 0);
  });
});

describe('schedulers: previousTimestep', () => {
  const { manifest } = schedulersFixture();

  it("'stride' is diffusers' t − ⌊T/n⌋, 'schedule' the next entry of the list", () => {
    let different = 0;
    for (const recorded of manifest.previous) {
      const stride = DDIMScheduler.fromConfig(recorded.config);
      const schedule = DDIMScheduler.fromConfig({ ...recorded.config, previous_timestep_rule: 'schedule' });
      const ddpm = DDPMScheduler.fromConfig(recorded.config);
      for (const s of [stride, schedule, ddpm]) s.setTimesteps(recorded.n);
      assert.equal(stride.config.previousTimestepRule, 'stride');
      assert.deepEqual(list(stride), recorded.timesteps);
      recorded.timesteps.forEach((t, i) => {
        assert.equal(stride.previousTimestep(t), Math.max(-1, recorded.ddim[i]!));
        assert.equal(schedule.previousTimestep(t), recorded.timesteps[i + 1] ?? -1);
        assert.equal(ddpm.previousTimestep(t), recorded.ddpm[i]);
        if (stride.previousTimestep(t) !== schedule.previousTimestep(t)) different++;
      });
    }
    assert.ok(different > 10, 'linspace and trailing differ under the two rules');
  });

  it("'schedule' steps where its list goes, 'stride' elsewhere", () => {
    const config = { timestepSpacing: 'linspace', clipSample: false } as const;
    const [stride, schedule] = [
      new DDIMScheduler(config),
      new DDIMScheduler({ ...config, previousTimestepRule: 'schedule' }),
    ];
    stride.setTimesteps(10);
    schedule.setTimesteps(10);
    const [x, out] = [noise(1), noise(2)];
    assertSame(schedule.step(out, 999, x).prevSample, stride.step(out, 999, x, { prevTimestep: 888 }).prevSample);
    assertSame(stride.step(out, 999, x).prevSample, schedule.step(out, 999, x, { prevTimestep: 899 }).prevSample);
  });

  it("'stride' takes any t; lists take theirs only", () => {
    const stride = new DDIMScheduler();
    stride.setTimesteps(10);
    assert.equal(stride.previousTimestep(555), 455);
    assert.equal(stride.previousTimestep(55), -1);
    const notInList = /timestep .*555/;
    const schedule = new DDIMScheduler({ previousTimestepRule: 'schedule' });
    const quadraticList = new DDIMScheduler({ timestepSpacing: 'quadratic' });
    const [custom, ddpm] = [new DDIMScheduler(), new DDPMScheduler()];
    for (const s of [schedule, quadraticList, ddpm]) s.setTimesteps(10);
    custom.setTimesteps({ timesteps: [900, 30] });
    for (const s of [schedule, quadraticList, custom, ddpm]) {
      throwsCode(() => s.previousTimestep(555), 'ERR_TIMESTEP', notInList);
      throwsCode(() => s.step(noise(1), 555, noise(2)), 'ERR_TIMESTEP', notInList);
      s.step(noise(1), 555, noise(2), { prevTimestep: 400 });
    }
    assert.deepEqual(
      [900, 30].map((t) => custom.previousTimestep(t)),
      [30, -1],
    );
    assert.equal(quadraticList.previousTimestep(800), 632);
  });

  it('a spacing after a custom list goes back to its own rule', () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps({ timesteps: [900, 30] });
    scheduler.setTimesteps(10);
    assert.equal(scheduler.numInferenceSteps, 10);
    assert.equal(scheduler.previousTimestep(555), 455);
    assert.equal(list(scheduler).length, 10);
  });

  it('a refused list leaves the old one', () => {
    const scheduler = new DDIMScheduler();
    scheduler.setTimesteps(10);
    const before = list(scheduler);
    for (const steps of [{ timesteps: [3, 7] }, { timesteps: [] }, 0, 1001]) {
      assert.throws(() => scheduler.setTimesteps(steps), { code: 'ERR_TIMESTEP' });
    }
    assert.deepEqual(list(scheduler), before);
    assert.equal(scheduler.previousTimestep(900), 800);
  });

  it('DDPM before setTimesteps is t − 1; DDIM needs setTimesteps or prevTimestep', () => {
    assert.deepEqual(
      [999, 1, 0].map((t) => new DDPMScheduler().previousTimestep(t)),
      [998, 0, -1],
    );
    const ddim = new DDIMScheduler();
    throwsCode(() => ddim.step(noise(1), 500, noise(2)), 'ERR_TIMESTEP', /prevTimestep.*setTimesteps/);
    ddim.step(noise(1), 500, noise(2), { prevTimestep: 3 });
  });

  it('DDIMInverse goes from the entry below, −1 before the first', () => {
    const inverse = new DDIMInverseScheduler();
    inverse.setTimesteps(10);
    assert.deepEqual(
      [0, 100, 900].map((t) => inverse.previousTimestep(t)),
      [-1, 0, 800],
    );
    inverse.setTimesteps({ timesteps: [5, 40, 999] });
    assert.deepEqual(
      [5, 40, 999].map((t) => inverse.previousTimestep(t)),
      [-1, 5, 40],
    );
    throwsCode(() => inverse.previousTimestep(41), 'ERR_TIMESTEP', /timestep .*41/);
  });
});
