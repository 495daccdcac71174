import type { Command } from 'commander';
import { nearest } from '../arguments';

/** A command line that can't be right, whatever the machine: one line and exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Reads an option's value. */
export type OptionParser<T> = (value: string) => T;

const refuse = (option: string, wants: string, got: string): never => {
  throw new UsageError(`${option} must be ${wants}, got ${JSON.stringify(got)}`);
};

/** A parser of integers in `low` … `high`, in decimal digits. */
export function integerOption(option: string, low: number, high: number): OptionParser<number> {
  return (value) => {
    const number = /^[+-]?\d+$/.test(value) ? Number(value) : NaN;
    return number >= low && number <= high ? number : refuse(option, `an integer in ${low} … ${high}`, value);
  };
}

/** A parser of finite numbers from `low` up. */
export function numberOption(option: string, low: number): OptionParser<number> {
  return (value) => {
    const number = value.trim() === '' ? NaN : Number(value);
    return Number.isFinite(number) && number >= low ? number : refuse(option, `a number from ${low} up`, value);
  };
}

/** The largest seed: torch's generators take 64 bits. */
export const MAX_SEED = 2n ** 64n - 1n;

/** A parser of seeds, 0 … 2^64 − 1. */
export function seedOption(option: string): OptionParser<bigint> {
  return (value) => {
    const seed = /^\d{1,20}$/.test(value) ? BigInt(value) : -1n;
    return seed >= 0n && seed <= MAX_SEED ? seed : refuse(option, 'an integer in 0 … 2^64 - 1', value);
  };
}

/** A parser of one of some words. */
export function choiceOption<const T extends readonly string[]>(option: string, choices: T): OptionParser<T[number]> {
  return (value) => {
    const choice = choices.find((one) => one === value);
    if (choice !== undefined) return choice;
    const meant = nearest(value, choices);
    return refuse(
      option,
      `one of ${choices.join(', ')}${meant === undefined ? '' : ` (did you mean ${meant}?)`}`,
      value,
    );
  };
}

/** A parser of a word that may be a part of a file's name. */
export function wordOption(option: string): OptionParser<string> {
  return (value) => (/^[\w-]{1,64}$/.test(value) ? value : refuse(option, 'a word such as fp16', value));
}

/** Integers in decimal digits with commas between; NaN for what is none. */
const integersIn = (value: string): number[] =>
  value.split(',').map((part) => (/^\s*\d{1,9}\s*$/.test(part) ? Number(part) : NaN));

/** A parser of integers that descend strictly, with commas between: `801,601,401`. */
export function descendingOption(option: string): OptionParser<number[]> {
  return (value) => {
    const numbers = integersIn(value);
    const descends = numbers.every((number, i) => Number.isInteger(number) && (i === 0 || number < numbers[i - 1]!));
    return descends ? numbers : refuse(option, 'descending integers from 0 up with commas between', value);
  };
}

/** A parser of integers from 1 up with commas between: `1,8,64`. */
export function countsOption(option: string, high: number): OptionParser<number[]> {
  return (value) => {
    const numbers = integersIn(value);
    const isRight = numbers.every((number) => number >= 1 && number <= high);
    return isRight ? numbers : refuse(option, `integers in 1 … ${high} with commas between`, value);
  };
}

/** A parser of one part of so many: `2/8`. */
export function shardOption(option: string): OptionParser<{ index: number; count: number }> {
  return (value) => {
    const [, index = NaN, count = NaN] = (/^(\d{1,6})\/(\d{1,6})$/.exec(value) ?? []).map(Number);
    return index >= 1 && index <= count ? { index, count } : refuse(option, 'i/n with 1 ≤ i ≤ n', value);
  };
}

/** A parser of what may be anything but nothing: a path, or a model's name. */
export function nonEmptyOption(option: string, what: string): OptionParser<string> {
  return (value) => (value === '' ? refuse(option, what, value) : value);
}

/** A parser of devices as torch names them. */
export function deviceOption(option: string): OptionParser<string> {
  return (value) => (/^(?:cpu|cuda(?::\d{1,3})?)$/.test(value) ? value : refuse(option, 'cpu, cuda or cuda:N', value));
}

/** Whether the user wrote the option, rather than its default standing. */
export function isGiven(command: Command, name: string): boolean {
  return command.getOptionValueSource(name) === 'cli';
}
