import { isPlainObject } from '../arguments';
import { bothSpellings } from '../config/keys';
import { parseUNetConfig, toDiskUNetConfig } from '../config/unet-config';
import { CheckpointError, ConfigError } from '../errors';
import type { UNetLikeConfig } from './unet-like';

/** A UNet's config, and as a `config.json` of diffusers holds it. */
export interface UNetConfigSource {
  readonly config: UNetLikeConfig;
  readonly text: string;
}

/** The keys that a sampler can't do without. */
const NEEDED = ['inChannels', 'outChannels', 'sampleSize'] as const;

const toText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** The config that a `config.json` holds. */
export function readConfig(value: unknown): UNetConfigSource {
  return { config: parseUNetConfig(value).config, text: toText(value) };
}

/** The config that lies in an archive. */
export function readArchiveConfig(model: {
  file: string;
  extraFiles: Readonly<Record<string, string>>;
}): UNetConfigSource {
  const text = model.extraFiles['config.json'];
  if (text === undefined) {
    throw new ConfigError(
      `${model.file} holds no config.json, as scripts/export_torchscript.py puts in; ` +
        'pass asUNet({ inChannels, outChannels, sampleSize })',
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`config.json in ${model.file} is not valid JSON`, { cause });
  }
  return readConfig(value);
}

/** A caller's config. Only what it states is kept: diffusers' defaults need not be true of a model from elsewhere. */
export function readGivenConfig(given: UNetLikeConfig): UNetConfigSource {
  const parsed = parseUNetConfig(given);
  const stated = isPlainObject(given) ? bothSpellings(given) : new Map<string, unknown>();
  for (const key of NEEDED) {
    if (!stated.has(key)) throw new ConfigError(`asUNet: config must state ${NEEDED.join(', ')}; ${key} is missing`);
  }
  const config = Object.fromEntries(Object.entries(parsed.config).filter(([key]) => stated.has(key)));
  const onDisk = toDiskUNetConfig({ ...parsed, config: config as unknown as typeof parsed.config });
  return { config: Object.freeze(config) as unknown as UNetLikeConfig, text: toText(onDisk) };
}
