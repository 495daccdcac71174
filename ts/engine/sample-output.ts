import { DiffusionImage } from '../image';
import type { TensorHandle } from '../native/addon-types';
import { wrapTensor } from '../tensor/tensor';
import type { EngineOutputType, SampleOf } from './request';

/** What the addon gives for one request, in the request's output type. */
export function toSample<O extends EngineOutputType>(handle: TensorHandle, outputType: O): SampleOf<O> {
  if (outputType !== 'image') return wrapTensor(handle) as SampleOf<O>;
  const [height, width, channels] = handle.shape as [number, number, number];
  const image = new DiffusionImage(handle.data() as Uint8Array, { width, height, channels });
  handle.dispose();
  return image as SampleOf<O>;
}
