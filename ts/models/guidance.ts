import { showValue } from '../arguments';
import { ArgumentError } from '../errors';
import { Tensor, zeros, type FloatingDType } from '../tensor';
import { toClassLabels, type UNetPlace } from './unet-inputs';

/**
 * Whether a scale and what goes with it ask for classifier-free guidance.
 *
 * @throws ArgumentError unless they go together
 */
export function wantsGuidance(scale: unknown, nullClassLabel: unknown, labels: { name: string; given: unknown }): boolean {
  if (typeof scale !== 'number' || !Number.isFinite(scale) || scale < 1) {
    throw new ArgumentError(`guidanceScale must be a finite number from 1 (none) up, got ${showValue(scale)}`);
  }
  if (scale === 1) {
    if (nullClassLabel === undefined) return false;
    throw new ArgumentError('nullClassLabel goes with a guidanceScale above 1');
  }
  if (labels.given === undefined) throw new ArgumentError(`guidanceScale ${scale} wants ${labels.name}`);
  return true;
}

/**
 * As many null classes as there are labels: by default DiT's, the last of its table, or an embedding of zeros.
 *
 * @throws ArgumentError, ShapeError, DTypeError
 */
export function nullLabels(given: unknown, labels: Tensor, unet: UNetPlace): Tensor {
  const [batch = 0, width] = labels.shape;
  const { classEmbedType, numClassEmbeds } = unet.config;
  if (classEmbedType === 'identity') {
    if (given === undefined) return zeros(labels.shape, { dtype: labels.dtype as FloatingDType, device: labels.device });
    if (given instanceof Tensor && given.numel === width) {
      return toClassLabels(given.reshape([1, width]).expand([batch, width]), batch, unet, 'nullClassLabel');
    }
    if (given instanceof Tensor) return toClassLabels(given, batch, unet, 'nullClassLabel');
    throw new ArgumentError(`nullClassLabel must be an embedding (a Tensor) for this model, got ${showValue(given)}`);
  }
  const label = given ?? (typeof numClassEmbeds === 'number' ? numClassEmbeds - 1 : undefined);
  if (label === undefined) {
    throw new ArgumentError('nullClassLabel must be given: the model does not state numClassEmbeds');
  }
  if (!Number.isSafeInteger(label)) {
    throw new ArgumentError(`nullClassLabel must be an integer, got ${showValue(label)}`);
  }
  return toClassLabels(new Array<number>(batch).fill(label as number), batch, unet, 'nullClassLabel');
}
