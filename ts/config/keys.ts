import { isDeepStrictEqual } from 'node:util';
import { showValue } from '../arguments';
import { ConfigError } from '../errors';

/**
 * The camelCase of a diffusers key: `num_train_timesteps` → `numTrainTimesteps`. Only an underscore between a letter or
 * digit and a lower-case letter is folded, so that {@link camelToSnake} undoes it and `_class_name`'s first one stays.
 */
export function snakeToCamel(key: string): string {
  return key.replace(/(?<=[a-z0-9])_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The snake_case of a camelCase key: `numTrainTimesteps` → `num_train_timesteps`. */
export function camelToSnake(key: string): string {
  return key.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A value with the key the caller wrote it under, for messages and for keeping unknown keys as they were. */
export interface SpelledValue {
  readonly key: string;
  readonly value: unknown;
}

/** Keys that say what wrote a file; they are set anew when one is written. */
export const FILE_MARKS: ReadonlySet<string> = new Set(['_class_name', '_diffusers_version']);

const PROTOTYPE_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** Whether a key would reach an object's prototype when assigned carelessly; no config has use for such a key. */
export function isPrototypeKey(key: string): boolean {
  return PROTOTYPE_KEYS.has(key);
}

/**
 * The entries of `input` by camelCase key, whichever way each was spelled. `undefined` values and keys that reach a
 * prototype are left out.
 *
 * @throws ConfigError if both spellings of one key are there with different values.
 */
export function bothSpellings(input: Readonly<Record<string, unknown>>): Map<string, SpelledValue> {
  const entries = new Map<string, SpelledValue>();
  for (const [key, value] of Object.entries(input)) {
    if (value === undefined || isPrototypeKey(key)) continue;
    const camel = snakeToCamel(key);
    const other = entries.get(camel);
    if (other !== undefined && !isDeepStrictEqual(other.value, value)) {
      throw new ConfigError(
        `${other.key} and ${key} are two spellings of one key and must agree, ` +
          `got ${showValue(other.value)} and ${showValue(value)}`,
      );
    }
    if (other === undefined) entries.set(camel, { key, value });
  }
  return entries;
}
