import { showValue } from '../arguments';
import { ArgumentError } from '../errors';
import { addon } from './addon';

/** How float32 matrix products and convolutions are computed on CUDA: see {@link setFloat32MatmulPrecision}. */
export type Float32MatmulPrecision = 'highest' | 'high';

/**
 * How float32 matrix products and convolutions are computed on CUDA, in the whole process, as
 * `torch.set_float32_matmul_precision`: `'highest'`, the default, in float32; `'high'` with TensorFloat-32, whose inputs have
 * 10 bits of mantissa, where the GPU has it (several times faster, relative errors around 1e-3). Convolutions follow it too,
 * for which torch's own default is TensorFloat-32. What a CUDA graph has captured keeps the precision it was captured with.
 *
 * @throws ArgumentError
 * @example
 * setFloat32MatmulPrecision('high');
 */
export function setFloat32MatmulPrecision(precision: Float32MatmulPrecision): void {
  if (precision !== 'highest' && precision !== 'high') {
    throw new ArgumentError(`setFloat32MatmulPrecision: precision must be 'highest' or 'high', got ${showValue(precision)}`);
  }
  addon().allowTF32(precision === 'high');
}

/** What {@link setFloat32MatmulPrecision} set. */
export function getFloat32MatmulPrecision(): Float32MatmulPrecision {
  return addon().allowTF32() ? 'high' : 'highest';
}
