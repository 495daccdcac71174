import { showValue } from '../arguments';
import { ArgumentError } from '../errors';
import type { UNetLike } from '../models';
import { toClassLabels } from '../models/unet-inputs';
import { cat, Tensor, tidy, zeros, type FloatingDType } from '../tensor';
import type { RunOptions } from './run-options';

/** Classifier-free guidance of one run. */
export interface Guidance {
  /** s > 1. */
  readonly scale: number;
  /** Of 2B samples: the classes of B images, then B times the null class. The run's own, to be disposed. */
  readonly labels: Tensor;
}

/**
 * The guidance that a run's options ask for; undefined for none. Its labels are a copy: the caller's may change.
 *
 * @throws ArgumentError, ShapeError, DTypeError, before any work
 */
export function readGuidance(options: RunOptions, unet: UNetLike, batch: number): Guidance | undefined {
  const { classLabels, guidanceScale: scale = 1, nullClassLabel } = options;
  if (typeof scale !== 'number' || !Number.isFinite(scale) || scale < 1) {
    throw new ArgumentError(`guidanceScale must be a finite number from 1 (none) up, got ${showValue(scale)}`);
  }
  if (scale === 1) {
    if (nullClassLabel === undefined) return undefined;
    throw new ArgumentError('nullClassLabel goes with a guidanceScale above 1');
  }
  if (classLabels === undefined) throw new ArgumentError(`guidanceScale ${scale} wants classLabels, one per image`);
  return tidy(() => {
    const labels = toClassLabels(classLabels, batch, unet);
    return { scale, labels: cat([labels, nullLabels(nullClassLabel, labels, unet)]) };
  });
}

/** As many null classes as there are labels: DiT's is the last of its table, an embedding's is 0. */
function nullLabels(given: unknown, labels: Tensor, unet: UNetLike): Tensor {
  const [batch = 0, width] = labels.shape;
  const { classEmbedType, numClassEmbeds } = unet.config;
  if (classEmbedType === 'identity') {
    if (given === undefined) return zeros(labels.shape, { dtype: labels.dtype as FloatingDType, device: labels.device });
    if (given instanceof Tensor && given.numel === width) {
      return toClassLabels(given.reshape([1, width]).expand([batch, width]), batch, unet);
    }
    if (given instanceof Tensor) return toClassLabels(given, batch, unet);
    throw new ArgumentError(`nullClassLabel must be an embedding (a Tensor) for this model, got ${showValue(given)}`);
  }
  const label = given ?? (typeof numClassEmbeds === 'number' ? numClassEmbeds - 1 : undefined);
  if (label === undefined) {
    throw new ArgumentError('nullClassLabel must be given: the model does not state numClassEmbeds');
  }
  if (!Number.isSafeInteger(label)) {
    throw new ArgumentError(`nullClassLabel must be an integer, got ${showValue(label)}`);
  }
  return toClassLabels(new Array<number>(batch).fill(label as number), batch, unet);
}

/**
 * One call of the model for both predictions, then ε = ε_uncond + s (ε_cond − ε_uncond), Ho & Salimans 2022
 * (arXiv:2207.12598), eq. 6 with s = 1 + w. Of a model with learned variance only ε is guided, as in DiT: the variance half
 * is the conditional one.
 *
 * @param predict the model, without checks
 * @param x x_t [B, C, H, W]
 */
export async function predictGuided(
  predict: (x: Tensor, labels: Tensor) => Promise<Tensor>,
  x: Tensor,
  { scale, labels }: Guidance,
): Promise<Tensor> {
  const doubled = cat([x, x]);
  const out = await predict(doubled, labels).finally(() => doubled.dispose());
  const channels = x.shape[1]!;
  const guided = tidy(() => {
    const [conditional, unconditional] = out.chunk(2, 0) as [Tensor, Tensor];
    if (out.shape[1] !== 2 * channels) return combine(conditional, unconditional, scale);
    const [epsilon, variance] = conditional.chunk(2, 1) as [Tensor, Tensor];
    return cat([combine(epsilon, unconditional.narrow(1, 0, channels), scale), variance], 1);
  });
  out.dispose();
  return guided;
}

const combine = (conditional: Tensor, unconditional: Tensor, scale: number): Tensor =>
  unconditional.add(conditional.sub(unconditional).mul(scale));
