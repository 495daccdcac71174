import { z } from 'zod';
import { isPlainObject, showValue } from '../arguments';
import { ConfigError } from '../errors';
import { frozenCopy } from './frozen-copy';
import { bothSpellings, camelToSnake, FILE_MARKS } from './keys';
import { parseFields, type Fields } from './parse-fields';
import { DIFFUSERS_VERSION } from './scheduler-config';

/** The config of a UNet in camelCase, with diffusers' keys; names of blocks and activations are the model's own affair. */
export interface UNetConfig {
  /** Height and width of the samples, one number for both; null where the model takes any. Default null. */
  sampleSize: number | readonly [number, number] | null;
  /** Channels of the input. Default 3. */
  inChannels: number;
  /** Channels of the output; twice `inChannels` where the variance is learned. Default 3. */
  outChannels: number;
  /** Whether the input is moved from 0 … 1 to −1 … 1. Default false. */
  centerInputSample: boolean;
  /** `positional`, `fourier` or `learned`. Default `'positional'`. */
  timeEmbeddingType: string;
  /** Width of the time embedding; null means 4·`blockOutChannels[0]`. Default null. */
  timeEmbeddingDim: number | null;
  /** Frequency shift of the time embedding. Default 0. */
  freqShift: number;
  /** Whether the time embedding is cos, sin instead of sin, cos. Default true. */
  flipSinToCos: boolean;
  /** The blocks on the way down. */
  downBlockTypes: readonly string[];
  /** The block in the middle, or null for none. Default `'UNetMidBlock2D'`. */
  midBlockType: string | null;
  /** The blocks on the way up. */
  upBlockTypes: readonly string[];
  /** Channels after each block. Default 224, 448, 672, 896. */
  blockOutChannels: readonly number[];
  /** ResNet layers a block. Default 2. */
  layersPerBlock: number;
  /** The middle block's output is divided by it. Default 1. */
  midBlockScaleFactor: number;
  /** Padding of the downsampling convolution. Default 1. */
  downsamplePadding: number;
  /** `conv` or `resnet`. Default `'conv'`. */
  downsampleType: string;
  /** `conv` or `resnet`. Default `'conv'`. */
  upsampleType: string;
  /** Dropout of training, unused here. Default 0. */
  dropout: number;
  /** The activation. Default `'silu'`. */
  actFn: string;
  /** Channels of an attention head; null for a single head. Default 8. */
  attentionHeadDim: number | null;
  /** Groups of the group norms; null for a quarter of the channels, 32 at most. Default 32. */
  normNumGroups: number | null;
  /** Groups of the attention's group norm, or null. Default null. */
  attnNormNumGroups: number | null;
  /** ε of the group norms. Default 1e-5. */
  normEps: number;
  /** How the time embedding enters a ResNet layer: `default` or `scale_shift`. Default `'default'`. */
  resnetTimeScaleShift: string;
  /** Whether the middle block has attention. Default true. */
  addAttention: boolean;
  /** `timestep`, `identity` or null. Default null. */
  classEmbedType: string | null;
  /** Number of classes of a class-conditional model, or null. Default null. */
  numClassEmbeds: number | null;
  /** Number of learned timesteps (`timeEmbeddingType` `learned`), or null. Default null. */
  numTrainTimesteps: number | null;
}

/** A UNet's config, and the keys of its file that UNet2DModel doesn't know. */
export interface ParsedUNetConfig<C extends UNetConfig = UNetConfig> {
  readonly config: Readonly<C>;
  readonly extra: Readonly<Record<string, unknown>>;
}

/** Counts in a UNet stay far below it; above, a product of three could leave 2⁵³. */
const MAX_COUNT = 65536;

const count = z.int().min(1).max(MAX_COUNT);
const countWords = `an integer in 1 … ${MAX_COUNT}`;
const aCount = (fallback: number) => count.default(fallback).describe(countWords);
const aCountOrNull = (fallback: number | null) => count.nullable().default(fallback).describe(`null or ${countWords}`);
const flag = (fallback: boolean) => z.boolean().default(fallback).describe('true or false');
const number = (fallback: number) => z.number().default(fallback).describe('a finite number');
const text = (fallback: string) => z.string().min(1).max(256).default(fallback).describe('a name');
const textOrNull = (fallback: string | null) =>
  z.string().min(1).max(256).nullable().default(fallback).describe('null or a name');
const names = (fallback: string[]) =>
  z.array(z.string().min(1).max(256)).min(1).max(256).default(fallback).describe('an array of 1 … 256 names');

/** The check of each key, for any UNet. */
export const UNET_FIELDS = {
  sampleSize: z
    .union([count, z.tuple([count, count])])
    .nullable()
    .default(null)
    .describe(`null, ${countWords}, or [height, width] of such`),
  inChannels: aCount(3),
  outChannels: aCount(3),
  centerInputSample: flag(false),
  timeEmbeddingType: text('positional'),
  timeEmbeddingDim: aCountOrNull(null),
  freqShift: number(0),
  flipSinToCos: flag(true),
  downBlockTypes: names(['DownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D', 'AttnDownBlock2D']),
  midBlockType: textOrNull('UNetMidBlock2D'),
  upBlockTypes: names(['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D']),
  blockOutChannels: z
    .array(count)
    .min(1)
    .max(256)
    .default([224, 448, 672, 896])
    .describe(`an array of 1 … 256 entries, each ${countWords}`),
  layersPerBlock: aCount(2),
  midBlockScaleFactor: number(1),
  downsamplePadding: z.int().min(0).max(MAX_COUNT).default(1).describe(`an integer in 0 … ${MAX_COUNT}`),
  downsampleType: text('conv'),
  upsampleType: text('conv'),
  dropout: z.number().min(0).max(1).default(0).describe('a number in 0 … 1'),
  actFn: text('silu'),
  attentionHeadDim: aCountOrNull(8),
  normNumGroups: aCountOrNull(32),
  attnNormNumGroups: aCountOrNull(null),
  normEps: z.number().positive().default(1e-5).describe('a finite number above 0'),
  resnetTimeScaleShift: text('default'),
  addAttention: flag(true),
  classEmbedType: textOrNull(null),
  numClassEmbeds: aCountOrNull(null),
  numTrainTimesteps: aCountOrNull(null),
} satisfies { [Key in keyof UNetConfig]: z.ZodType<UNetConfig[Key]> };

/**
 * Reads a UNet's `config.json`, keys in either spelling: types and sizes are checked, diffusers' defaults filled in and
 * keys that UNet2DModel doesn't know kept in `extra`. Names of blocks and activations are not judged here, since a
 * TorchScript archive brings its own. The result is a deeply frozen copy.
 *
 * @throws ConfigError naming the key as it is spelled, what it got and what it wants.
 */
export function parseUNetConfig(input: unknown): ParsedUNetConfig {
  return parseUNetFields<UNetConfig>(input, UNET_FIELDS);
}

/** {@link parseUNetConfig} with the checks of a model's own. */
export function parseUNetFields<C extends UNetConfig>(input: unknown, fields: Fields): ParsedUNetConfig<C> {
  if (!isPlainObject(input)) {
    throw new ConfigError(`the config of UNet2DModel must be a plain object, got ${showValue(input)}`);
  }
  const entries = bothSpellings(input);
  const config = frozenCopy(parseFields(fields, entries) as unknown as C, 'config');
  const extra: Record<string, unknown> = {};
  for (const [name, { key, value }] of entries) {
    if (!Object.hasOwn(fields, name) && !FILE_MARKS.has(key)) extra[key] = frozenCopy(value, key);
  }
  return { config, extra: Object.freeze(extra) };
}

/** What `config.json` holds for a UNet's config: diffusers' snake_case keys and marks. */
export function toDiskUNetConfig({ config, extra }: ParsedUNetConfig): Record<string, unknown> {
  const onDisk: Record<string, unknown> = { ...extra };
  for (const [key, value] of Object.entries(config)) onDisk[camelToSnake(key)] = value;
  return { ...onDisk, _class_name: 'UNet2DModel', _diffusers_version: DIFFUSERS_VERSION };
}

/** Height and width of a config's samples, or null where it states none. */
export function sampleSizeOf(config: Readonly<Pick<UNetConfig, 'sampleSize'>>): readonly [number, number] | null {
  const { sampleSize } = config;
  return typeof sampleSize === 'number' ? [sampleSize, sampleSize] : sampleSize;
}
