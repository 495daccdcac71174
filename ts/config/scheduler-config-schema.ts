import { types } from 'node:util';
import { z } from 'zod';

/** How β runs over the training timesteps; `trainedBetas`, where given, takes its place. */
export type BetaSchedule = 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
/** {@link BetaSchedule} and the two that only DDPMScheduler computes. */
export type DDPMBetaSchedule = BetaSchedule | 'sigmoid' | 'laplace';
/** What the model's output stands for: the noise ε, the clean sample x₀, or v (Imagen Video, section 2.4). */
export type PredictionType = 'epsilon' | 'sample' | 'v_prediction';
/** The variance of a DDPM step; `learned` and `learned_range` want a model with 2C output channels. */
export type VarianceType =
  'fixed_small' | 'fixed_small_log' | 'fixed_large' | 'fixed_large_log' | 'learned' | 'learned_range';
/** How inference timesteps lie among the training ones (Common Diffusion Noise Schedules…, table 2). */
export type TimestepSpacing = 'linspace' | 'leading' | 'trailing';
/** {@link TimestepSpacing} and the DDIM paper's quadratic one (section D.2). */
export type DDIMTimestepSpacing = TimestepSpacing | 'quadratic';
/** The spacings DDIMInverseScheduler has. */
export type DDIMInverseTimestepSpacing = 'leading' | 'trailing';
/** Where a DDIM step goes from t: `stride` is diffusers' t − ⌊T/n⌋, `schedule` the next timestep of the list. */
export type PreviousTimestepRule = 'stride' | 'schedule';

/** The keys all three schedulers share. */
export interface CommonSchedulerConfig {
  /** T, the number of steps the model was trained with, 1 … 1,000,000. Default 1000. */
  numTrainTimesteps: number;
  /** The first β, 0 … 1. Default 0.0001. */
  betaStart: number;
  /** The last β, 0 … 1. Default 0.02. */
  betaEnd: number;
  /** T values of β in (0, 1] that replace `betaStart`, `betaEnd` and `betaSchedule`, or null. Default null. */
  trainedBetas: readonly number[] | null;
  /** Whether the predicted clean sample is clipped to ±`clipSampleRange`. Default true. */
  clipSample: boolean;
  /** The bound of `clipSample`, above 0. Default 1. */
  clipSampleRange: number;
  /** What the model predicts. Default `'epsilon'`. */
  predictionType: PredictionType;
  /** Added to the timesteps of the `leading` spacing, an integer from 0 up. Default 0. */
  stepsOffset: number;
  /** Whether β is rescaled so that the last step has a signal-to-noise ratio of zero. Default false. */
  rescaleBetasZeroSnr: boolean;
}

/** The keys of DDPMScheduler and DDIMScheduler that DDIMInverseScheduler lacks. */
export interface ThresholdingConfig {
  /** Whether the predicted clean sample is dynamically thresholded (Imagen, section 2.3). Default false. */
  thresholding: boolean;
  /** The quantile of |x₀| that becomes the threshold, 0 … 1. Default 0.995. */
  dynamicThresholdingRatio: number;
  /** The largest threshold, above 0. Default 1. */
  sampleMaxValue: number;
}

/** The config of DDPMScheduler: diffusers' keys in camelCase. */
export interface DDPMSchedulerConfig extends CommonSchedulerConfig, ThresholdingConfig {
  /** How β runs. Default `'linear'`. */
  betaSchedule: DDPMBetaSchedule;
  /** The variance of a step. Default `'fixed_small'`. */
  varianceType: VarianceType;
  /** How inference timesteps lie. Default `'leading'`. */
  timestepSpacing: TimestepSpacing;
}

/** The config of DDIMScheduler: diffusers' keys in camelCase, and `previousTimestepRule`. */
export interface DDIMSchedulerConfig extends CommonSchedulerConfig, ThresholdingConfig {
  /** How β runs. Default `'linear'`. */
  betaSchedule: BetaSchedule;
  /** Whether the step to the clean sample uses ᾱ = 1, else ᾱ of timestep 0. Default true. */
  setAlphaToOne: boolean;
  /** How inference timesteps lie. Default `'leading'`. */
  timestepSpacing: DDIMTimestepSpacing;
  /** Where a step goes from t. Default `'stride'`, which gives diffusers' numbers. */
  previousTimestepRule: PreviousTimestepRule;
}

/** The config of DDIMInverseScheduler: diffusers' keys in camelCase. */
export interface DDIMInverseSchedulerConfig extends CommonSchedulerConfig {
  /** How β runs. Default `'linear'`. */
  betaSchedule: BetaSchedule;
  /** Whether the step from the clean sample uses ᾱ = 1, else ᾱ of timestep 0. Default true. */
  setAlphaToOne: boolean;
  /** How inference timesteps lie. Default `'leading'`. */
  timestepSpacing: DDIMInverseTimestepSpacing;
}

/** The config of each scheduler class by its name. */
export interface SchedulerConfigs {
  DDPMScheduler: DDPMSchedulerConfig;
  DDIMScheduler: DDIMSchedulerConfig;
  DDIMInverseScheduler: DDIMInverseSchedulerConfig;
}

/** The name of a scheduler class, as `_class_name` has it. */
export type SchedulerKind = keyof SchedulerConfigs;

/** The config of scheduler class `K`. */
export type ConfigOf<K extends SchedulerKind> = SchedulerConfigs[K];

type ConfigKey = { [K in SchedulerKind]: keyof ConfigOf<K> }[SchedulerKind];
type ConfigValue<Key> = { [K in SchedulerKind]: Key extends keyof ConfigOf<K> ? ConfigOf<K>[Key] : never }[SchedulerKind];

/**
 * A config as `fromConfig` takes it: any scheduler's, in either spelling. What a file may hold beside the keys known here is
 * looked at when it is read.
 */
export type SchedulerConfigInput = { readonly [Key in ConfigKey]?: ConfigValue<Key> } & { readonly [key: string]: unknown };

// Each field's description is what an error message says the key wants; its default stands for a missing key.

const oneOf = <const T extends readonly [string, ...string[]]>(values: T, fallback: T[number]) =>
  z
    .enum(values)
    .default(fallback as never)
    .describe(`one of ${values.map((value) => `'${value}'`).join(', ')}`);

const flag = (fallback: boolean) => z.boolean().default(fallback).describe('true or false');

const unitInterval = (fallback: number) => z.number().min(0).max(1).default(fallback).describe('a number in 0 … 1');

const positive = (fallback: number) => z.number().positive().default(fallback).describe('a finite number above 0');

/** The most timesteps a table may have: 1000 times the usual, so that a config can't ask for gigabytes. */
export const MAX_TRAIN_TIMESTEPS = 1_000_000;

const fromArrayLike = (value: unknown): unknown =>
  types.isFloat32Array(value) || types.isFloat64Array(value) ? Array.from(value) : value;

const betaValues = z
  .preprocess(fromArrayLike, z.array(z.number().gt(0).max(1)).max(MAX_TRAIN_TIMESTEPS).nullable())
  .default(null)
  .describe('null or an array of numTrainTimesteps numbers above 0 and up to 1');

const common = {
  numTrainTimesteps: z
    .int()
    .min(1)
    .max(MAX_TRAIN_TIMESTEPS)
    .default(1000)
    .describe(`an integer in 1 … ${MAX_TRAIN_TIMESTEPS}`),
  betaStart: unitInterval(0.0001),
  betaEnd: unitInterval(0.02),
  trainedBetas: betaValues,
  clipSample: flag(true),
  clipSampleRange: positive(1),
  predictionType: oneOf(['epsilon', 'sample', 'v_prediction'], 'epsilon'),
  stepsOffset: z.int().min(0).default(0).describe('an integer from 0 up'),
  rescaleBetasZeroSnr: flag(false),
};

const thresholding = {
  thresholding: flag(false),
  dynamicThresholdingRatio: unitInterval(0.995),
  sampleMaxValue: positive(1),
};

const betaSchedule = oneOf(['linear', 'scaled_linear', 'squaredcos_cap_v2'], 'linear');

/** The fields of each class's config; a key that is not here is unknown to the class. */
export const SCHEDULER_FIELDS = {
  DDPMScheduler: {
    ...common,
    ...thresholding,
    betaSchedule: oneOf(['linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid', 'laplace'], 'linear'),
    varianceType: oneOf(
      ['fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log', 'learned', 'learned_range'],
      'fixed_small',
    ),
    timestepSpacing: oneOf(['linspace', 'leading', 'trailing'], 'leading'),
  },
  DDIMScheduler: {
    ...common,
    ...thresholding,
    betaSchedule,
    setAlphaToOne: flag(true),
    timestepSpacing: oneOf(['linspace', 'leading', 'trailing', 'quadratic'], 'leading'),
    previousTimestepRule: oneOf(['stride', 'schedule'], 'stride'),
  },
  DDIMInverseScheduler: {
    ...common,
    betaSchedule,
    setAlphaToOne: flag(true),
    timestepSpacing: oneOf(['leading', 'trailing'], 'leading'),
  },
} satisfies { [K in SchedulerKind]: { [Key in keyof ConfigOf<K>]: z.ZodType<ConfigOf<K>[Key]> } };
