import { checkOptions, checkSignal, showValue } from '../arguments';
import { sampleSizeOf } from '../config/unet-config';
import { ArgumentError, ConfigError, ShapeError, TimestepError } from '../errors';
import type { UNetLike } from '../models';
import { checkClassesOf } from '../models/class-needs';
import { nullLabels, wantsGuidance } from '../models/guidance';
import { checkSampleShape, toClassLabels, type UNetPlace } from '../models/unet-inputs';
import type { EngineRequest } from '../native/addon-types';
import { readBoolean, readTimestepList } from '../schedulers/step-arguments';
import { Generator, Tensor, tidy } from '../tensor';
import { checkSeed } from '../tensor/generator';
import { HANDLE } from '../tensor/handle';
import type { Plans } from './plans';
import type { EngineOutputType, SampleRequest } from './request';
import { readSchedulerSource } from './scheduler-of';
import { readStart, type Start } from './start';

const REQUEST_KEYS = [
  'scheduler', 'numInferenceSteps', 'timesteps', 'eta', 'useClippedModelOutput', 'seed', 'generator', 'rng', 'classLabel',
  'guidanceScale', 'nullClassLabel', 'outputType', 'priority', 'deadline', 'signal', 'wait', 'latents', 'image', 'strength', 'onStep', 'previewEvery',
] as const satisfies readonly (keyof SampleRequest)[]; // prettier-ignore

const OUTPUT_TYPES: readonly EngineOutputType[] = ['image', 'tensor', 'uint8', 'latent'];
export const RANDOM_SOURCES = ['torch', 'philox'] as const;
/** diffusers' default of img2img. */
export const DEFAULT_STRENGTH = 0.8;
/** How many steps a request has that says nothing of it, as the pipelines. */
export const DEFAULT_STEPS = { DDPMScheduler: 1000, DDIMScheduler: 50, DDIMInverseScheduler: 50 } as const;
/** The latest deadline, as of Node's timers: 24 days. */
const MAX_MILLISECONDS = 2 ** 31 - 1;

/** What a request is read against. */
export interface RequestContext {
  readonly unet: UNetLike;
  /** [C, H, W] of requests that bring none. */
  readonly shape: readonly number[] | undefined;
  readonly plans: Plans;
}

/** A request, checked; `tensors` are held by the addon once it is submitted, and then ours to dispose. */
export interface ReadRequest {
  readonly native: EngineRequest;
  readonly outputType: EngineOutputType;
  readonly tensors: readonly Tensor[];
  /** Its deadline on performance.now()'s clock. */
  readonly due: number | undefined;
}

/** Checks all of a request. @throws before any work, with every code that the options name. */
export function readRequest(request: SampleRequest, context: RequestContext): ReadRequest {
  checkOptions('sample', request ?? null, REQUEST_KEYS);
  checkPlain(request);
  const source = readSchedulerSource(request.scheduler);
  const due = readDeadline(request.deadline);
  const inverse = source.kind === 'DDIMInverseScheduler';
  const { outputType = inverse ? 'latent' : 'image', priority = 0, previewEvery = 0 } = request;
  const tensors: Tensor[] = [];
  try {
    const start = readStart(request);
    if (start !== undefined) tensors.push(start.sample);
    if (inverse && start === undefined) throw new ArgumentError('a DDIMInverseScheduler wants the image or latents to invert');
    const label = readClassLabel(request.classLabel, context.unet);
    if (label !== undefined) tensors.push(label);
    const nullLabel = readNullLabel(request, label, context.unet);
    if (nullLabel !== undefined) tensors.push(nullLabel);
    const shape = readShape(start, context);
    const plan = context.plans.get({
      source,
      timesteps: readSteps(request, DEFAULT_STEPS[source.kind]),
      eta: readEta(request.eta, source.kind),
      useClippedModelOutput: readBoolean(request.useClippedModelOutput, 'useClippedModelOutput', false),
      strength: readStrength(request.strength, start, inverse),
    });
    const native: EngineRequest = {
      plan,
      shape,
      ...(start === undefined ? {} : { [start.isImage && !inverse ? 'image' : 'latents']: start.sample[HANDLE] }),
      ...readRandom(request),
      ...(label === undefined ? {} : { classLabel: label[HANDLE] }),
      ...(nullLabel === undefined ? {} : { nullLabel: nullLabel[HANDLE], guidanceScale: request.guidanceScale! }),
      output: outputType === 'image' ? 'uint8' : outputType,
      priority,
      reportsSteps: request.onStep !== undefined,
      previewEvery,
    };
    return { native, outputType, tensors, due };
  } catch (error) {
    for (const tensor of tensors) tensor.dispose();
    throw error;
  }
}

/** What is checked without the model. */
function checkPlain({ outputType, priority, signal, wait, onStep, previewEvery }: SampleRequest): void {
  if (outputType !== undefined && !OUTPUT_TYPES.includes(outputType)) {
    throw new ArgumentError(`outputType must be one of ${OUTPUT_TYPES.join(', ')}, got ${showValue(outputType)}`);
  }
  if (priority !== undefined && !Number.isSafeInteger(priority)) {
    throw new ArgumentError(`priority must be an integer, got ${showValue(priority)}`);
  }
  checkSignal(signal);
  readBoolean(wait, 'wait', false);
  if (onStep !== undefined && typeof onStep !== 'function') {
    throw new ArgumentError(`onStep must be a function, got ${showValue(onStep)}`);
  }
  if (previewEvery === undefined) return;
  if (!Number.isSafeInteger(previewEvery) || previewEvery < 1) {
    throw new ArgumentError(`previewEvery must be a number of steps, an integer from 1 up, got ${showValue(previewEvery)}`);
  }
  if (onStep === undefined) throw new ArgumentError('previewEvery wants an onStep that takes the previews');
}

function readSteps({ numInferenceSteps, timesteps }: SampleRequest, otherwise: number): readonly number[] | number {
  if (timesteps === undefined) {
    if (numInferenceSteps === undefined) return otherwise;
    if (Number.isSafeInteger(numInferenceSteps)) return numInferenceSteps;
    throw new TimestepError(`numInferenceSteps must be an integer from 1 up, got ${showValue(numInferenceSteps)}`);
  }
  if (numInferenceSteps !== undefined) throw new ArgumentError('numInferenceSteps and timesteps must not both be given');
  return [...readTimestepList(timesteps, 'timesteps')];
}

function readEta(eta: unknown, kind: string): number {
  if (eta === undefined) return 0;
  if (typeof eta !== 'number' || !(eta >= 0 && Number.isFinite(eta))) {
    throw new ArgumentError(`eta must be a finite number ≥ 0, got ${showValue(eta)}`);
  }
  if (eta > 0 && kind !== 'DDIMScheduler') throw new ArgumentError(`eta is DDIM's: with a ${kind} it must be 0, got ${eta}`);
  return eta;
}

function readStrength(strength: unknown, start: Start | undefined, inverse: boolean): number {
  const noises = start?.isImage === true && !inverse;
  if (strength === undefined) return noises ? DEFAULT_STRENGTH : 1;
  if (!noises) throw new ArgumentError(`strength goes with an image to noise, got ${showValue(strength)} without one`);
  if (typeof strength === 'number' && strength > 0 && strength <= 1) return strength;
  throw new ArgumentError(`strength must be a number in (0, 1], got ${showValue(strength)}`);
}

function readRandom({ seed, generator, rng = 'torch' }: SampleRequest): Pick<EngineRequest, 'seed' | 'generator' | 'philox'> {
  if (!RANDOM_SOURCES.includes(rng)) {
    throw new ArgumentError(`rng must be one of ${RANDOM_SOURCES.join(', ')}, got ${showValue(rng)}`);
  }
  if (generator !== undefined) {
    if (!(generator instanceof Generator)) throw new ArgumentError(`generator must be a Generator, got ${showValue(generator)}`);
    if (seed !== undefined) throw new ArgumentError('seed and generator must not both be given');
    if (rng !== 'torch') throw new ArgumentError(`rng '${rng}' wants a seed, not a generator`);
    return { generator: generator[HANDLE] };
  }
  if (seed === undefined) {
    if (rng !== 'torch') throw new ArgumentError(`rng '${rng}' wants a seed`);
    return {};
  }
  return { seed: checkSeed(seed), ...(rng === 'philox' ? { philox: true } : {}) };
}

/** A point in time on performance.now()'s clock. */
function readDeadline(deadline: unknown): number | undefined {
  if (deadline === undefined) return undefined;
  const isDate = deadline instanceof Date;
  const milliseconds: unknown = isDate ? deadline.getTime() - Date.now() : deadline;
  if (typeof milliseconds === 'number' && milliseconds <= MAX_MILLISECONDS && (isDate || milliseconds >= 0)) {
    return performance.now() + milliseconds;
  }
  throw new ArgumentError(
    `deadline must be milliseconds from now, 0 … ${MAX_MILLISECONDS}, or a Date at most so far ahead, got ` +
      (isDate ? String(deadline) : showValue(deadline)),
  );
}

/**
 * A label stays where it is: the engine's thread brings those of a batch to the device together, where the JS thread would wait
 * for it.
 */
const placeOf = ({ config, dtype }: UNetLike, label: unknown): UNetPlace => ({
  config,
  dtype,
  device: label instanceof Tensor ? label.device : 'cpu',
});

function readClassLabel(label: unknown, unet: UNetLike): Tensor | undefined {
  checkClassesOf(unet, label, 'classLabel');
  if (label === undefined) return undefined;
  if (typeof label === 'number') return toClassLabels([label], 1, placeOf(unet, label), 'classLabel');
  if (!(label instanceof Tensor)) throw new ArgumentError(`classLabel must be an integer or a Tensor, got ${showValue(label)}`);
  const row = label.reshape([1, ...(label.numel === 1 && label.shape.length < 2 ? [] : [label.numel])]);
  try {
    return toClassLabels(row, 1, placeOf(unet, label), 'classLabel');
  } finally {
    row.dispose();
  }
}

/** With guidance, what is predicted beside the class. @throws ArgumentError, ShapeError, DTypeError */
function readNullLabel(request: SampleRequest, label: Tensor | undefined, unet: UNetLike): Tensor | undefined {
  const { classLabel, guidanceScale = 1, nullClassLabel } = request;
  if (!wantsGuidance(guidanceScale, nullClassLabel, { name: 'a classLabel', given: classLabel })) return undefined;
  return tidy(() => nullLabels(nullClassLabel, label!, placeOf(unet, nullClassLabel)));
}

/** [C, H, W] of a request. @throws ShapeError, ConfigError */
function readShape(start: Start | undefined, { unet, shape }: RequestContext): readonly number[] {
  if (start !== undefined) {
    checkSampleShape(start.isImage ? 'image' : 'latents', start.sample.shape, unet.config);
    return start.sample.shape.slice(1);
  }
  return shape ?? shapeOf(unet);
}

/** [C, H, W] that a model states. @throws ConfigError */
export function shapeOf({ config }: UNetLike): readonly number[] {
  const size = sampleSizeOf(config);
  if (size !== null) return [config.inChannels, ...size];
  throw new ConfigError("latents or image, or the engine's shape, must be given: the model states no sampleSize");
}

/** An engine's `shape`. @throws ShapeError */
export function checkShape(shape: unknown, unet: UNetLike): readonly number[] | undefined {
  if (shape === undefined) return undefined;
  if (!Array.isArray(shape) || shape.length !== 3 || !shape.every((side) => Number.isSafeInteger(side) && side > 0)) {
    throw new ShapeError(`shape must be [C, H, W], three integers from 1 up, got ${showValue(shape)}`);
  }
  checkSampleShape('shape', [1, ...(shape as number[])], unet.config);
  return Object.freeze([...(shape as number[])]);
}
