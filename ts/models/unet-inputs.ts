import { showValue } from '../arguments';
import { ArgumentError, DeviceError, DTypeError, ShapeError, TimestepError } from '../errors';
import type { DType } from '../native/addon-types';
import { Tensor } from '../tensor';
import { isFloating } from '../tensor/tensor-data';
import type { UNetForwardOptions, UNetLikeConfig, UNetTimestep } from './unet-like';

const INTEGRAL: ReadonlySet<DType> = new Set(['int64', 'int32', 'uint8']);

/** Where and as what a model takes its inputs. */
export interface UNetPlace {
  readonly config: UNetLikeConfig;
  readonly dtype: DType;
  readonly device: string;
}

const showShape = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** Height and width must be multiples of it: every block but the last halves them. 1 where no blocks are named. */
function sizeUnit({ blockOutChannels }: UNetLikeConfig): number {
  return blockOutChannels === undefined ? 1 : 2 ** (blockOutChannels.length - 1);
}

/** @throws ArgumentError, ShapeError, DTypeError or DeviceError unless it is [B, inChannels, H, W] on the device. */
export function checkSample(sample: Tensor, { config, device }: UNetPlace): void {
  if (!(sample instanceof Tensor)) throw new ArgumentError(`sample must be a Tensor, got ${showValue(sample)}`);
  checkSampleShape('sample', sample.shape, config);
  if (!isFloating(sample.dtype)) throw new DTypeError(`sample must be of a floating dtype, got ${sample.dtype}`);
  checkDevice('sample', sample, device);
}

/** @throws ShapeError unless it is [B, inChannels, H, W] of sides that the blocks can halve. */
export function checkSampleShape(name: string, shape: readonly number[], config: UNetLikeConfig): void {
  const [batch = 0, channels, height = 0, width = 0] = shape;
  if (shape.length !== 4 || channels !== config.inChannels || batch < 1) {
    throw new ShapeError(`${name} must have shape [B, ${config.inChannels}, H, W], got ${showShape(shape)}`);
  }
  const unit = sizeUnit(config);
  if (height < 1 || width < 1 || height % unit !== 0 || width % unit !== 0) {
    throw new ShapeError(`${name}'s height and width must be multiples of ${unit}, got ${showShape(shape)}`);
  }
}

function checkDevice(name: string, tensor: Tensor, device: string): void {
  if (tensor.device === device) return;
  throw new DeviceError(`${name} is on ${tensor.device}, the model on ${device}; move one with to({ device })`);
}

/** [B] int64, or float32 where a timestep is fractional; one timestep counts for the whole batch. */
export function toTimestepTensor(timestep: UNetTimestep, batch: number, { device }: UNetPlace): Tensor {
  if (timestep instanceof Tensor) return fromTimestepTensor(timestep, batch, device);
  const list = typeof timestep === 'number' ? [timestep] : checkList(timestep);
  const wrong = list.find((t) => typeof t !== 'number' || !Number.isFinite(t));
  if (wrong !== undefined) throw new TimestepError(`timestep must be a finite number, got ${showValue(wrong)}`);
  if (list.length !== 1 && list.length !== batch) {
    throw new ArgumentError(`timestep must be one number or ${batch} (one a sample), got ${list.length}`);
  }
  const spread = list.length === batch ? list : new Array<number>(batch).fill(list[0]!);
  return list.every(Number.isSafeInteger)
    ? Tensor.from(BigInt64Array.from(spread, BigInt), [batch], { device })
    : Tensor.from(Float32Array.from(spread), [batch], { device });
}

function checkList(timestep: unknown): number[] {
  const isList = Array.isArray(timestep) || (ArrayBuffer.isView(timestep) && !(timestep instanceof DataView));
  const list = isList ? Array.from(timestep as unknown as ArrayLike<number | bigint>) : [];
  if (list.length === 0) {
    throw new ArgumentError(`timestep must be a number, an array of numbers or a Tensor, got ${showValue(timestep)}`);
  }
  return list.map((t) => (typeof t === 'bigint' ? Number(t) : t));
}

function fromTimestepTensor(timestep: Tensor, batch: number, device: string): Tensor {
  const { shape, dtype, numel } = timestep;
  if (shape.length > 1 || (numel !== 1 && numel !== batch)) {
    throw new ShapeError(`timestep must have shape [], [1] or [${batch}], got ${showShape(shape)}`);
  }
  if (!isFloating(dtype) && !INTEGRAL.has(dtype)) throw new DTypeError(`timestep must be of numbers, got ${dtype}`);
  const cast = timestep.to({ dtype: isFloating(dtype) ? 'float32' : 'int64', device });
  const spread = cast.reshape([numel]).expand([batch]);
  cast.dispose();
  return spread;
}

/** Whether a model of this config must be given classes. */
export function isClassConditional({ classEmbedType, numClassEmbeds }: UNetLikeConfig): boolean {
  return (classEmbedType ?? null) !== null || (numClassEmbeds ?? null) !== null;
}

/** Whether a model takes classes, and whether it can't do without. */
export interface ClassNeeds {
  readonly takes: boolean;
  readonly needs: boolean;
}

/** Of a UNet2DModel. */
export function classNeedsOf(config: UNetLikeConfig): ClassNeeds {
  const conditional = isClassConditional(config);
  return { takes: conditional, needs: conditional };
}

/** @throws ArgumentError unless classes are given where the model wants some, and only where it takes them. */
export function checkClassLabels(classLabels: unknown, { takes, needs }: ClassNeeds, name = 'classLabels'): void {
  if (classLabels === undefined && needs) {
    throw new ArgumentError(`${name} is missing: the model is class-conditional`);
  }
  if (classLabels !== undefined && !takes) {
    throw new ArgumentError(`${name} must not be given, got ${showValue(classLabels)}: the model takes no classes`);
  }
}

/**
 * [B] int64 classes, or the embeddings themselves (a floating tensor) where the model takes those.
 *
 * @param name the option's, for errors
 * @throws ArgumentError, ShapeError, DTypeError
 */
export function toClassLabels(
  classLabels: NonNullable<UNetForwardOptions['classLabels']>,
  batch: number,
  { config, dtype, device }: UNetPlace,
  name = 'classLabels',
): Tensor {
  const given =
    classLabels instanceof Tensor ? classLabels : Tensor.from(BigInt64Array.from(checkLabels(classLabels, batch, name)), [batch]);
  try {
    if (given.shape[0] !== batch)
      throw new ShapeError(`${name} must be ${batch}, one a sample, got shape ${showShape(given.shape)}`);
    if (config.classEmbedType === 'identity') {
      const width = embeddingWidth(config);
      if (isFloating(given.dtype) && given.shape.length === 2) {
        if (width === undefined || given.shape[1] === width) return given.to({ dtype, device });
        throw new ShapeError(`${name} must have shape [${batch}, ${width}], got ${showShape(given.shape)}`);
      }
      const got = `${given.dtype} of shape ${showShape(given.shape)}`;
      throw new DTypeError(`${name} must be embeddings, a floating tensor [${batch}, D], got ${got}`);
    }
    if (!INTEGRAL.has(given.dtype) || given.shape.length !== 1) {
      throw new DTypeError(
        `${name} must be ${batch} integers, got ${given.dtype} of shape ${showShape(given.shape)}`,
      );
    }
    checkRange(given, config, name);
    return given.to({ dtype: 'int64', device });
  } finally {
    if (given !== classLabels) given.dispose();
  }
}

/** Width of the time embedding, which a class's embedding has too; undefined where the config does not tell. */
export function embeddingWidth({ timeEmbeddingDim, blockOutChannels }: UNetLikeConfig): number | undefined {
  return timeEmbeddingDim ?? (blockOutChannels === undefined ? undefined : 4 * blockOutChannels[0]!);
}

function checkLabels(labels: unknown, batch: number, name: string): bigint[] {
  if (!Array.isArray(labels) || !labels.every(Number.isSafeInteger)) {
    throw new ArgumentError(`${name} must be an array of integers or a Tensor, got ${showValue(labels)}`);
  }
  if (labels.length !== batch) throw new ArgumentError(`${name} must be ${batch}, one a sample, got ${labels.length}`);
  return (labels as number[]).map(BigInt);
}

/** Before the embedding looks a class up: beyond its table, a CUDA device would be lost to the whole process. */
function checkRange(labels: Tensor, { numClassEmbeds, classEmbedType }: UNetLikeConfig, name: string): void {
  if (numClassEmbeds === undefined || numClassEmbeds === null || (classEmbedType ?? null) !== null) return;
  const wrong = Array.from(labels.toTypedArray(), Number).find((label) => label < 0 || label >= numClassEmbeds);
  if (wrong !== undefined) throw new ArgumentError(`${name} must be in 0 … ${numClassEmbeds - 1}, got ${wrong}`);
}
