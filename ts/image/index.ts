export {
  DiffusionImage,
  IMAGE_FORMATS,
  imageFormatOf,
  toImages,
  type EncodeOptions,
  type ImageFormat,
  type PixelBatch,
} from './diffusion-image';
export { makeGrid, type GridOptions } from './grid';
