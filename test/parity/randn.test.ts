import assert from 'node:assert/strict';
import { Generator, manualSeed, randn, type Tensor } from '../../ts/index';
import type { Ref } from './fixture';
import { schedulersFixture, type RandnCase } from './recordings';

const fixture = schedulersFixture();
const { manifest } = fixture;
type FloatType = 'float32' | 'float64' | 'float16' | 'bfloat16';

const makeGenerator = (seed: string | number): Generator => new Generator({ seed: BigInt(seed) });

function assertBits(got: Tensor, ref: Ref, what: string): void {
  assert.equal(got.dtype, ref[0], what);
  assert.deepEqual([...got.shape], ref[1], what);
  // A half widened to float32 is exact, so equal numbers are equal bits; -0 differs from 0 in Object.is.
  const [a, b] = [Array.from(got.toTypedArray() as Float64Array), fixture.numbers(ref)];
  const differ = a.findIndex((value, i) => !Object.is(value, b[i]));
  assert.equal(differ, -1, `${what}: element ${differ} is ${a[differ]}, torch's ${b[differ]}`);
}

function draws(c: RandnCase): Tensor[] {
  const list = c.seeds.map(makeGenerator);
  const generator = c.kind === 'list' ? list : list[0]!;
  return c.shapes.map((shape, i) => randn(shape, { generator, dtype: (c.dtypes?.[i] ?? c.dtype) as FloatType }));
}

describe("parity/randn: torch's numbers to the bit", () => {
  let ran = 0;
  for (const dtype of ['float32', 'float64', 'float16', 'bfloat16', 'mixed']) {
    for (const kind of ['one', 'sequence', 'list', 'mixed'] as const) {
      const cases = manifest.randn.filter((c) => c.dtype === dtype && c.kind === kind);
      if (cases.length === 0) continue;
      it(`${dtype}, ${kind}: ${cases.length} cases`, () => {
        for (const c of cases) {
          ran++;
          const what = `seeds ${c.seeds.join()}, shapes ${JSON.stringify(c.shapes)}`;
          draws(c).forEach((tensor, i) => assertBits(tensor, c.values[i]!, `${what}, draw ${i}`));
        }
      });
    }
  }

  it('ran every case of the manifest', () => assert.equal(ran, manifest.randn.length));

  it('covers sizes below and above 16, seeds above 2⁵³ and every float dtype', () => {
    const sizes = manifest.randn.flatMap((c) => c.shapes.map((shape) => shape.reduce((a, b) => a * b, 1)));
    for (const size of [1, 7, 15, 16, 17, 3072]) assert.ok(sizes.includes(size), `${size} elements`);
    assert.ok(manifest.randn.some((c) => BigInt(c.seeds[0]!) > 2n ** 53n));
  });

  it('the default generator draws what torch.manual_seed makes it draw', () => {
    const { seed, values } = manifest.default_generator;
    manualSeed(seed);
    [[5], [20]].forEach((shape, i) => assertBits(randn(shape), values[i]!, `draw ${i}`));
  });

  it("new Generator() has torch's default seed", () => {
    const [fresh, seeded] = [new Generator(), new Generator({ seed: BigInt(manifest.default_seed) })];
    const [a, b] = [randn([20], { generator: fresh }), randn([20], { generator: seeded })];
    assert.deepEqual(a.toTypedArray(), b.toTypedArray());
  });
});
