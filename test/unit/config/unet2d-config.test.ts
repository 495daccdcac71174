import assert from 'node:assert/strict';
import { inSpellingOf, parseUNet2DConfig } from '../../../ts/config/unet2d-config';
import { toDiskUNetConfig } from '../../../ts/config/unet-config';

describe('config/unet2d-config', () => {
  it("has diffusers' defaults", () => {
    const { config } = parseUNet2DConfig({});
    assert.deepEqual(config.downBlockTypes, ['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D']);
    assert.deepEqual([config.midBlockType, config.actFn, config.classEmbedType], ['UNetMidBlock2D', 'silu', null]);
    assert.deepEqual([config.timeEmbeddingType, config.resnetTimeScaleShift], ['positional', 'default']);
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.upBlockTypes));
  });

  it('takes the old prefix of blocks, and writes the name of today', () => {
    const parsed = parseUNet2DConfig({ down_block_types: ['UNetResDownBlock2D', 'UNetResAttnDownBlock2D'], up_block_types: ['AttnUpBlock2D', 'UNetResUpBlock2D'] });
    assert.deepEqual(parsed.config.downBlockTypes, ['DownBlock2D', 'AttnDownBlock2D']);
    assert.deepEqual(toDiskUNetConfig(parsed)['up_block_types'], ['AttnUpBlock2D', 'UpBlock2D']);
    assert.throws(() => parseUNet2DConfig({ down_block_types: ['DownUNetResBlock2D'] }), { code: 'ERR_CONFIG' });
  });

  it('takes null where diffusers does', () => {
    const nulls = { mid_block_type: null, attention_head_dim: null, norm_num_groups: null, class_embed_type: null, sample_size: null };
    const { config } = parseUNet2DConfig(nulls);
    assert.deepEqual([config.midBlockType, config.attentionHeadDim, config.normNumGroups, config.sampleSize], [null, null, null, null]);
  });

  it("takes activations in any case, and null and '' for conv, as diffusers does", () => {
    const { config } = parseUNet2DConfig({ act_fn: 'SiLU', downsample_type: null, upsample_type: '' });
    assert.deepEqual([config.actFn, config.downsampleType, config.upsampleType], ['silu', 'conv', 'conv']);
  });

  it("has the model's own messages name keys as the caller does, and only keys", () => {
    const message = "resnet_time_scale_shift must not be 'scale_shift', got block_out_channels [4]";
    const camel = "resnetTimeScaleShift must not be 'scale_shift', got blockOutChannels [4]";
    assert.equal(inSpellingOf({ blockOutChannels: [4] }, message), camel);
    assert.equal(inSpellingOf({ block_out_channels: [4] }, message), message);
  });

  const bad: [object, string][] = [
    [{ act_fn: 'tanh' }, 'act_fn must be one of silu, swish, mish, gelu, relu, got "tanh"'],
    [{ actFn: null }, 'actFn must be one of silu, swish, mish, gelu, relu, got null'],
    [
      { up_block_types: ['UpBlock2D', 'DownBlock2D'] },
      'up_block_types must be an array of 1 … 256 names, each one of UpBlock2D, AttnUpBlock2D, ResnetUpsampleBlock2D, ' +
        'SkipUpBlock2D, AttnSkipUpBlock2D, got ["UpBlock2D", "DownBlock2D"] (at index 1)',
    ],
    [{ mid_block_type: 'none' }, 'mid_block_type must be null or one of UNetMidBlock2D, got "none"'],
    [{ class_embed_type: 'simple_projection' }, 'class_embed_type must be null or one of timestep, identity, got "simple_projection"'],
    [{ upsample_type: 'kernel' }, 'upsample_type must be one of conv, resnet, got "kernel"'],
    [{ resnet_time_scale_shift: 'spatial' }, 'resnet_time_scale_shift must be one of default, scale_shift, got "spatial"'],
    [{ in_channels: 0 }, 'in_channels must be an integer in 1 … 65536, got 0'],
  ];
  for (const [input, message] of bad) {
    it(`refuses ${message}`, () => {
      assert.throws(() => parseUNet2DConfig(input), { code: 'ERR_CONFIG', message });
    });
  }
});
