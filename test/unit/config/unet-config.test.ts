import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readJsonFile } from '../../../ts/config/json-file';
import { parseUNetConfig, sampleSizeOf, toDiskUNetConfig } from '../../../ts/config/unet-config';

const EMBEDDED = join(__dirname, '../../../models/fashion-mnist-ddpm/unet/config.json');

describe('config/unet-config', () => {
  it("has diffusers' defaults", () => {
    const { config, extra } = parseUNetConfig({});
    assert.deepEqual(config, {
      sampleSize: null,
      inChannels: 3,
      outChannels: 3,
      centerInputSample: false,
      timeEmbeddingType: 'positional',
      timeEmbeddingDim: null,
      freqShift: 0,
      flipSinToCos: true,
      downBlockTypes: ['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D'],
      midBlockType: 'UNetMidBlock2D',
      upBlockTypes: ['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
      blockOutChannels: [224, 448, 672, 896],
      layersPerBlock: 2,
      midBlockScaleFactor: 1,
      downsamplePadding: 1,
      downsampleType: 'conv',
      upsampleType: 'conv',
      dropout: 0,
      actFn: 'silu',
      attentionHeadDim: 8,
      normNumGroups: 32,
      attnNormNumGroups: null,
      normEps: 1e-5,
      resnetTimeScaleShift: 'default',
      addAttention: true,
      classEmbedType: null,
      numClassEmbeds: null,
      numTrainTimesteps: null,
    });
    assert.deepEqual(extra, {});
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.blockOutChannels));
  });

  it("reads the embedded model's config and writes the same keys and values", async () => {
    const file = await readJsonFile(EMBEDDED);
    const parsed = parseUNetConfig(file);
    assert.equal(parsed.config.sampleSize, 32);
    assert.deepEqual(parsed.config.blockOutChannels, [32, 64, 96]);
    assert.deepEqual({ ...toDiskUNetConfig(parsed), _diffusers_version: file['_diffusers_version'] }, file);
  });

  it('takes heights and widths, and keeps unknown keys, but not what marks a file', () => {
    const marks = { _class_name: 'UNet2DConditionModel', _diffusers_version: '0.1.0' };
    const { config, extra } = parseUNetConfig({ ...marks, sample_size: [16, 24], cross_attention_dim: 768, downsample_padding: 0 });
    assert.deepEqual(sampleSizeOf(config), [16, 24]);
    assert.deepEqual(extra, { cross_attention_dim: 768 });
    assert.equal(config.downsamplePadding, 0);
    assert.deepEqual(sampleSizeOf({ sampleSize: 8 }), [8, 8]);
    assert.equal(sampleSizeOf({ sampleSize: null }), null);
  });

  const bad: [unknown, string][] = [
    [null, 'the config of UNet2DModel must be a plain object, got null'],
    [{ in_channels: 0 }, 'in_channels must be an integer in 1 … 65536, got 0'],
    [{ out_channels: '3' }, 'out_channels must be an integer in 1 … 65536, got "3"'],
    [
      { sample_size: [1, 2, 3] },
      'sample_size must be null, an integer in 1 … 65536, or [height, width] of such, got [1, 2, 3]',
    ],
    [{ num_class_embeds: 1.5 }, 'num_class_embeds must be null or an integer in 1 … 65536, got 1.5'],
    [
      { block_out_channels: [] },
      'block_out_channels must be an array of 1 … 256 entries, each an integer in 1 … 65536, got []',
    ],
    [
      { block_out_channels: new Array(257).fill(8) },
      'block_out_channels must be an array of 1 … 256 entries, each an integer in 1 … 65536, got an array of 257',
    ],
    [{ dropout: 1.5 }, 'dropout must be a number in 0 … 1, got 1.5'],
    [{ norm_eps: 0 }, 'norm_eps must be a finite number above 0, got 0'],
    [{ flip_sin_to_cos: 'yes' }, 'flip_sin_to_cos must be true or false, got "yes"'],
  ];
  for (const [input, message] of bad) {
    it(`refuses ${message}`, () => {
      assert.throws(() => parseUNetConfig(input), { code: 'ERR_CONFIG', message });
    });
  }
});
