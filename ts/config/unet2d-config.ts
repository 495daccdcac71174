import { z } from 'zod';
import { snakeToCamel } from './keys';
import { parseUNetFields, UNET_FIELDS, type ParsedUNetConfig, type UNetConfig } from './unet-config';

export type TimeEmbeddingType = (typeof TIME_EMBEDDING_TYPES)[number];
export type DownBlockType = (typeof DOWN_BLOCK_TYPES)[number];
export type MidBlockType = (typeof MID_BLOCK_TYPES)[number];
export type UpBlockType = (typeof UP_BLOCK_TYPES)[number];
export type ResampleType = (typeof RESAMPLE_TYPES)[number];
export type ActivationName = (typeof ACTIVATIONS)[number];
export type ResnetTimeScaleShift = (typeof TIME_SCALE_SHIFTS)[number];
export type ClassEmbedType = (typeof CLASS_EMBED_TYPES)[number];

const TIME_EMBEDDING_TYPES = ['positional', 'fourier', 'learned'] as const;
const DOWN_BLOCK_TYPES = [
  'DownBlock2D', 'AttnDownBlock2D', 'ResnetDownsampleBlock2D', 'SkipDownBlock2D', 'AttnSkipDownBlock2D',
] as const; // prettier-ignore
const MID_BLOCK_TYPES = ['UNetMidBlock2D'] as const;
const UP_BLOCK_TYPES = [
  'UpBlock2D', 'AttnUpBlock2D', 'ResnetUpsampleBlock2D', 'SkipUpBlock2D', 'AttnSkipUpBlock2D',
] as const; // prettier-ignore
const RESAMPLE_TYPES = ['conv', 'resnet'] as const;
const ACTIVATIONS = ['silu', 'swish', 'mish', 'gelu', 'relu'] as const;
const TIME_SCALE_SHIFTS = ['default', 'scale_shift'] as const;
const CLASS_EMBED_TYPES = ['timestep', 'identity'] as const;

/** The config of UNet2DModel in camelCase: diffusers' keys and defaults, and the values that the model can honour. */
export interface UNet2DConfig extends UNetConfig {
  timeEmbeddingType: TimeEmbeddingType;
  downBlockTypes: readonly DownBlockType[];
  midBlockType: MidBlockType | null;
  upBlockTypes: readonly UpBlockType[];
  downsampleType: ResampleType;
  upsampleType: ResampleType;
  actFn: ActivationName;
  resnetTimeScaleShift: ResnetTimeScaleShift;
  classEmbedType: ClassEmbedType | null;
}

type SnakeCase<Key extends string> = Key extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : Key;

/** A config in either spelling, with what marks a file. */
export type UNet2DConfigInput = Partial<UNet2DConfig> & {
  readonly [Key in keyof UNet2DConfig as Exclude<SnakeCase<Key>, Key>]?: UNet2DConfig[Key];
} & { readonly _class_name?: string; readonly _diffusers_version?: string };

const oneOf = <const T extends readonly string[]>(names: T, fallback: T[number]) =>
  z.enum(names).default(fallback).describe(`one of ${names.join(', ')}`);
/** diffusers asks for the name in small letters. */
const activation = z
  .preprocess((name) => (typeof name === 'string' ? name.toLowerCase() : name), z.enum(ACTIVATIONS))
  .default('silu')
  .describe(`one of ${ACTIVATIONS.join(', ')}`);
/** diffusers takes null and '' for conv. */
const resampling = z
  .preprocess((name) => (name === null || name === '' ? 'conv' : name), z.enum(RESAMPLE_TYPES))
  .default('conv')
  .describe(`one of ${RESAMPLE_TYPES.join(', ')}`);
const oneOfOrNull = <const T extends readonly string[]>(names: T, fallback: T[number] | null) =>
  z.enum(names).nullable().default(fallback).describe(`null or one of ${names.join(', ')}`);

/** The prefix of blocks in the oldest checkpoints means nothing to diffusers: UNetResDownBlock2D is DownBlock2D. */
const currentName = (name: unknown): unknown => (typeof name === 'string' ? name.replace(/^UNetRes/, '') : name);
const blocks = <const T extends readonly string[]>(names: T, fallback: T[number][]) =>
  z
    .array(z.preprocess(currentName, z.enum(names)))
    .min(1)
    .max(256)
    .default(fallback)
    .describe(`an array of 1 … 256 names, each one of ${names.join(', ')}`);

const FIELDS = {
  ...UNET_FIELDS,
  timeEmbeddingType: oneOf(TIME_EMBEDDING_TYPES, 'positional'),
  downBlockTypes: blocks(DOWN_BLOCK_TYPES, ['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D']),
  midBlockType: oneOfOrNull(MID_BLOCK_TYPES, 'UNetMidBlock2D'),
  upBlockTypes: blocks(UP_BLOCK_TYPES, ['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D']),
  downsampleType: resampling,
  upsampleType: resampling,
  actFn: activation,
  resnetTimeScaleShift: oneOf(TIME_SCALE_SHIFTS, 'default'),
  classEmbedType: oneOfOrNull(CLASS_EMBED_TYPES, null),
} satisfies { [Key in keyof UNet2DConfig]: z.ZodType<UNet2DConfig[Key]> };

/**
 * Reads the config of a native UNet2DModel, keys in either spelling: types, sizes and names are checked here, one by one;
 * what keys mean together (lengths, groups that divide channels) the model checks. The result is a deeply frozen copy.
 *
 * @throws ConfigError naming the key as it is spelled, what it got and what it wants.
 */
export function parseUNet2DConfig(input: unknown): ParsedUNetConfig<UNet2DConfig> {
  return parseUNetFields<UNet2DConfig>(input, FIELDS);
}

/**
 * What the addon says of a config, which names keys in snake_case, with the caller's spelling of them: camelCase, unless one
 * of the keys is given in snake_case.
 */
export function inSpellingOf(input: UNet2DConfigInput, message: string): string {
  if (Object.keys(input).some((key) => snakeToCamel(key) !== key)) return message;
  return message.replace(/[a-z\d]+(?:_[a-z\d]+)+/g, (key) => (Object.hasOwn(FIELDS, snakeToCamel(key)) ? snakeToCamel(key) : key));
}
