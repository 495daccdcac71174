import { toImages } from '../image';
import { tidy, type Tensor } from '../tensor';
import { callAten } from '../tensor/tensor';
import type { ImagesOf, OutputType } from './run-options';

/** Samples `[B, C, H, W]` in [−1, 1] as the images of an output type; frees the samples. */
export function toOutput<O extends OutputType>(samples: Tensor, outputType: O): ImagesOf<O> {
  // (x/2 + 0.5) clamped to [0, 1], NHWC, as diffusers' pipelines do; ×255 rounded half to even, as its numpy_to_pil.
  const output = tidy(() => {
    const images = samples.div(2).add(0.5).clamp(0, 1).to({ device: 'cpu', dtype: 'float32' }).permute([0, 2, 3, 1]);
    if (outputType === 'tensor') return images.contiguous();
    return (callAten('round', [images.mul(255)]) as Tensor).to({ dtype: 'uint8' }).contiguous();
  });
  samples.dispose();
  if (outputType !== 'image') return output as ImagesOf<O>;
  const [n, h, w, c] = output.shape as [number, number, number, number];
  const data = output.toTypedArray() as Uint8Array;
  output.dispose();
  return toImages({ data, n, h, w, c }) as ImagesOf<O>;
}
