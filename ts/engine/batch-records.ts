import { isDeepStrictEqual } from 'node:util';
import { isPlainObject, showValue } from '../arguments';
import { ArgumentError } from '../errors';
import type { ImageFormat } from '../image';
import type { WeightsDigest } from '../models/weights-digest';
import type { BatchImageOptions, BatchScheduler } from './batch-job';

/** A line of a manifest. */
export type BatchRecord = BatchRunRecord | BatchImageRecord | BatchFailureRecord;

/** What the images below it were made with; a run writes it before its first other line. */
export interface BatchRunRecord {
  readonly record: 'run';
  /** When the run began, ISO 8601. */
  readonly time: string;
  /** Of this package, Node.js and torch, and the diffusers release whose numbers these are. */
  readonly versions: Readonly<Record<'node-diffusers' | 'node' | 'torch' | 'diffusers', string>>;
  readonly device: string;
  readonly dtype: string;
  /** Null for a model that was not read from a file. */
  readonly weights: WeightsDigest | null;
  /** The configs that the lines' schedulers have, spelled as in `scheduler_config.json`; null where there is none such. */
  readonly schedulers: Readonly<Record<BatchScheduler, Readonly<Record<string, unknown>> | null>>;
  readonly format: ImageFormat;
  /** `'i/n'` of a run of one shard. */
  readonly shard: string | null;
}

/** An image that is there, whole. */
export interface BatchImageRecord {
  readonly record: 'image';
  readonly id: string;
  /** The line of the jobs file, from 1. */
  readonly line: number;
  /** A number, or a string of digits above 2^53. */
  readonly seed: number | string;
  readonly options: BatchImageOptions;
  /** The image's file, beside the manifest. */
  readonly file: string;
  /** The file's, in hexadecimal. */
  readonly sha256: string;
  /** From the request to the encoded image, its wait for a place in the batch included. */
  readonly seconds: number;
  /** When it was written, ISO 8601. */
  readonly time: string;
}

/** A line that came to nothing; it is tried again by the next run. */
export interface BatchFailureRecord {
  readonly record: 'failure';
  /** Null where the line has no proper one. */
  readonly id: string | null;
  readonly line: number;
  readonly error: { readonly code: string; readonly message: string };
  readonly time: string;
}

/** A seed as JSON can hold it. */
export function seedForJson(seed: bigint): number | string {
  return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : String(seed);
}

/**
 * Checks that a manifest's images are such as this run makes of the same lines. The device may differ, and the versions.
 *
 * @param before a run record as it was found, by whomever it was written
 * @throws ArgumentError naming what differs.
 */
export function checkSameRun(manifest: string, before: Readonly<Record<string, unknown>>, now: BatchRunRecord): void {
  const same = (what: string, had: unknown, has: unknown): void => {
    if (isDeepStrictEqual(had, has)) return;
    const change = `(${showValue(had ?? null)}, now ${showValue(has ?? null)})`;
    throw new ArgumentError(`${manifest} was made with another ${what} ${change}; draw other images into another folder`);
  };
  same('SHA-256 of the weights', entry(before['weights'], 'sha256'), now.weights?.sha256);
  same('dtype', before['dtype'], now.dtype);
  same('image format', before['format'], now.format);
  for (const [kind, config] of Object.entries(now.schedulers)) {
    const had = entry(before['schedulers'], kind);
    for (const key of new Set([...keysOf(config), ...keysOf(had)])) {
      same(`scheduler config: ${key} of ${kind}`, entry(had, key), entry(config, key));
    }
  }
}

const keysOf = (value: unknown): string[] => (isPlainObject(value) ? Object.keys(value).sort() : []);

const entry = (value: unknown, key: string): unknown =>
  isPlainObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
