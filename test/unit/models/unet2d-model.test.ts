import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Generator, UNet2DModel } from '../../../ts/index';
import { loadUNet } from '../../../ts/models';
import { archive, rejects } from './fixtures';
import { noise, predictionOf, readSafetensors, TINY, tinyUNet, writeSafetensors, writeShards } from './tiny-unet';

const WEIGHTS = 'diffusion_pytorch_model.safetensors';

describe('models/UNet2DModel', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'unet2d-'));
    await tinyUNet().savePretrained(join(folder, 'unet'));
  });
  after(() => rm(folder, { recursive: true }));

  /** A folder with the tiny UNet's config and nothing else. */
  async function emptyUNet(name: string): Promise<string> {
    const path = join(folder, name);
    await mkdir(path, { recursive: true });
    await copyFile(join(folder, 'unet/config.json'), join(path, 'config.json'));
    return path;
  }

  describe('fromConfig', () => {
    it('draws the weights from the generator, and has diffusers’ defaults and names', () => {
      const unet = tinyUNet();
      assert.deepEqual([unet.dtype, unet.device, unet.config.actFn, unet.config.normEps], ['float32', 'cpu', 'silu', 1e-5]);
      assert.ok(unet.parameterCount > 5000 && Object.isFrozen(unet.config) && Object.isFrozen(unet.config.blockOutChannels));
      assert.throws(() => ((unet.config as { inChannels: number }).inChannels = 4), TypeError);
    });

    it('is repeatable, and another seed is another model', async () => {
      const [a, b, c] = await Promise.all([tinyUNet(), tinyUNet(), tinyUNet({}, 1)].map(predictionOf));
      assert.deepEqual(a, b);
      assert.notDeepEqual(a, c);
      assert.ok(a!.every(Number.isFinite));
    });

    it('takes keys in either spelling, and refuses both with different values', () => {
      const unet = UNet2DModel.fromConfig({ ...TINY, sample_size: 8, _class_name: 'UNet2DModel' });
      assert.equal(unet.config.sampleSize, 8);
      assert.throws(() => UNet2DModel.fromConfig({ ...TINY, in_channels: 3 }), { code: 'ERR_CONFIG', message: /inChannels and in_channels/ });
    });

    const refused: [object, RegExp][] = [
      [{ actFn: 'tanh' }, /^actFn must be one of silu, swish, mish, gelu, relu, got "tanh"$/],
      [{ down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'] }, /^down_block_types must be an array .* AttnSkipDownBlock2D, got .*\(at index 1\)$/],
      [{ timeEmbeddingType: 'rotary' }, /^timeEmbeddingType must be one of positional, fourier, learned, got "rotary"$/],
      [{ resnet_time_scale_shift: 'ada_group' }, /^resnet_time_scale_shift must be one of default, scale_shift, got "ada_group"$/],
      [{ midBlockType: 'UNetMidBlock2DCrossAttn' }, /^midBlockType must be null or one of UNetMidBlock2D, got/],
      [{ classEmbedType: 'projection' }, /^classEmbedType must be null or one of timestep, identity, got "projection"$/],
      [{ downsampleType: 'pool' }, /^downsampleType must be one of conv, resnet, got "pool"$/],
      [{ blockOutChannels: [8, 16, 32] }, /^downBlockTypes must have one entry for each of the 3 blockOutChannels/],
      [{ normNumGroups: 3 }, /^normNumGroups must divide/],
    ];
    for (const [change, message] of refused) {
      it(`refuses ${JSON.stringify(change)} by name`, () => {
        const { downBlockTypes, ...rest } = TINY;
        const given = { ...rest, ...('down_block_types' in change ? {} : { downBlockTypes }), ...change };
        assert.throws(() => UNet2DModel.fromConfig(given as never), (error: Error & { code: string }) => {
          assert.equal(error.code, 'ERR_CONFIG', error.stack);
          assert.match(error.message, message);
          return true;
        });
      });
    }

    it('names keys in snake_case where one is given so', () => {
      const config = { block_out_channels: [8, 16, 32] as const, downBlockTypes: ['DownBlock2D'] as const };
      assert.throws(() => UNet2DModel.fromConfig(config), { code: 'ERR_CONFIG', message: /^down_block_types must have one entry/ });
    });

    it('refuses wrong options', () => {
      const wrong = (options: object, code: string, message: RegExp) =>
        assert.throws(() => UNet2DModel.fromConfig(TINY, options), { code, message });
      wrong({ dtpye: 'float32' }, 'ERR_ARGUMENT', /unknown option "dtpye"; did you mean dtype\?/);
      wrong({ dtype: 'int64' }, 'ERR_DTYPE', /dtype must be float32, float64, float16 or bfloat16, got int64/);
      wrong({ dtype: 'half' }, 'ERR_DTYPE', /dtype must be one of .* got "half"/);
      wrong({ device: 1 }, 'ERR_ARGUMENT', /device must be 'cpu'/);
      wrong({ device: 'cuda:77' }, 'ERR_DEVICE', /'cuda:77' is not here/);
      wrong({ generator: 1 }, 'ERR_ARGUMENT', /generator must be a Generator, got 1/);
    });
  });

  describe('savePretrained and fromPretrained', () => {
    it('give the same model to the bit, and the same files again', async () => {
      const again = await UNet2DModel.fromPretrained(join(folder, 'unet'));
      assert.deepEqual(await predictionOf(again), await predictionOf(tinyUNet()));
      await again.savePretrained(join(folder, 'made/again'));
      for (const name of ['config.json', WEIGHTS]) {
        assert.deepEqual(await readFile(join(folder, 'made/again', name)), await readFile(join(folder, 'unet', name)), name);
      }
      assert.deepEqual((await readdir(join(folder, 'made/again'))).sort(), ['config.json', WEIGHTS]);
    });

    it('find unet/ of a pipeline, or the subfolder', async () => {
      const expected = await predictionOf(tinyUNet());
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(folder)), expected);
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(folder, { subfolder: 'unet' })), expected);
      await rejects(() => UNet2DModel.fromPretrained(folder, { subfolder: 'vae' }), 'ERR_NOT_FOUND', /has no folder vae/);
    });

    it('keep keys of the file that UNet2DModel does not know', async () => {
      const path = await emptyUNet('extra');
      const config = JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
      await writeFile(join(path, 'config.json'), JSON.stringify({ ...config, trained_by: { name: 'x' } }));
      await copyFile(join(folder, 'unet', WEIGHTS), join(path, WEIGHTS));
      const unet = await UNet2DModel.fromPretrained(path);
      await unet.savePretrained(join(path, 'copy'));
      const written = JSON.parse(await readFile(join(path, 'copy/config.json'), 'utf8')) as Record<string, unknown>;
      assert.deepEqual(written, { ...config, trained_by: { name: 'x' } });
      assert.deepEqual((unet.config as unknown as Record<string, unknown>)['trained_by'], { name: 'x' });
    });

    it('cast to any dtype, from any: half weights are written as such', async () => {
      const wanted = await predictionOf(tinyUNet());
      for (const [from, stored] of [['float32', 'F32'], ['float16', 'F16'], ['bfloat16', 'BF16']] as const) {
        const path = join(folder, from);
        const unet = await UNet2DModel.fromPretrained(join(folder, 'unet'), { dtype: from });
        assert.equal(unet.dtype, from);
        await unet.savePretrained(path);
        const tensors = await readSafetensors(join(path, WEIGHTS));
        assert.ok([...tensors.values()].every(({ dtype }) => dtype === stored));
        assert.equal((await UNet2DModel.fromPretrained(path)).dtype, 'float32');
        for (const to of ['float32', 'float64', 'float16', 'bfloat16'] as const) {
          const again = await predictionOf(await UNet2DModel.fromPretrained(path, { dtype: to }));
          const error = Math.max(...again.map((x, i) => Math.abs(x - wanted[i]!)));
          const isHalf = stored !== 'F32' || to.endsWith('16');
          assert.ok(isHalf ? error > 0 && error < 0.1 : error < 1e-5, `${from} as ${to}: ${error}`);
        }
      }
    });

    it('read shards through their index, and a variant where it is asked for', async () => {
      const expected = await predictionOf(tinyUNet());
      const other = tinyUNet({}, 5);
      await other.savePretrained(join(folder, 'other'));
      const tensors = await readSafetensors(join(folder, 'unet', WEIGHTS));
      const others = await readSafetensors(join(folder, 'other', WEIGHTS));

      const path = await emptyUNet('shards');
      await writeShards(path, tensors);
      await writeShards(path, others, '.fp16');
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(path)), expected);
      const variant = await UNet2DModel.fromPretrained(path, { variant: 'fp16' });
      assert.deepEqual(await predictionOf(variant), await predictionOf(other));

      // As Python does, which reads the index where there is one.
      await writeSafetensors(join(path, WEIGHTS), others);
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(path)), expected);

      await writeSafetensors(join(path, 'diffusion_pytorch_model.ema.safetensors'), others);
      const ema = await UNet2DModel.fromPretrained(path, { variant: 'ema' });
      assert.deepEqual(await predictionOf(ema), await predictionOf(other));
    });

    it('saved over shards take their place, those of a variant stay', async () => {
      const path = await emptyUNet('over-shards');
      const tensors = await readSafetensors(join(folder, 'unet', WEIGHTS));
      await writeShards(path, tensors);
      await writeShards(path, tensors, '.fp16');
      const before = (await readdir(path)).filter((name) => name.includes('fp16'));
      const other = tinyUNet({}, 5);
      await other.savePretrained(path);
      assert.deepEqual((await readdir(path)).sort(), [...before, 'config.json', WEIGHTS].sort());
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(path)), await predictionOf(other));
      await other.savePretrained(path, { variant: 'fp16' });
      const variant = WEIGHTS.replace('.', '.fp16.');
      assert.deepEqual((await readdir(path)).sort(), ['config.json', WEIGHTS, variant].sort());
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(path, { variant: 'fp16' })), await predictionOf(other));
      await rejects(() => other.savePretrained(path, { variant: '../x' }), 'ERR_ARGUMENT', /variant must be a word/);
      await rejects(() => other.savePretrained(path, { safeSerialization: false } as never), 'ERR_ARGUMENT', /unknown option "safeSerialization"/);
    });

    it('read a .bin, and prefer safetensors to it', async () => {
      const expected = await predictionOf(await UNet2DModel.fromTorchScript(archive('tiny-grey')));
      const path = join(folder, 'bin');
      const grey = await UNet2DModel.fromTorchScript(archive('tiny-grey'));
      await grey.savePretrained(path);
      await rm(join(path, WEIGHTS));
      await copyFile(archive('tiny-grey').replace('.pt', '-weights.bin'), join(path, 'diffusion_pytorch_model.bin'));
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(path)), expected);
      await rejects(() => UNet2DModel.fromPretrained(path, { useSafetensors: true }), 'ERR_NOT_FOUND', /none of .*safetensors.*holds diffusion_pytorch_model\.bin/);
      await UNet2DModel.fromConfig(grey.config, { generator: new Generator({ seed: 9 }) }).savePretrained(path);
      assert.notDeepEqual(await predictionOf(await UNet2DModel.fromPretrained(path)), expected);
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(path, { useSafetensors: false })), expected);
    });

    it('know the old names of attention', async () => {
      const old: [RegExp, string][] = [
        [/\.to_q\./, '.query.'],
        [/\.to_k\./, '.key.'],
        [/\.to_v\./, '.value.'],
        [/\.to_out\.0\./, '.proj_attn.'],
      ];
      const tensors = await readSafetensors(join(folder, 'unet', WEIGHTS));
      const renamed = new Map([...tensors].map(([name, tensor]) => [old.reduce((n, [a, b]) => n.replace(a, b), name), tensor]));
      assert.ok([...renamed.keys()].some((name) => name.endsWith('.proj_attn.weight')));
      const path = await emptyUNet('old');
      await writeSafetensors(join(path, WEIGHTS), renamed);
      assert.deepEqual(await predictionOf(await UNet2DModel.fromPretrained(path)), await predictionOf(tinyUNet()));
    });

    it('list every tensor that is missing, unexpected or misshapen in one error', async () => {
      const tensors = await readSafetensors(join(folder, 'unet', WEIGHTS));
      const out = tensors.get('conv_out.bias')!;
      tensors.delete('conv_in.weight');
      tensors.delete('conv_in.bias');
      tensors.set('extra.weight', out);
      tensors.set('conv_out.bias', { ...out, shape: [1, 2] });
      const path = await emptyUNet('wrong');
      await writeSafetensors(join(path, WEIGHTS), tensors);
      const { message } = await rejects(() => UNet2DModel.fromPretrained(path), 'ERR_CHECKPOINT', /conv_in\.weight/);
      for (const part of [/conv_in\.bias/, /extra\.weight/, /conv_out\.bias/]) assert.match(message, part);
    });

    it('say what was looked for', async () => {
      const path = await emptyUNet('none');
      await rejects(
        () => UNet2DModel.fromPretrained(path),
        'ERR_NOT_FOUND',
        /none of diffusion_pytorch_model\.safetensors\.index\.json, diffusion_pytorch_model\.safetensors, diffusion_pytorch_model\.bin\.index\.json, diffusion_pytorch_model\.bin; it holds no weights/,
      );
      await rejects(
        () => UNet2DModel.fromPretrained(folder, { variant: 'fp16' }),
        'ERR_NOT_FOUND',
        /no variant "fp16" \(none of diffusion_pytorch_model\.safetensors\.index\.fp16\.json, diffusion_pytorch_model\.fp16\.safetensors, .*\); it holds diffusion_pytorch_model\.safetensors/,
      );
      await writeFile(join(path, WEIGHTS), 'hello');
      await rejects(() => UNet2DModel.fromPretrained(path), 'ERR_CHECKPOINT', /diffusion_pytorch_model\.safetensors/);
      await rm(join(path, 'config.json'));
      await rejects(() => UNet2DModel.fromPretrained(path), 'ERR_NOT_FOUND', /config\.json does not exist/);
    });

    it('are freed again where the signal fires while they are read', async () => {
      const controller = new AbortController();
      const { fromFile } = UNet2DModel;
      let late: UNet2DModel | undefined;
      UNet2DModel.fromFile = async (...args) => {
        late = await fromFile.apply(UNet2DModel, args);
        controller.abort();
        return late;
      };
      try {
        const load = () => UNet2DModel.fromPretrained(folder, { signal: controller.signal });
        await rejects(load, 'ERR_ABORTED', /aborted/);
      } finally {
        UNet2DModel.fromFile = fromFile;
      }
      await rejects(() => late!.forward(noise([1, 2, 8, 8]), 1), 'ERR_DISPOSED', /dispose/);
    });

    it('refuse wrong options before any work', async () => {
      const load = (options: object) => () => UNet2DModel.fromPretrained(folder, options);
      await rejects(load({ torch_dtype: 'float16' }), 'ERR_ARGUMENT', /unknown option "torch_dtype"/);
      await rejects(load({ variant: '../x' }), 'ERR_ARGUMENT', /variant must be a word such as 'fp16', got "\.\.\/x"/);
      await rejects(load({ useSafetensors: 'yes' }), 'ERR_ARGUMENT', /useSafetensors must be true or false/);
      await rejects(load({ dtype: 'uint8' }), 'ERR_DTYPE', /got uint8/);
      await rejects(load({ device: 'cuda:77' }), 'ERR_DEVICE', /'cuda:77'/);
      await rejects(load({ signal: AbortSignal.abort() }), 'ERR_ABORTED', /aborted/);
      await rejects(() => UNet2DModel.fromPretrained(1 as never), 'ERR_ARGUMENT', /got 1/);
      const file = join(folder, 'unet', WEIGHTS);
      await rejects(() => tinyUNet().savePretrained(join(file, 'x')), 'ERR_ARGUMENT', /can't write .*: a part of its path is a file/);
      await rejects(() => tinyUNet().savePretrained(''), 'ERR_ARGUMENT', /folder must be a path, got ""/);
    });
  });

  describe('fromTorchScript', () => {
    it('takes the weights and the config out of the archive, and runs as the archive does', async () => {
      const unet = await UNet2DModel.fromTorchScript(archive('tiny-unet'));
      assert.deepEqual([unet.config.inChannels, unet.config.numClassEmbeds], [2, 3]);
      const script = await loadUNet(archive('tiny-unet'));
      const x = noise([2, 2, 8, 8]);
      const [a, b] = await Promise.all([unet, script].map((one) => one.forward(x, [7, 900], { classLabels: [0, 2] })));
      assert.ok(a!.sample.sub(b!.sample).abs().amax().item() < 1e-5);
    });

    it('takes a config instead, and refuses what it can not use', async () => {
      const { config } = await UNet2DModel.fromTorchScript(archive('tiny-unet'));
      assert.equal((await UNet2DModel.fromTorchScript(archive('tiny-unet'), { config, dtype: 'float64' })).dtype, 'float64');
      const load = (name: string, options = {}) => () => UNet2DModel.fromTorchScript(archive(name), options);
      await rejects(load('probe'), 'ERR_CONFIG', /holds no config\.json/);
      await rejects(load('probe', { config: TINY }), 'ERR_CHECKPOINT', /conv_in\.weight/);
      await rejects(load('gone'), 'ERR_NOT_FOUND', /gone\.pt does not exist/);
      await rejects(load('tiny-unet', { subfolder: 'x' }), 'ERR_ARGUMENT', /unknown option "subfolder"/);
      await rejects(() => UNet2DModel.fromTorchScript(1 as never), 'ERR_ARGUMENT', /file must be a path, got 1/);
    });
  });
});
