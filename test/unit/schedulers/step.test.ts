import assert from 'node:assert/strict';
import {
  DDIMInverseScheduler,
  DDIMScheduler,
  DDPMScheduler,
  manualSeed,
  randn,
  Tensor,
  type Generator,
} from '../../../ts/index';
import { assertClose, assertSame, constant, fresh, nextDraws, noise, numbers, throwsCode } from './helpers';

const [x, out] = [noise(1, undefined, 'float32'), noise(2, undefined, 'float32')];

function ddim(): DDIMScheduler {
  const scheduler = new DDIMScheduler();
  scheduler.setTimesteps(10);
  return scheduler;
}
function ddpm(): DDPMScheduler {
  const scheduler = new DDPMScheduler();
  scheduler.setTimesteps(10);
  return scheduler;
}

describe('schedulers: step', () => {
  it('never writes its inputs', () => {
    const configs = [
      new DDPMScheduler({ clipSample: false }),
      new DDPMScheduler({ thresholding: true }),
      new DDIMScheduler({ predictionType: 'sample' }),
      new DDIMScheduler({ predictionType: 'sample', clipSample: false }),
      new DDIMScheduler({ predictionType: 'v_prediction', thresholding: true, sampleMaxValue: 2 }),
    ];
    for (const scheduler of configs) {
      scheduler.setTimesteps(10);
      const z = noise(3, undefined, 'float32');
      const before = [x, out, z].map(numbers);
      const result = scheduler.step(out, 500, x, { varianceNoise: z });
      scheduler.addNoise(x, z, 5);
      scheduler.getVelocity(x, z, 5);
      scheduler.posterior(x, z, 500);
      assert.deepEqual([x, out, z].map(numbers), before);
      // Nor does writing the results reach the inputs.
      for (const tensor of [result.prevSample, result.predOriginalSample]) tensor.toTypedArray().fill(9 as never);
      assert.deepEqual([x, out, z].map(numbers), before);
    }
    const inverse = new DDIMInverseScheduler({ predictionType: 'sample', clipSample: false });
    inverse.setTimesteps(10);
    const before = [x, out].map(numbers);
    inverse.step(out, 500, x);
    assert.deepEqual([x, out].map(numbers), before);
  });

  it("does not tie predOriginalSample to the model's output", () => {
    const scheduler = new DDIMScheduler({ predictionType: 'sample', clipSample: false });
    scheduler.setTimesteps(10);
    const mine = out.clone();
    const { predOriginalSample } = scheduler.step(mine, 500, x);
    mine.dispose();
    assertSame(predOriginalSample, out);
  });

  it("has torch's promotion of modelOutput's and sample's dtypes", () => {
    const table = [
      ['float32', 'float32', 'float32'],
      ['float32', 'float64', 'float64'],
      ['float64', 'float32', 'float64'],
      ['float16', 'float16', 'float16'],
      ['bfloat16', 'bfloat16', 'bfloat16'],
      ['float16', 'float32', 'float32'],
      ['float16', 'bfloat16', 'float32'],
      ['bfloat16', 'float64', 'float64'],
    ] as const;
    for (const [a, b, want] of table) {
      for (const scheduler of [ddpm(), ddim()]) {
        const options = { generator: fresh(0) };
        const result = scheduler.step(out.to({ dtype: a }), 500, x.to({ dtype: b }), options);
        assert.equal(result.prevSample.dtype, want, `${a}, ${b}`);
        assert.equal(result.predOriginalSample.dtype, want, `${a}, ${b}`);
        assert.ok(numbers(result.prevSample).every(Number.isFinite));
      }
    }
  });

  it('computes the half types in float32 and rounds once', () => {
    const [half, halfOut] = [x.to({ dtype: 'bfloat16' }), out.to({ dtype: 'bfloat16' })];
    const wide = ddim().step(halfOut.to({ dtype: 'float32' }), 500, half.to({ dtype: 'float32' }));
    const narrow = ddim().step(halfOut, 500, half);
    assertSame(narrow.prevSample, wide.prevSample.to({ dtype: 'bfloat16' }));
    assertSame(narrow.predOriginalSample, wide.predOriginalSample.to({ dtype: 'bfloat16' }));
  });

  it("draws noise in the model output's dtype", () => {
    const half = out.to({ dtype: 'float16' });
    const z = randn([2, 3, 4, 4], { generator: fresh(5), dtype: 'float16' });
    const drawn = ddim().step(half, 500, x, { eta: 1, generator: fresh(5) });
    assertSame(drawn.prevSample, ddim().step(half, 500, x, { eta: 1, varianceNoise: z }).prevSample);
  });

  it('returnPredOriginalSample: false skips that output', () => {
    const options = { returnPredOriginalSample: false } as const;
    for (const scheduler of [ddim(), ddpm()]) {
      const lean = scheduler.step(out, 500, x, { ...options, generator: fresh(1) });
      assert.deepEqual(Object.keys(lean), ['prevSample']);
      assertSame(lean.prevSample, scheduler.step(out, 500, x, { generator: fresh(1) }).prevSample);
    }
  });

  it('takes a timestep as a number, an array, a typed array or an integer tensor', () => {
    const want = ddim().step(out, 500, x).prevSample;
    const forms = [[500], [500, 500], Int32Array.of(500, 500), Tensor.from(BigInt64Array.of(500n, 500n), [2])];
    for (const t of forms) assertSame(ddim().step(out, t, x).prevSample, want);
    assertSame(ddim().step(out, Tensor.from(BigInt64Array.of(500n), []), x).prevSample, want);
    const noisy = ddim().addNoise(x, out, 500);
    for (const t of forms) assertSame(ddim().addNoise(x, out, t), noisy);
    assertSame(ddim().getVelocity(x, out, Int32Array.of(500, 500)), ddim().getVelocity(x, out, 500));
  });

  it('scaleModelInput returns its argument', () => {
    for (const scheduler of [ddim(), ddpm(), new DDIMInverseScheduler()]) {
      assert.equal(scheduler.scaleModelInput(x), x);
      assert.equal(scheduler.scaleModelInput(x, 500), x);
    }
  });

  it('works on batches of other ranks and on views', () => {
    const [flat, flatOut] = [noise(4, [5, 7], 'float32'), noise(5, [5, 7], 'float32')];
    assert.deepEqual([...ddim().step(flatOut, 500, flat).prevSample.shape], [5, 7]);
    const view = x.permute([0, 1, 3, 2]);
    assertSame(
      ddim()
        .step(out.permute([0, 1, 3, 2]), 500, view)
        .prevSample.contiguous(),
      ddim().step(out, 500, x).prevSample.permute([0, 1, 3, 2]).contiguous(),
    );
    const volume = noise(6, [2, 1, 2, 3, 4], 'float32');
    assert.deepEqual([...ddpm().step(volume, 500, volume, { generator: fresh(0) }).prevSample.shape], [2, 1, 2, 3, 4]);
  });

  it('NaN in the model output stays NaN through the clip, where it is', () => {
    const values = numbers(out);
    values[3] = NaN;
    const broken = Tensor.from(Float32Array.from(values), [2, 3, 4, 4]);
    const got = numbers(ddim().step(broken, 500, x).predOriginalSample);
    assert.ok(Number.isNaN(got[3]!));
    assert.equal(got.filter(Number.isNaN).length, 1);
  });
});

describe('schedulers: noise', () => {
  it('varianceNoise is the z that is scaled and added', () => {
    for (const scheduler of [ddpm(), ddim()]) {
      const eta = scheduler instanceof DDIMScheduler ? { eta: 1 } : {};
      const at = (z: Tensor): Tensor => scheduler.step(out, 500, x, { ...eta, varianceNoise: z }).prevSample;
      const std = at(constant(1, x)).sub(at(constant(0, x)));
      assertClose(
        at(noise(9, undefined, 'float32')),
        at(constant(0, x)).add(std.mul(noise(9, undefined, 'float32'))),
        1e-5,
      );
      assert.ok(std.amin().item() > 0);
    }
  });

  it('a generator gives what its randn gives', () => {
    for (const scheduler of [ddpm(), ddim()]) {
      const z = randn([2, 3, 4, 4], { generator: fresh(3) });
      const options = scheduler instanceof DDIMScheduler ? { eta: 1 } : {};
      assertSame(
        scheduler.step(out, 500, x, { ...options, generator: fresh(3) }).prevSample,
        scheduler.step(out, 500, x, { ...options, varianceNoise: z }).prevSample,
      );
    }
  });

  it('a list of generators draws sample by sample; a list of one counts as that one', () => {
    for (const scheduler of [ddpm(), ddim()]) {
      const options = scheduler instanceof DDIMScheduler ? { eta: 1 } : {};
      const z = randn([2, 3, 4, 4], { generator: [fresh(3), fresh(4)] });
      assertSame(
        scheduler.step(out, 500, x, { ...options, generator: [fresh(3), fresh(4)] }).prevSample,
        scheduler.step(out, 500, x, { ...options, varianceNoise: z }).prevSample,
      );
      assertSame(
        scheduler.step(out, 500, x, { ...options, generator: [fresh(3)] }).prevSample,
        scheduler.step(out, 500, x, { ...options, generator: fresh(3) }).prevSample,
      );
    }
  });

  it('without a generator the default one draws', () => {
    manualSeed(42);
    const a = ddpm().step(out, 500, x).prevSample;
    assertSame(a, ddpm().step(out, 500, x, { generator: fresh(42) }).prevSample);
  });

  const untouched = (generator: Generator, seed: number): void =>
    assert.deepEqual(nextDraws(generator), nextDraws(fresh(seed)), 'this generator must not have been advanced');
  const advanced = (generator: Generator, seed: number): void =>
    assert.notDeepEqual(nextDraws(generator), nextDraws(fresh(seed)), 'this generator must have been advanced');

  it('DDPM draws iff timestep > 0, DDIM iff η > 0', () => {
    const g = fresh(6);
    ddpm().step(out, 0, x, { generator: g });
    ddim().step(out, 500, x, { generator: g });
    ddim().step(out, 500, x, { generator: g, eta: 0 });
    untouched(g, 6);
    const [h, k] = [fresh(6), fresh(6)];
    ddpm().step(out, 100, x, { generator: h });
    advanced(h, 6);
    // DDIM draws even at t = 0, where σ = 0, as diffusers does.
    ddim().step(out, 0, x, { generator: k, eta: 0.5 });
    advanced(k, 6);
  });

  it("a list's generator i advances only when sample i draws", () => {
    const list = [fresh(7), fresh(8)];
    ddpm().step(out, [500, 0], x, { generator: list, prevTimestep: [400, -1] });
    advanced(list[0]!, 7);
    untouched(list[1]!, 8);
    const other = [fresh(7), fresh(8)];
    ddim().step(out, 500, x, { generator: other, eta: [0, 0.5] });
    untouched(other[0]!, 7);
    advanced(other[1]!, 8);
  });

  it("one generator draws the whole batch's shape iff any sample needs noise", () => {
    const [g, whole] = [fresh(9), fresh(9)];
    ddim().step(out, 500, x, { generator: g, eta: [0, 0.5] });
    randn([2, 3, 4, 4], { generator: whole });
    assert.deepEqual(nextDraws(g), nextDraws(whole));
    const quiet = fresh(9);
    ddim().step(out, 500, x, { generator: quiet, eta: [0, 0] });
    untouched(quiet, 9);
  });

  it('a step that throws draws nothing', () => {
    const g = fresh(10);
    throwsCode(() => ddpm().step(out, 1000, x, { generator: g }), 'ERR_TIMESTEP', /timestep/);
    throwsCode(() => ddim().step(out, 500, x, { generator: g, eta: 5 }), 'ERR_CONFIG', /eta/);
    untouched(g, 10);
  });

  it('samples without noise are exactly those of η = 0', () => {
    const mixed = ddim().step(out, 500, x, { generator: fresh(1), eta: [0, 0.5] }).prevSample;
    assertSame(mixed.narrow(0, 0, 1).contiguous(), ddim().step(out, 500, x).prevSample.narrow(0, 0, 1).contiguous());
  });
});
