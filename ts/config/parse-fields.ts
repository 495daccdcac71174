import type { z } from 'zod';
import { showValue } from '../arguments';
import { ConfigError, type DiffusersError } from '../errors';
import type { SpelledValue } from './keys';

/** Zod schemas by key; each one's description is what it wants, in words. */
export type Fields = Readonly<Record<string, z.ZodType>>;

/**
 * Reads every key of `fields` out of `entries`, with the field's default where the key is missing.
 *
 * @throws ConfigError (or another class) naming the key as the caller spelled it, what it got and what it wants.
 */
export function parseFields(
  fields: Fields,
  entries: ReadonlyMap<string, SpelledValue>,
  ErrorClass: new (message: string) => DiffusersError = ConfigError,
): Record<string, unknown> {
  const parsed: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    const entry = entries.get(name);
    const result = field.safeParse(entry?.value);
    if (!result.success) {
      throw new ErrorClass(
        `${entry?.key ?? name} must be ${field.description}, got ${showValue(entry?.value)}${where(result.error)}`,
      );
    }
    parsed[name] = result.data;
  }
  return parsed;
}

/** Which element of an array failed, for lists too long to show. */
function where(error: z.ZodError): string {
  const index = error.issues[0]?.path[0];
  return typeof index === 'number' ? ` (at index ${index})` : '';
}
