import { InvalidArgumentError } from 'commander';

/** 'a, b' → ['a', 'b']. */
export const list = (text: string): string[] => text.split(',').map((one) => one.trim());

/** A number above 0. @throws InvalidArgumentError */
export function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError(`must be a number above 0, got '${text}'`);
}

/** 1, 2, … @throws InvalidArgumentError */
export function count(text: string): number {
  const value = positive(text);
  if (Number.isInteger(value)) return value;
  throw new InvalidArgumentError(`must be a whole number, got '${text}'`);
}
