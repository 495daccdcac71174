import { isPlainObject } from '../arguments';
import { ConfigError } from '../errors';
import { isPrototypeKey } from './keys';

/** How deep a config may nest; diffusers' own stay under 4, and recursion over a hostile file must end. */
export const MAX_CONFIG_DEPTH = 64;

/**
 * A deeply frozen copy of a JSON-like value without keys that reach a prototype; the caller's objects are left as they
 * are. Objects of other kinds (a Date, a function) are kept as they come.
 *
 * @throws ConfigError where the value nests deeper than {@link MAX_CONFIG_DEPTH} (as a cyclic one does), or holds a bigint.
 */
export function frozenCopy<T>(value: T, key: string, depth = 0): T {
  if (depth > MAX_CONFIG_DEPTH) throw new ConfigError(`${key} must nest at most ${MAX_CONFIG_DEPTH} deep`);
  if (Array.isArray(value)) {
    return Object.freeze(value.map((item: unknown) => frozenCopy(item, key, depth + 1))) as T;
  }
  if (typeof value === 'bigint') throw new ConfigError(`${key} must hold what JSON can, got ${value}n`);
  if (!isPlainObject(value)) return value;
  const copy: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value)) {
    if (!isPrototypeKey(name)) copy[name] = frozenCopy(item, key, depth + 1);
  }
  return Object.freeze(copy) as T;
}
