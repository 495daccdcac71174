import type { UNetLike } from '../models';
import { nullLabels, wantsGuidance } from '../models/guidance';
import { toClassLabels } from '../models/unet-inputs';
import { addon } from '../native/addon';
import { cat, tidy, type Tensor } from '../tensor';
import { HANDLE } from '../tensor/handle';
import { wrapTensor } from '../tensor/tensor';
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
  if (!wantsGuidance(scale, nullClassLabel, { name: 'classLabels, one per image', given: classLabels })) return undefined;
  return tidy(() => {
    const labels = toClassLabels(classLabels!, batch, unet);
    return { scale, labels: cat([labels, nullLabels(nullClassLabel, labels, unet)]) };
  });
}

/**
 * One call of the model for both predictions, and ε of both.
 *
 * @param predict the model, without checks
 * @param x x_t [B, C, H, W]
 * @throws ShapeError
 */
export async function predictGuided(
  predict: (x: Tensor, labels: Tensor) => Promise<Tensor>,
  x: Tensor,
  { scale, labels }: Guidance,
): Promise<Tensor> {
  const doubled = cat([x, x]);
  const out = await predict(doubled, labels).finally(() => doubled.dispose());
  try {
    return wrapTensor(addon().guide(out[HANDLE], x.shape[1]!, scale));
  } finally {
    out.dispose();
  }
}
