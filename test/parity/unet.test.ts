import assert from 'node:assert/strict';
import { cat, Generator, randn, Tensor } from '../../ts/index';
import { numbersOf } from './fixture';
import { caseNamed, TOLERANCE, withUNet } from './unet-checks';
import {
  CheckpointFolders,
  digestOf,
  drawInputs,
  drawWeights,
  relativeError,
  runForward,
  unetFixture,
  type UNetCase,
} from './unet-recordings';

const fixture = unetFixture();
const { cases, runs, guidance } = fixture.manifest;

/** Of the same sample in another batch: a product with one row sums in another order than one with several. */
const BATCH_TOLERANCE = 2e-6;

describe('parity/unet', function () {
  this.timeout(60_000);
  const folders = new CheckpointFolders();
  after(() => folders.remove());

  const checkForwards = (recorded: UNetCase, dtype: keyof typeof TOLERANCE): Promise<void> =>
    withUNet(folders.of(recorded), dtype, async (unet) => {
      assert.equal(unet.dtype, dtype);
      for (const forward of recorded.forwards) {
        const y = await runForward(unet, drawInputs(recorded, forward));
        assert.deepEqual([...y.shape], forward.output[1]);
        assert.equal(y.dtype, dtype);
        const error = relativeError(numbersOf(y), fixture.numbers(forward.output));
        const own = forward.diffusers_errors[dtype].toExponential(1);
        assert.ok(
          error <= TOLERANCE[dtype],
          `${recorded.name}, timestep ${JSON.stringify(forward.timestep)}: relative error ${error.toExponential(2)}, ` +
            `allowed ${TOLERANCE[dtype]}; diffusers' own ${own}`,
        );
      }
    });

  it("draws the recorded weights again, to the bit: Python's were the same", () => {
    for (const recorded of [...cases, ...runs.map((run) => run.model), guidance.model]) {
      assert.equal(digestOf(drawWeights(recorded)), recorded.sha256, `seed ${recorded.seed}`);
    }
  });

  it('covers every block type and every value of the enumerated options', () => {
    const values = (key: string): Set<unknown> => new Set(cases.flatMap((c) => c.config[key]));
    for (const kind of ['DownBlock', 'AttnDownBlock', 'ResnetDownsampleBlock', 'SkipDownBlock', 'AttnSkipDownBlock']) {
      const type = `${kind}2D`;
      assert.ok(values('down_block_types').has(type), type);
      const mirror = type.replace('Down', 'Up');
      assert.ok(values('up_block_types').has(mirror), mirror);
    }
    const wanted: [string, unknown[]][] = [
      ['act_fn', ['silu', 'swish', 'mish', 'gelu', 'relu']],
      ['time_embedding_type', ['positional', 'fourier', 'learned']],
      ['resnet_time_scale_shift', ['default', 'scale_shift']],
      ['class_embed_type', [null, 'timestep', 'identity']],
      ['downsample_type', ['conv', 'resnet']],
      ['upsample_type', ['conv', 'resnet']],
      ['downsample_padding', [0, 1]],
      ['mid_block_type', ['UNetMidBlock2D', null]],
      ['attention_head_dim', [null, 8]],
      ['add_attention', [true, false]],
      ['center_input_sample', [true, false]],
      ['flip_sin_to_cos', [true, false]],
      ['norm_num_groups', [null, 1, 4]],
      ['attn_norm_num_groups', [null, 8]],
    ];
    for (const [key, all] of wanted) {
      for (const value of all) assert.ok(values(key).has(value), `${key}: ${String(value)}`);
    }
  });

  describe('float32, relative error ≤ 1e-5', () => {
    for (const recorded of cases) it(recorded.name, () => checkForwards(recorded, 'float32'));
  });

  describe('bfloat16, relative error ≤ 2e-2', () => {
    for (const recorded of cases) it(recorded.name, () => checkForwards(recorded, 'bfloat16'));
  });

  describe('float16, relative error ≤ 5e-3', () => {
    const names = ['blocks plain and attention', 'blocks resnet resampling', 'blocks skip', 'scale_shift', 'fourier'];
    for (const name of names) {
      it(name, () => checkForwards(caseNamed(name), 'float16'));
    }
  });

  describe('a timestep per sample gives what the samples give alone', () => {
    for (const name of ['batch 9', 'class table', 'ncsnpp shrunk', 'learned', 'scale_shift', 'class identity']) {
      it(name, async () => {
        const recorded = caseNamed(name);
        const inputs = drawInputs(recorded, recorded.forwards[0]!);
        const { timestep, sample } = inputs;
        assert.ok(Array.isArray(timestep));
        await withUNet(folders.of(recorded), 'float32', async (unet) => {
          const together = await runForward(unet, inputs);
          for (const [i, t] of timestep.entries()) {
            const { classLabels } = inputs.options;
            const label = Array.isArray(classLabels) ? [classLabels[i]!] : classLabels?.narrow(0, i, 1);
            const options = label === undefined ? {} : { classLabels: label };
            const alone = await runForward(unet, { sample: sample.narrow(0, i, 1), timestep: t, options });
            const error = relativeError(numbersOf(together.narrow(0, i, 1)), numbersOf(alone));
            assert.ok(error <= BATCH_TOLERANCE, `sample ${i} at ${t}: relative error ${error}`);
          }
        });
      });
    }

    for (const name of ['batch 9', 'blocks skip', 'scale_shift', 'fourier']) {
      it(`${name}: other values in the rest of the batch change no bit`, async () => {
        const recorded = caseNamed(name);
        const { sample, timestep } = drawInputs(recorded, recorded.forwards[0]!);
        assert.ok(Array.isArray(timestep));
        const last = timestep.length - 1;
        const others = randn([last, ...sample.shape.slice(1)], { generator: new Generator({ seed: 1 }) });
        const changed = { sample: cat([others, sample.narrow(0, last, 1)]), options: {} };
        const timesteps = timestep.map((t, i) => (i === last ? t : t + 1)); // as many distinct ones, in the same order
        await withUNet(folders.of(recorded), 'float32', async (unet) => {
          const expected = (await runForward(unet, { sample, timestep, options: {} })).narrow(0, last, 1);
          const got = (await runForward(unet, { ...changed, timestep: timesteps })).narrow(0, last, 1);
          assert.deepEqual(numbersOf(got), numbersOf(expected));
        });
      });
    }

    it('one number, a list of it, an int64 and a float32 tensor of it are the same', async () => {
      const recorded = caseNamed('blocks plain and attention');
      const { sample } = drawInputs(recorded, recorded.forwards[0]!);
      await withUNet(folders.of(recorded), 'float32', async (unet) => {
        const expected = numbersOf((await unet.forward(sample, 421)).sample);
        const others = [[421, 421], Tensor.from(BigInt64Array.of(421n, 421n)), Tensor.from(Float32Array.of(421, 421))];
        for (const t of others) assert.deepEqual(numbersOf((await unet.forward(sample, t)).sample), expected);
      });
    });
  });
});
