import { ArgumentError, DTypeError, ShapeError } from '../errors';
import { checkDevice, checkOptions, showValue } from '../arguments';
import { addon } from '../native/addon';
import type { DType, GeneratorHandles } from '../native/addon-types';
import { Generator } from './generator';
import { HANDLE } from './handle';
import { aten, atenWith, Tensor, wrapTensor } from './tensor';
import { checkDType, checkShape, FLOATING_DTYPES, isFloating, type FloatingDType } from './tensor-data';
import { tidy } from './tidy';

/** Where and in what dtype a tensor is made; float32 on the CPU by default. */
export interface CreateOptions {
  dtype?: DType;
  device?: string;
}

const CREATE_KEYS = ['dtype', 'device'] as const;

const create = (name: string, args: readonly unknown[], options: CreateOptions): Tensor => {
  checkOptions(name, options, CREATE_KEYS);
  const { dtype = 'float32', device = 'cpu' } = options;
  return atenWith(name, args, { dtype: checkDType(dtype), device: checkDevice(device) });
};

/** The native handles of a generator, a list of them, or none. @throws ArgumentError for anything else. */
export function generatorHandles(generator: Generator | readonly Generator[] | undefined): GeneratorHandles {
  if (generator === undefined) return undefined;
  if (generator instanceof Generator) return generator[HANDLE];
  if (Array.isArray(generator) && generator.length > 0 && generator.every((one) => one instanceof Generator)) {
    return (generator as Generator[]).map((one) => one[HANDLE]);
  }
  throw new ArgumentError(`generator must be a Generator or a non-empty list of them, got ${showValue(generator)}`);
}

/**
 * Standard normal numbers, those of `torch.randn` for the same seed. A list of generators draws sample by sample along
 * the first dimension, as diffusers' `randn_tensor` does; a list of one counts as that one.
 *
 * @throws ShapeError, DTypeError, DeviceError; ArgumentError for a list that does not match the batch.
 */
export function randn(
  shape: readonly number[],
  options: { dtype?: FloatingDType; device?: string; generator?: Generator | readonly Generator[] } = {},
): Tensor {
  checkOptions('randn', options, [...CREATE_KEYS, 'generator']);
  const { generator, dtype = 'float32', device = 'cpu' } = options;
  const box = checkShape(shape);
  if (!isFloating(dtype)) throw new DTypeError(`dtype of randn must be one of ${FLOATING_DTYPES.join(', ')}, got ${showValue(dtype)}`);
  return wrapTensor(addon().randn(box, generatorHandles(generator), dtype, checkDevice(device)));
}

/** A tensor of zeros. */
export function zeros(shape: readonly number[], options: CreateOptions = {}): Tensor {
  return create('zeros', [checkShape(shape)], options);
}

/** A tensor of ones. */
export function ones(shape: readonly number[], options: CreateOptions = {}): Tensor {
  return create('ones', [checkShape(shape)], options);
}

/** A tensor with one value everywhere. */
export function full(shape: readonly number[], value: number, options: CreateOptions = {}): Tensor {
  return create('full', [checkShape(shape), value], options);
}

/** `start`, `start + step`, … below `end`, in one dimension. */
export function arange(start: number, end: number, step = 1, options: CreateOptions = {}): Tensor {
  return create('arange.start_step', [start, end, step], options);
}

/** `steps` numbers from `start` to `end`, both included, evenly spaced. */
export function linspace(start: number, end: number, steps: number, options: CreateOptions = {}): Tensor {
  return create('linspace', [start, end, steps], options);
}

/** Joins tensors along an existing dimension. */
export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  return aten('cat', tensors, dim);
}

/** Joins tensors of one shape along a new dimension. */
export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return aten('stack', tensors, dim);
}

/** a + w·(b − a), elementwise; `w` is a number or a tensor that broadcasts. */
export function lerp(a: Tensor, b: Tensor, weight: number | Tensor): Tensor {
  return aten(typeof weight === 'number' ? 'lerp.Scalar' : 'lerp.Tensor', a, b, weight);
}

/**
 * Spherical interpolation (Shoemake 1985) of each sample along the great circle between `a` and `b`, both `[B, …]`:
 * (sin((1 − t)θ)·a + sin(tθ)·b) / sin θ with θ the angle between the samples, flattened. Where they are nearly parallel,
 * |cos θ| > 0.9995, it is {@link lerp}.
 *
 * @throws ShapeError unless both have one shape with a batch dimension; ArgumentError for no tensors or no number.
 */
export function slerp(a: Tensor, b: Tensor, t: number): Tensor {
  for (const [name, value] of Object.entries({ a, b })) {
    if (!(value instanceof Tensor)) throw new ArgumentError(`${name} must be a Tensor, got ${showValue(value)}`);
  }
  if (typeof t !== 'number') throw new ArgumentError(`t must be a number, got ${showValue(t)}`);
  if (a.shape.length === 0 || a.shape.join() !== b.shape.join()) {
    throw new ShapeError(`b must have the shape of a, [B, …], got [${b.shape.join(', ')}] and [${a.shape.join(', ')}]`);
  }
  return tidy(() => {
    const column = [a.shape[0]!, ...a.shape.slice(1).map(() => 1)];
    const flatA = a.reshape([a.shape[0]!, -1]);
    const flatB = b.reshape([a.shape[0]!, -1]);
    const norms = flatA.pow(2).sum(1).sqrt().mul(flatB.pow(2).sum(1).sqrt());
    const cos = flatA.mul(flatB).sum(1).div(norms).reshape(column);
    const theta = aten('acos', cos.clamp(-1, 1));
    const sin = (angle: Tensor): Tensor => aten('sin', angle);
    const arc = sin(theta.mul(1 - t)).mul(a).add(sin(theta.mul(t)).mul(b)).div(sin(theta));
    // A comparison with NaN (a zero sample) is false, and falls to lerp too.
    const onArc = aten('le.Scalar', cos.abs(), 0.9995);
    return aten('where.self', onArc, arc, lerp(a, b, t));
  });
}
