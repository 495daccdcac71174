import { checkOptions, showValue } from '../arguments';
import { ArgumentError, ShapeError } from '../errors';
import { DiffusionImage } from './diffusion-image';

/** How {@link makeGrid} lays images out. */
export interface GridOptions {
  /** Images a row, an integer from 1 up. Default ⌈√n⌉, the nearest to a square. */
  columns?: number;
  /** Pixels between images and around them, an integer from 0 up. Default 2. */
  padding?: number;
  /** The colour of padding and empty places, 0 … 255 for every channel (alpha stays opaque). Default 255, white. */
  background?: number;
}

/**
 * One image of many of the same size, in rows from the top left.
 *
 * @throws ArgumentError for no images and for options out of range.
 * @throws ShapeError for images of different sizes or channels.
 */
export async function makeGrid(images: readonly DiffusionImage[], options: GridOptions = {}): Promise<DiffusionImage> {
  if (!Array.isArray(images)) throw new ArgumentError(`images of a grid must be an array, got ${showValue(images)}`);
  checkOptions('makeGrid', options, ['columns', 'padding', 'background']);
  const odd = images.findIndex((image) => !(image instanceof DiffusionImage));
  if (odd >= 0) {
    throw new ArgumentError(`images of a grid must be DiffusionImages, got ${showValue(images[odd])} at index ${odd}`);
  }
  const [first] = images as readonly DiffusionImage[];
  if (first === undefined) throw new ArgumentError('images of a grid must be 1 or more, got 0');
  const background = integer('background', options.background ?? 255, 0, 255);
  const { width, height, channels } = first;
  for (const [i, image] of images.entries()) {
    if (image.width !== width || image.height !== height || image.channels !== channels) {
      throw new ShapeError(
        `images of a grid must be of one size, got ${sizeOf(first)} and, at index ${i}, ${sizeOf(image)}`,
      );
    }
  }

  const { inRow, padding, width: gridWidth, height: gridHeight } = gridLayout(images.length, first, options);
  const data = new Uint8Array(gridWidth * gridHeight * channels).fill(background);
  if (channels === 4) for (let alpha = 3; alpha < data.length; alpha += 4) data[alpha] = 255;
  for (const [i, image] of images.entries()) {
    const left = (i % inRow) * (width + padding) + padding;
    const top = Math.floor(i / inRow) * (height + padding) + padding;
    for (let y = 0; y < height; y++) {
      const row = image.data.subarray(y * width * channels, (y + 1) * width * channels);
      data.set(row, ((top + y) * gridWidth + left) * channels);
    }
  }
  return new DiffusionImage(data, { width: gridWidth, height: gridHeight, channels });
}

/** Where {@link makeGrid} would put `count` images of a size, and how large the grid would be. */
export function gridLayout(
  count: number,
  { width, height }: { width: number; height: number },
  options: GridOptions = {},
): { inRow: number; padding: number; width: number; height: number } {
  const columns = integer('columns', options.columns ?? Math.ceil(Math.sqrt(count)), 1, 1_000_000);
  const padding = integer('padding', options.padding ?? 2, 0, 1000);
  const inRow = Math.min(columns, count);
  return {
    inRow,
    padding,
    width: inRow * (width + padding) + padding,
    height: Math.ceil(count / inRow) * (height + padding) + padding,
  };
}

function integer(name: string, value: number, low: number, high: number): number {
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new ArgumentError(`${name} of a grid must be an integer in ${low} … ${high}, got ${showValue(value)}`);
}

const sizeOf = ({ width, height, channels }: DiffusionImage): string => `${width}×${height}×${channels}`;
