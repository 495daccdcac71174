import { stat } from 'node:fs/promises';
import { showValue } from '../arguments';
import { ArgumentError, NotFoundError, ShapeError } from '../errors';
import { DiffusionImage, IMAGE_FORMATS, MAX_SIDE } from './diffusion-image';
import { loadSharp } from './load-sharp';

/**
 * Reads a PNG, JPEG or WebP file with the channels that a model has: 1 is grey, 3 RGB, 4 RGBA.
 *
 * @throws NotFoundError; ArgumentError for a file that is none of these or damaged; ShapeError for other channels.
 */
export async function readImage(file: string, channels: number): Promise<DiffusionImage> {
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new ShapeError(`an image can be read for a model of 1, 3 or 4 channels, got ${channels}`);
  }
  const sharp = await loadSharp();
  if (!(await stat(file).catch(() => undefined))?.isFile()) throw new NotFoundError(`${file} is no file`);
  try {
    const image = sharp(file, { limitInputPixels: MAX_SIDE ** 2 });
    const { format } = await image.metadata();
    if (!IMAGE_FORMATS.some((one) => one === format)) throw new Error(`it is of format ${showValue(format)}`);
    const coloured = image.toColourspace(channels === 1 ? 'b-w' : 'srgb');
    const pixels = channels === 4 ? coloured.ensureAlpha() : coloured.removeAlpha();
    const { data, info } = await pixels.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    return new DiffusionImage(new Uint8Array(data), { width: info.width, height: info.height, channels: info.channels });
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0];
    throw new ArgumentError(`can't read ${file} as one of ${IMAGE_FORMATS.join(', ')}: ${reason}`, { cause });
  }
}
