import { toImages } from '../image';
import { addon } from '../native/addon';
import type { Tensor } from '../tensor';
import { HANDLE } from '../tensor/handle';
import { wrapTensor } from '../tensor/tensor';
import type { ImagesOf, OutputType } from './run-options';

/** Samples `[B, C, H, W]` in [−1, 1] as the images of an output type; frees the samples. */
export function toOutput<O extends OutputType>(samples: Tensor, outputType: O): ImagesOf<O> {
  const output = wrapTensor(addon().toPixels(samples[HANDLE], outputType !== 'tensor'));
  samples.dispose();
  if (outputType !== 'image') return output as ImagesOf<O>;
  const [n, h, w, c] = output.shape as [number, number, number, number];
  const data = output.toTypedArray() as Uint8Array;
  output.dispose();
  return toImages({ data, n, h, w, c }) as ImagesOf<O>;
}
