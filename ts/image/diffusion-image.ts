import { types } from 'node:util';
import { extname } from 'node:path';
import { checkOptions, showValue } from '../arguments';
import { ArgumentError, ShapeError } from '../errors';
import { writeFileAtomic } from '../files/atomic-write';
import { loadSharp } from './load-sharp';

/** The formats an image can be written in. */
export const IMAGE_FORMATS = ['png', 'jpeg', 'webp'] as const;

/** One of {@link IMAGE_FORMATS}. */
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** How an image is encoded. */
export interface EncodeOptions {
  /** Quality of `jpeg` and `webp`, an integer in 1 … 100. Default 95. `png` is always lossless. */
  quality?: number;
}

/** The longest side of an image that can be encoded: what all three formats' encoders take (WebP ends here). */
export const MAX_SIDE = 16383;

/** What a file of a format is called. */
export const EXTENSION_OF_FORMAT: Readonly<Record<ImageFormat, string>> = { png: '.png', jpeg: '.jpg', webp: '.webp' };

const FORMAT_OF_EXTENSION: Readonly<Record<string, ImageFormat>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
};

/**
 * An image of 8-bit pixels, as pipelines return them.
 *
 * @example
 * ```ts
 * const { images } = await pipe.run({ batchSize: 1 });
 * await images[0].save('sample.png');
 * ```
 */
export class DiffusionImage {
  /** Pixels in rows from the top, channels interleaved: height × width × channels bytes, 0 … 255. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** 1 is grey, 3 RGB, 4 RGBA; a model may have any other number, which can't be encoded. */
  readonly channels: number;

  /** @throws ShapeError unless `data` has height × width × channels entries; ArgumentError for a size that is none. */
  constructor(data: Uint8Array, size: { width: number; height: number; channels: number }) {
    if (size === undefined) throw new ArgumentError('size of an image must be { width, height, channels }, got undefined');
    checkOptions('DiffusionImage', size, ['width', 'height', 'channels']);
    const { width, height, channels } = size;
    for (const [name, value] of Object.entries({ width, height, channels })) {
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new ShapeError(`${name} of an image must be an integer from 1 up, got ${showValue(value)}`);
      }
    }
    if (!types.isUint8Array(data) || data.length !== width * height * channels) {
      throw new ShapeError(
        `data of a ${width}×${height} image with ${channels} channels must be a Uint8Array of ` +
          `${width * height * channels} entries, got ${types.isUint8Array(data) ? data.length : typeof data}`,
      );
    }
    this.data = data;
    this.width = width;
    this.height = height;
    this.channels = channels;
  }

  /**
   * The encoded image.
   *
   * @throws ArgumentError for an unknown format, option or quality.
   * @throws ShapeError for channels other than 1, 3, 4, for `jpeg` with 4, and for sides above 16383 pixels.
   */
  async toBuffer(format: ImageFormat, options: EncodeOptions = {}): Promise<Buffer> {
    if (!IMAGE_FORMATS.includes(format)) {
      throw new ArgumentError(`format must be one of ${IMAGE_FORMATS.join(', ')}, got ${showValue(format)}`);
    }
    checkOptions('toBuffer', options, ['quality']);
    const { quality = 95 } = options;
    if (!Number.isInteger(quality) || quality < 1 || quality > 100) {
      throw new ArgumentError(`quality must be an integer in 1 … 100, got ${showValue(quality)}`);
    }
    const { width, height } = this;
    const channels = this.#encodableChannels(format);
    const sharp = await loadSharp();
    const image = sharp(this.data, { raw: { width, height, channels }, limitInputPixels: MAX_SIDE ** 2 });
    if (format === 'jpeg') return image.jpeg({ quality }).toBuffer();
    if (format === 'webp') return image.webp({ quality }).toBuffer();
    return (channels === 1 ? image.toColourspace('b-w') : image).png().toBuffer();
  }

  /**
   * Writes the image whole or not at all, in the format of the path's extension: .png, .jpg, .jpeg or .webp. Missing
   * folders are made, a file of that name is replaced.
   *
   * @throws ArgumentError for another extension and where the file can't be written.
   * @throws ShapeError as {@link toBuffer} does.
   */
  async save(path: string): Promise<void> {
    await writeFileAtomic(path, await this.toBuffer(imageFormatOf(path)));
  }

  #encodableChannels(format: ImageFormat): 1 | 3 | 4 {
    const { width, height, channels } = this;
    if (width > MAX_SIDE || height > MAX_SIDE) {
      throw new ShapeError(`an image to encode must be at most ${MAX_SIDE} pixels a side, got ${width}×${height}`);
    }
    if (channels !== 1 && channels !== 3 && channels !== 4) {
      throw new ShapeError(`an image to encode must have 1, 3 or 4 channels, got ${channels}; its data has them all`);
    }
    if (format === 'jpeg' && channels === 4) {
      throw new ShapeError('an image to encode as jpeg must have 1 or 3 channels, got 4; png and webp keep the alpha');
    }
    return channels;
  }
}

/**
 * The format that a path's extension names.
 *
 * @throws ArgumentError for an extension other than .png, .jpg, .jpeg and .webp.
 */
export function imageFormatOf(path: string): ImageFormat {
  if (typeof path !== 'string') throw new ArgumentError(`an image's path must be a string, got ${showValue(path)}`);
  const format = FORMAT_OF_EXTENSION[extname(path).toLowerCase()];
  if (format === undefined) {
    const wanted = Object.keys(FORMAT_OF_EXTENSION).join(', ');
    throw new ArgumentError(`an image's path must end in one of ${wanted}, got ${JSON.stringify(path)}`);
  }
  return format;
}

/** A batch of 8-bit images in rows from the top, channels last: n × h × w × c bytes. */
export interface PixelBatch {
  readonly data: Uint8Array;
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
}

/**
 * The images of a batch, each with its own copy of the pixels, so that one kept doesn't keep all.
 *
 * @throws ShapeError unless `data` has n·h·w·c entries.
 */
export function toImages({ data, n, h, w, c }: PixelBatch): DiffusionImage[] {
  const size = h * w * c;
  if (data.length !== n * size) {
    throw new ShapeError(`data of ${n} images of ${h}×${w}×${c} must have ${n * size} entries, got ${data.length}`);
  }
  return Array.from(
    { length: n },
    (_, i) => new DiffusionImage(data.slice(i * size, (i + 1) * size), { width: w, height: h, channels: c }),
  );
}
