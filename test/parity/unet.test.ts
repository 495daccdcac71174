import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  cat,
  DDIMPipeline,
  DDIMScheduler,
  DDPMPipeline,
  DDPMScheduler,
  Generator,
  randn,
  Tensor,
  UNet2DModel,
} from '../../ts/index';
import { FIXTURES, generatorsOf, numbersOf } from './fixture';
import {
  CheckpointFolders,
  digestOf,
  drawInputs,
  drawWeights,
  relativeError,
  runForward,
  SAVED_BY_NODE,
  unetFixture,
  type SavedByNodeManifest,
  type UNetCase,
  type Weights,
} from './unet-recordings';

const fixture = unetFixture();
const { cases, runs, guidance } = fixture.manifest;

/** ‖y − diffusers' float32 output‖ / ‖output‖. */
const TOLERANCE = { float32: 1e-5, bfloat16: 2e-2, float16: 5e-3 } as const;
/** Of the same sample in another batch: a product with one row sums in another order than one with several. */
const BATCH_TOLERANCE = 2e-6;

const caseNamed = (name: string): UNetCase => {
  const found = cases.find((c) => c.name === name);
  assert.ok(found !== undefined, `no case is named ${name}`);
  return found;
};

describe('parity/unet', function () {
  this.timeout(60_000);
  const folders = new CheckpointFolders();
  after(() => folders.remove());

  async function withUNet<T>(
    folder: string,
    dtype: keyof typeof TOLERANCE,
    use: (unet: UNet2DModel) => Promise<T>,
  ): Promise<T> {
    const unet = await UNet2DModel.fromPretrained(folder, { dtype });
    try {
      return await use(unet);
    } finally {
      unet.dispose();
    }
  }

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

  describe('checkpoints', () => {
    const OLD_NAMES = { to_q: 'query', to_k: 'key', to_v: 'value', 'to_out.0': 'proj_attn' };
    const oldName = (name: string): string =>
      name.replace(/(attentions\.\d+)\.(to_[qkv]|to_out\.0)\./, (_all, at: string, part: keyof typeof OLD_NAMES) =>
        `${at}.${OLD_NAMES[part]}.`,
      ); // prettier-ignore

    it("the old attention names load the same: bit for bit the new ones' output", async () => {
      const recorded = caseNamed('blocks attention');
      const weights: Weights = new Map([...drawWeights(recorded)].map(([name, value]) => [oldName(name), value]));
      const renamed = [...weights.keys()].filter((name) => name.includes('.proj_attn.'));
      assert.equal(renamed.length, 2 * 7); // weight and bias of 2 + 1 + 4 attentions
      const run = (folder: string): Promise<number[]> =>
        withUNet(folder, 'float32', async (unet) =>
          numbersOf(await runForward(unet, drawInputs(recorded, recorded.forwards[0]!))),
        );
      assert.deepEqual(await run(folders.write(recorded, weights)), await run(folders.of(recorded)));
    });

    it('savePretrained writes the weights to the bit, and a config that says the same', async () => {
      for (const name of ['ddpm-cifar10-32 shrunk', 'ncsnpp shrunk', 'class timestep, learned']) {
        const recorded = caseNamed(name);
        const [from, to] = [folders.of(recorded), folders.empty()];
        await withUNet(from, 'float32', (unet) => unet.savePretrained(to));
        const config = JSON.parse(readFileSync(join(to, 'config.json'), 'utf8')) as Record<string, unknown>;
        for (const [key, value] of Object.entries(recorded.config)) {
          if (!key.startsWith('_')) assert.deepEqual(config[key], value, `${name}: ${key}`);
        }
        assert.equal(config['_class_name'], 'UNet2DModel');
        assert.deepEqual(readTensors(to), readTensors(from));
      }
    });

    it('savePretrained still writes the very files that real diffusers loaded and ran', async () => {
      const file = join(FIXTURES, 'saved-by-node.json');
      const { folders: checked } = JSON.parse(readFileSync(file, 'utf8')) as SavedByNodeManifest;
      assert.deepEqual(
        checked.map(({ name, dtype }) => `${name} ${dtype}`).sort(),
        SAVED_BY_NODE.map(({ name, dtype }) => `${name} ${dtype}`).sort(),
      );
      for (const { name, dtype, config, weights_sha256, relative_error } of checked) {
        const to = folders.empty();
        await withUNet(folders.of(caseNamed(name)), dtype, (unet) => unet.savePretrained(to));
        const weights = readFileSync(join(to, 'diffusion_pytorch_model.safetensors'));
        assert.equal(createHash('sha256').update(weights).digest('hex'), weights_sha256, name);
        assert.deepEqual(JSON.parse(readFileSync(join(to, 'config.json'), 'utf8')), config, name);
        assert.ok(relative_error <= TOLERANCE[dtype], `${name}: Python's relative error was ${relative_error}`);
      }
    });

    it('every missing, unexpected and misshapen tensor is listed in one error', async () => {
      const recorded = caseNamed('blocks plain and attention');
      const weights = drawWeights(recorded);
      weights.delete('conv_in.bias');
      weights.delete('mid_block.resnets.0.norm1.weight');
      weights.set('conv_out.bias', randn([4]));
      weights.set('surplus', randn([1]));
      const parts = ['conv_in.bias', 'mid_block.resnets.0.norm1.weight', 'conv_out.bias', 'surplus'];
      const folder = folders.write(recorded, weights);
      await assert.rejects(UNet2DModel.fromPretrained(folder), (error: Error & { code: string }) => {
        assert.equal(error.code, 'ERR_CHECKPOINT');
        for (const part of parts) assert.ok(error.message.includes(part), `${part} in ${error.message}`);
        return true;
      });
    });
  });

  describe('whole runs', () => {
    for (const run of runs) {
      const options = {
        batchSize: run.batch_size,
        numInferenceSteps: run.options.num_inference_steps,
        ...(run.options.eta === undefined ? {} : { eta: run.options.eta }),
        outputType: 'tensor',
      } as const;
      const pipelineOf = (unet: UNet2DModel): DDIMPipeline | DDPMPipeline =>
        run.pipeline === 'DDIMPipeline'
          ? new DDIMPipeline({ unet, scheduler: DDIMScheduler.fromConfig(run.scheduler) })
          : new DDPMPipeline({ unet, scheduler: DDPMScheduler.fromConfig(run.scheduler) });

      it(`${run.name}: latents after steps ${Object.keys(run.latents_after).join(', ')} and images`, () =>
        withUNet(folders.of(run.model), 'float32', async (unet) => {
          const seen = new Map<string, number[]>();
          const { images } = await pipelineOf(unet).run({
            ...options,
            ...generatorsOf(run.seeds),
            callbackOnStepEnd: ({ step, latents }) => void seen.set(String(step + 1), numbersOf(latents)),
          });
          for (const [after, ref] of Object.entries(run.latents_after)) {
            const error = relativeError(seen.get(after) ?? [], fixture.numbers(ref));
            assert.ok(error <= TOLERANCE.float32, `latents after step ${after}: relative error ${error}`);
          }
          assert.deepEqual([...images.shape], run.images[1]);
          const error = relativeError(numbersOf(images), fixture.numbers(run.images));
          assert.ok(error <= TOLERANCE.float32, `images: relative error ${error}`);
        }));

      if (run.options.eta === 0) {
        it(`${run.name}: in bfloat16 from the same noise`, () =>
          withUNet(folders.of(run.model), 'bfloat16', async (unet) => {
            const [, ...shape] = fixture.tensor(run.latents_after['1']!).shape;
            const seeds = run.seeds as number[];
            const latents = randn([seeds.length, ...shape], generatorsOf(seeds));
            const { images } = await pipelineOf(unet).run({ ...options, latents });
            const error = relativeError(numbersOf(images), fixture.numbers(run.images));
            assert.ok(error <= TOLERANCE.bfloat16, `images: relative error ${error}`);
          }));
      }
    }

    it("classifier-free guidance, as diffusers' DiTPipeline guides", () =>
      withUNet(folders.of(guidance.model), 'float32', async (unet) => {
        const { labels, null_class: nullClassLabel, scale: guidanceScale } = guidance;
        const { num_inference_steps: numInferenceSteps } = guidance;
        const latents = randn([labels.length, 3, 8, 8], { generator: new Generator({ seed: guidance.seed }) });
        for (const given of [{}, { nullClassLabel }]) {
          let last: number[] = [];
          await new DDIMPipeline({ unet, scheduler: DDIMScheduler.fromConfig(guidance.scheduler) }).run({
            batchSize: labels.length,
            numInferenceSteps,
            latents,
            classLabels: labels,
            guidanceScale,
            ...given,
            outputType: 'tensor',
            callbackOnStepEnd: (state) => void (last = numbersOf(state.latents)),
          });
          const error = relativeError(last, fixture.numbers(guidance.latents));
          assert.ok(error <= TOLERANCE.float32, `latents: relative error ${error}`);
        }
      }));
  });
});

/** A safetensors file's tensors by name: dtype, shape and bytes. */
function readTensors(folder: string): Map<string, [string, number[], string]> {
  const file = readFileSync(join(folder, 'diffusion_pytorch_model.safetensors'));
  const length = Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__');
  return new Map(
    entries
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
        const bytes = file.subarray(8 + length + from, 8 + length + to).toString('base64');
        return [name, [dtype, shape, bytes]];
      }),
  );
}
