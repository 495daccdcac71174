import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { checkOptions, showValue } from '../arguments';
import { ArgumentError } from '../errors';
import { IMAGE_FORMATS, type ImageFormat } from '../image';
import type { UNetLike } from '../models';
import { checkUNet } from '../models/check-unet';
import type { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { checkScheduler } from '../schedulers/check-scheduler';
import type { BatchDefaults } from './batch-job';
import type { BatchJobs, BatchShard } from './batch-lines';
import { manifestName } from './batch-manifest';
import type { BatchFailureRecord } from './batch-records';
import { MAX_BATCH_SIZE, type SamplerEngine } from './sampler-engine';

/** Options of {@link runBatch}. */
export interface BatchOptions {
  /** A JSONL file's path, a stream of its bytes, or the jobs themselves. A list's first job is line 1. */
  jobs: BatchJobs;
  /** The folder of images and manifest; made where missing. */
  out: string;
  /** The noise predictor. */
  unet: UNetLike;
  /** Its config is what every line's scheduler has; its class is that of lines that name none. */
  scheduler: DDIMScheduler | DDPMScheduler;
  /** What stands for options that a line leaves out. */
  defaults?: Omit<BatchDefaults, 'scheduler'>;
  /** The most samples the model sees at once, 1 … 4096; an image with guidance is two. Default 64. */
  batchSize?: number;
  /** Draws only lines `index`, `index + count`, …, into a manifest of its own: others draw the rest, at once or later. */
  shard?: BatchShard;
  /** Of the images. Default `'png'`. */
  format?: ImageFormat;
  /** The folder that the jobs' `image` paths start from. Default: that of the jobs file, else the current one. */
  images?: string;
  /** An engine of one's own to draw with, of `batchSize` and over the same `unet`; it stays open. Default: one for this run. */
  engine?: Pick<SamplerEngine, 'sample'>;
  /** Ends the run after the step that is running; what is drawn by then is written and recorded. */
  signal?: AbortSignal;
  /** Called at the start and whenever a line is settled. What it throws ends the run. */
  onProgress?: (progress: BatchProgress) => void;
  /** Called for each line that fails, with what is recorded. What it throws ends the run. */
  onFailure?: (failure: BatchFailureRecord) => void;
}

/** How far a run is. */
export interface BatchProgress {
  /** The lines of this run or shard; null for a stream or a generator, whose end is not known. */
  readonly total: number | null;
  /** Drawn, written and recorded. */
  readonly drawn: number;
  /** Finished by a run before. */
  readonly kept: number;
  readonly failed: number;
}

/** What a run came to. */
export interface BatchSummary extends Omit<BatchProgress, 'total'> {
  /** The manifest's path. */
  readonly manifest: string;
  /** From the first request to the last record. */
  readonly seconds: number;
}

/** {@link BatchOptions}, checked, with their defaults. */
export interface CheckedBatchOptions extends BatchOptions {
  defaults: NonNullable<BatchOptions['defaults']>;
  batchSize: number;
  format: ImageFormat;
  images: string;
  /** The manifest's path. */
  manifest: string;
}

const KEYS = [
  'jobs', 'out', 'unet', 'scheduler', 'defaults', 'batchSize', 'shard', 'format', 'images', 'engine', 'signal', 'onProgress',
  'onFailure',
] as const; // prettier-ignore

const MAX_SHARDS = 100_000;

/** @throws ArgumentError naming the option. */
export function checkBatchOptions(options: BatchOptions): CheckedBatchOptions {
  checkOptions('runBatch', options ?? null, KEYS);
  const { jobs, out, unet, scheduler, batchSize = 64, shard, format = 'png', engine, signal } = options;
  const { defaults = {}, images = typeof jobs === 'string' ? dirname(jobs) : '.' } = options;
  const want = (name: string, isRight: boolean, what: string, got: unknown): void => {
    if (!isRight) throw new ArgumentError(`${name} must be ${what}, got ${showValue(got)}`);
  };
  want('jobs', isJobs(jobs), "a file's path, a stream, a list or a generator", jobs);
  want('out', isPath(out), 'a path', out);
  want('images', isPath(images), 'a path', images);
  checkUNet(unet);
  checkScheduler(scheduler);
  checkDefaults(defaults);
  want('batchSize', isCount(batchSize, MAX_BATCH_SIZE), `an integer in 1 … ${MAX_BATCH_SIZE}`, batchSize);
  want('format', IMAGE_FORMATS.includes(format), `one of ${IMAGE_FORMATS.join(', ')}`, format);
  want('engine', engine === undefined || typeof engine?.sample === 'function', 'a SamplerEngine', engine);
  want('signal', signal === undefined || signal instanceof AbortSignal, 'an AbortSignal', signal);
  for (const name of ['onProgress', 'onFailure'] as const) {
    want(name, options[name] === undefined || typeof options[name] === 'function', 'a function', options[name]);
  }
  if (shard !== undefined) checkShard(shard);
  const manifest = join(out, manifestName(shard));
  const readsItself = typeof jobs === 'string' && resolve(jobs) === resolve(manifest);
  want('jobs', !readsItself, "another file than the run's manifest", jobs);
  return { ...options, defaults: { ...defaults }, batchSize, format, images, manifest };
}

const isPath = (value: unknown): boolean => typeof value === 'string' && value !== '' && !value.includes('\0');

const isCount = (value: unknown, most: number): boolean =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most;

function isJobs(jobs: unknown): boolean {
  if (typeof jobs === 'string') return isPath(jobs);
  if (typeof jobs !== 'object' || jobs === null) return false;
  return jobs instanceof Readable || Symbol.iterator in jobs || Symbol.asyncIterator in jobs;
}

function checkDefaults(defaults: NonNullable<BatchOptions['defaults']>): void {
  checkOptions('defaults', defaults, ['numInferenceSteps', 'eta', 'guidanceScale']);
  const { numInferenceSteps: steps, eta, guidanceScale } = defaults;
  if (steps !== undefined && !isCount(steps, 1_000_000)) {
    throw new ArgumentError(`numInferenceSteps of defaults must be an integer from 1 up, got ${showValue(steps)}`);
  }
  if (eta !== undefined && !(Number.isFinite(eta) && eta >= 0)) {
    throw new ArgumentError(`eta of defaults must be a number from 0 up, got ${showValue(eta)}`);
  }
  if (guidanceScale !== undefined && !(Number.isFinite(guidanceScale) && guidanceScale >= 1)) {
    throw new ArgumentError(`guidanceScale of defaults must be a number from 1 (none) up, got ${showValue(guidanceScale)}`);
  }
}

function checkShard(shard: BatchShard): void {
  checkOptions('shard', shard ?? null, ['index', 'count']);
  const { index, count } = shard;
  if (isCount(count, MAX_SHARDS) && isCount(index, count)) return;
  const got = `${showValue(index)} of ${showValue(count)}`;
  throw new ArgumentError(`shard must have a count in 1 … ${MAX_SHARDS} and an index in 1 … count, got ${got}`);
}
