import assert from 'node:assert/strict';
import { DDIMScheduler, DDPMScheduler, Tensor } from '../../ts/index';
import { Comparison, generatorsOf, magnitude, numbersOf } from './fixture';
import { makeScheduler, runStep, schedulersFixture } from './recordings';

const fixture = schedulersFixture();
const { manifest } = fixture;

/** diffusers' test model: out = x · t / (t + 1). */
const dummyModel = (x: Tensor, t: number): Tensor => x.mul(t).div(t + 1);

describe('parity/loops', function () {
  this.timeout(60_000);

  for (const n of [1, 10, 50, 1000]) {
    it(`whole loops of ${n} steps`, () => {
      const comparison = new Comparison();
      const cases = manifest.loops.filter((c) => c.n === n);
      assert.equal(cases.length, manifest.loops.length / 4);
      for (const c of cases) {
        const scheduler = makeScheduler(c.class, c.config);
        scheduler.setTimesteps(n);
        const noise = generatorsOf(c.seeds);
        const what = `${c.class} ${JSON.stringify(c.config)} ${JSON.stringify(c.options)} n=${n}`;
        let x = fixture.tensor(c.start);
        let kept = 0;
        scheduler.timesteps.forEach((t, i) => {
          x = runStep(scheduler, dummyModel(x, t), t, x, c.options, noise).prevSample;
          const ref = c.after[String(i)];
          if (ref === undefined) return;
          kept++;
          const want = fixture.numbers(ref);
          comparison.check(`${what} after step ${i}`, numbersOf(x), want, 1e-4 * magnitude(want));
        });
        assert.equal(kept, Object.keys(c.after).length, what);
        const last = fixture.numbers(c.last);
        comparison.check(`${what} at the end`, numbersOf(x), last, 1e-4 * magnitude(last));
      }
      comparison.assertAll();
    });
  }
});

describe("parity/figures of diffusers' own tests", function () {
  this.timeout(60_000);
  const count = 4 * 3 * 8 * 8;
  const spread = (values: number[]): Tensor => Tensor.from(values, [3, 8, 8, 4]).div(count).permute([3, 0, 1, 2]);
  const rising = Array.from({ length: count }, (_, i) => i);

  it('has all eight', () => {
    assert.deepEqual(
      manifest.test_figures.map((f) => f.expected),
      [258.9606, 202.0296, 387.9466, 172.0067, 52.5302, 149.8295, 149.0784, 354.5418],
    );
  });

  for (const figure of manifest.test_figures) {
    it(`${figure.test}: ${figure.expected}`, () => {
      const scheduler = makeScheduler(figure.class, figure.config) as DDPMScheduler | DDIMScheduler;
      if (figure.n !== null) scheduler.setTimesteps(figure.n);
      const timesteps = scheduler.timesteps.slice(figure.start);
      let x = spread(rising);
      if (figure.start > 0) x = scheduler.addNoise(x, spread([...rising].reverse()), timesteps[0]!);
      const noise = generatorsOf(figure.seed);
      for (const t of timesteps) x = runStep(scheduler, dummyModel(x, t), t, x, {}, noise).prevSample;
      const sum = x.abs().sum().item();
      assert.ok(Math.abs(sum - figure.expected) < 1e-2, `sum |x| is ${sum}`);
      const comparison = new Comparison();
      comparison.check(figure.test, numbersOf(x), fixture.numbers(figure.last), 1e-4);
      comparison.assertAll();
    });
  }
});
