import { ArgumentError } from './errors';
import { escapeControls } from './escape-controls';

/** `value` as an error message shows it: short, on one line, and telling a string from a number. */
export function showValue(value: unknown): string {
  try {
    return show(value);
  } catch {
    return 'what can not be read'; // a revoked proxy, an array whose buffer was detached
  }
}

function show(value: unknown): string {
  if (typeof value === 'string') return shorten(escapeControls(JSON.stringify(value)));
  if (typeof value === 'bigint') return shorten(`${value}n`);
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const { length } = value as unknown as ArrayLike<unknown>;
    const shown = length <= 8 ? Array.from(value as unknown as ArrayLike<unknown>, showItem).join(', ') : null;
    return shown === null ? `an array of ${length}` : shorten(`[${shown}]`);
  }
  return 'an object';
}

const showItem = (item: unknown): string =>
  typeof item === 'object' && item !== null ? '…' : showValue(item);

const shorten = (text: string): string => (text.length <= 60 ? text : `${text.slice(0, 57)}…`);

/** Whether `value` is an object literal or parsed JSON object: no array, no class instance, from any realm. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The one of `candidates` nearest to `word` in edits, or `undefined` when none is near enough to be meant. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance, one row at a time; long words are cut, since keys are short and input is anyone's. */
function editDistance(a: string, b: string): number {
  const [left, right] = [a.slice(0, 64), b.slice(0, 64)];
  let row = Array.from({ length: right.length + 1 }, (_, j) => j);
  for (let i = 1; i <= left.length; i++) {
    const next = [i];
    for (let j = 1; j <= right.length; j++) {
      const substituted = row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[right.length]!;
}

/**
 * Checks that an options object has only known keys.
 *
 * @throws ArgumentError naming the function, the unknown key and the one that may be meant.
 */
export function checkOptions(name: string, options: object | undefined, known: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ArgumentError(`${name}: options must be an object, got ${showValue(options)}`);
  }
  // A class may hold options, but not one that hides them, as a Map or a tensor does.
  if (!isPlainObject(options) && Object.keys(options).length === 0) {
    throw new ArgumentError(`${name}: options must be a plain object, got a ${options.constructor?.name ?? 'stranger'}`);
  }
  const problem = unknownOption(options, known);
  if (problem !== undefined) throw new ArgumentError(`${name}: ${problem}`);
}

/** The same for options that must be given. @throws ArgumentError */
export function requireOptions(name: string, options: object | undefined, known: readonly string[]): void {
  if (options === undefined) throw new ArgumentError(`${name}: options must be an object, got undefined`);
  checkOptions(name, options, known);
}

/** The first key of an object that is not a known one, in words, with the one that may be meant. */
export function unknownOption(options: object, known: readonly string[]): string | undefined {
  const key = Object.keys(options).find((one) => !known.includes(one));
  if (key === undefined) return undefined;
  const meant = nearest(key, known);
  const advice = meant === undefined ? `it wants ${known.join(', ')}` : `did you mean ${meant}?`;
  return `unknown option ${showValue(key)}; ${advice}`;
}

/** @throws ArgumentError unless `device` is a string; whether there is such a device is for the addon to say. */
export function checkDevice(device: unknown): string {
  if (typeof device === 'string') return device;
  throw new ArgumentError(`device must be a string such as 'cpu' or 'cuda:0', got ${showValue(device)}`);
}

/** @throws ArgumentError unless `signal` is an AbortSignal or left out. */
export function checkSignal(signal: unknown): asserts signal is AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new ArgumentError(`signal must be an AbortSignal, got ${showValue(signal)}`);
}

/** @throws ArgumentError unless `folder` is a path. */
export function checkFolder(folder: unknown): void {
  if (typeof folder === 'string' && folder !== '') return;
  throw new ArgumentError(`folder must be a path, got ${showValue(folder)}`);
}
