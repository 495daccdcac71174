import { z } from 'zod';
import { isPlainObject, showValue, unknownOption } from '../arguments';
import type { SpelledValue } from '../config/keys';
import { parseFields } from '../config/parse-fields';
import { ArgumentError } from '../errors';
import type { SchedulerKind } from '../config/scheduler-config';
import { isSafeRelativePath } from '../hub/repository';
import { wantsGuidance } from '../models/guidance';
import { DEFAULT_STEPS, DEFAULT_STRENGTH, RANDOM_SOURCES } from './read-request';
import type { RandomSource } from './request';

/** A line of a jobs file: one image to draw. A key with null counts as left out. */
export interface BatchJob {
  /** Names the image's file: `[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}`. Of two lines with one id the second fails. */
  id: string;
  /**
   * An integer in 0 … 2^64 − 1, above 2^53 − 1 as a string of its digits (JSON's numbers end there). Default: one that is
   * made from the id, the same in every run.
   */
  seed?: number | bigint | string | null;
  /** Default: the class of the run's scheduler. */
  scheduler?: BatchScheduler | null;
  /** Default: the run's `defaults`, else 50 with `ddim` and 1000 with `ddpm`. */
  numInferenceSteps?: number | null;
  /** Timesteps of one's own instead: strictly descending integers. */
  timesteps?: readonly number[] | null;
  /** η ≥ 0 of DDIM. Default: the run's `defaults`, else 0. */
  eta?: number | null;
  /** As {@link DDIMRunOptions.useClippedModelOutput}. */
  useClippedModelOutput?: boolean | null;
  /** The class, for a class-conditional model. */
  classLabel?: number | null;
  /** Classifier-free guidance, a number from 1 (none) up. Default: the run's `defaults`, else 1. Above 1 it wants a `classLabel`. */
  guidanceScale?: number | null;
  /** The class that guidance leads away from. Default the model's last. */
  nullClassLabel?: number | null;
  /** Whose random numbers: torch's (the default) or Philox's, which are the same on CPU and CUDA. */
  rng?: RandomSource | null;
  /** A higher one goes first among the requests in flight. Default 0. */
  priority?: number | null;
  /** A PNG, JPEG or WebP file to start from, as a path inside the run's `images` folder. Its size is the result's. */
  image?: string | null;
  /** How far `image` is noised, in (0, 1]. Default 0.8. */
  strength?: number | null;
}

/** The samplers of a jobs file. */
export type BatchScheduler = (typeof SCHEDULERS)[number];

const SCHEDULERS = ['ddim', 'ddpm'] as const;

/** What stands for options that a line leaves out. */
export interface BatchDefaults {
  scheduler: BatchScheduler;
  numInferenceSteps?: number;
  eta?: number;
  guidanceScale?: number;
}

/** What decides, with the seed, how an image looks. It goes into the manifest; keys that don't apply are missing. */
export interface BatchImageOptions {
  readonly scheduler: BatchScheduler;
  readonly numInferenceSteps?: number;
  readonly timesteps?: readonly number[];
  readonly eta?: number;
  readonly useClippedModelOutput?: boolean;
  readonly classLabel?: number;
  readonly guidanceScale?: number;
  readonly nullClassLabel?: number;
  readonly rng: RandomSource;
  readonly image?: string;
  readonly strength?: number;
}

/** A line that has been read, with the defaults filled in. */
export interface ReadJob {
  readonly id: string;
  readonly seed: bigint;
  readonly priority: number;
  readonly options: BatchImageOptions;
}

/** The class behind each name. */
const CLASS_OF_SCHEDULER = {
  ddim: 'DDIMScheduler',
  ddpm: 'DDPMScheduler',
} as const satisfies Record<BatchScheduler, SchedulerKind>;

const MAX_SEED = 2n ** 64n - 1n;

const ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;

const integer = (low: number, high: number, what: string) => z.int().min(low).max(high).optional().describe(what);

const descends = (list: readonly number[]): boolean => list.every((t, i) => i === 0 || t < list[i - 1]!);

const seed = z
  .union([z.int().min(0), z.bigint(), z.string().regex(/^\d{1,20}$/)])
  .transform(BigInt)
  .refine((value) => value >= 0n && value <= MAX_SEED);

/** Each one's description is what an error message says the key wants. */
const FIELDS = {
  id: z.string().regex(ID).describe('1 … 128 letters, digits, ., _ and -, the first no dot'),
  seed: seed.optional().describe('an integer in 0 … 2^64 − 1, above 2^53 − 1 in quotes'),
  scheduler: z.enum(SCHEDULERS).optional().describe(`one of ${SCHEDULERS.join(', ')}`),
  numInferenceSteps: integer(1, 1_000_000, 'an integer from 1 up'),
  timesteps: z
    .array(z.int().min(0))
    .min(1)
    .refine(descends)
    .optional()
    .describe('a list of strictly descending integers from 0 up'),
  eta: z.number().min(0).optional().describe('a number from 0 up'),
  useClippedModelOutput: z.boolean().optional().describe('true or false'),
  classLabel: integer(0, Number.MAX_SAFE_INTEGER, 'an integer from 0 up'),
  guidanceScale: z.number().min(1).optional().describe('a number from 1 (none) up'),
  nullClassLabel: integer(0, Number.MAX_SAFE_INTEGER, 'an integer from 0 up'),
  rng: z.enum(RANDOM_SOURCES).optional().describe(`one of ${RANDOM_SOURCES.join(', ')}`),
  priority: z.int().optional().describe('an integer'),
  image: z.string().refine(isSafeRelativePath).optional().describe('a path that stays inside the folder of images'),
  strength: z.number().gt(0).max(1).optional().describe('a number above 0, 1 at most'),
};

type Fields = { readonly [K in keyof typeof FIELDS]: z.output<(typeof FIELDS)[K]> };

/** The id of what a line holds, if it has a proper one. */
export function idOf(value: unknown): string | null {
  const id = isPlainObject(value) && Object.hasOwn(value, 'id') ? value['id'] : undefined;
  return typeof id === 'string' && ID.test(id) ? id : null;
}

/**
 * Checks what a line holds.
 *
 * @throws ArgumentError naming the key, what it got and what it wants.
 */
export function readJob(value: unknown, defaults: BatchDefaults, seedOf: (id: string) => bigint): ReadJob {
  if (!isPlainObject(value)) throw new ArgumentError(`a job must be an object, got ${showValue(value)}`);
  const unknown = unknownOption(value, Object.keys(FIELDS));
  if (unknown !== undefined) throw new ArgumentError(unknown);
  const entries = new Map<string, SpelledValue>();
  for (const [key, item] of Object.entries(value)) if (item !== null) entries.set(key, { key, value: item });
  const fields = parseFields(FIELDS, entries, ArgumentError) as Fields;
  const { id, seed: given = seedOf(id), priority = 0 } = fields;
  return { id, seed: given, priority, options: imageOptions(fields, defaults) };
}

/** With the keys in one order, so that equal options are written alike. @throws ArgumentError */
function imageOptions(fields: Fields, defaults: BatchDefaults): BatchImageOptions {
  const { scheduler = defaults.scheduler, timesteps, classLabel, rng = 'torch', image, strength } = fields;
  if (timesteps !== undefined && fields.numInferenceSteps !== undefined) {
    throw new ArgumentError('numInferenceSteps and timesteps must not both be given');
  }
  if (image === undefined && strength !== undefined) throw new ArgumentError('strength goes with image');
  const steps = fields.numInferenceSteps ?? defaults.numInferenceSteps ?? DEFAULT_STEPS[CLASS_OF_SCHEDULER[scheduler]];
  return {
    scheduler,
    ...(timesteps === undefined ? { numInferenceSteps: steps } : { timesteps }),
    ...(scheduler === 'ddim' ? ddimOptions(fields, defaults) : noDDIMOptions(fields)),
    ...(classLabel === undefined ? {} : { classLabel }),
    ...guidanceOptions(fields, defaults),
    rng,
    ...(image === undefined ? {} : { image, strength: strength ?? DEFAULT_STRENGTH }),
  };
}

/** @throws ArgumentError */
function guidanceOptions(fields: Fields, defaults: BatchDefaults): Pick<BatchImageOptions, 'guidanceScale' | 'nullClassLabel'> {
  const { classLabel, guidanceScale = defaults.guidanceScale ?? 1, nullClassLabel } = fields;
  const guided = wantsGuidance(guidanceScale, nullClassLabel, { name: 'a classLabel', given: classLabel });
  return guided ? { guidanceScale, ...(nullClassLabel === undefined ? {} : { nullClassLabel }) } : {};
}

function ddimOptions(fields: Fields, defaults: BatchDefaults): Pick<BatchImageOptions, 'eta' | 'useClippedModelOutput'> {
  const { eta = defaults.eta ?? 0, useClippedModelOutput = false } = fields;
  return { eta, ...(useClippedModelOutput ? { useClippedModelOutput } : {}) };
}

/** A program that writes all keys on every line writes DDIM's defaults on those of DDPM too. @throws ArgumentError */
function noDDIMOptions({ eta = 0, useClippedModelOutput = false }: Fields): Record<string, never> {
  if (eta === 0 && !useClippedModelOutput) return {};
  throw new ArgumentError(`${eta === 0 ? 'useClippedModelOutput' : 'eta'} goes with the scheduler ddim, got ddpm`);
}
