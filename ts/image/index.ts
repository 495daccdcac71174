export {
  DiffusionImage,
  EXTENSION_OF_FORMAT,
  IMAGE_FORMATS,
  imageFormatOf,
  MAX_SIDE,
  toImages,
  type EncodeOptions,
  type ImageFormat,
  type PixelBatch,
} from './diffusion-image';
export { gridLayout, makeGrid, type GridOptions } from './grid';
