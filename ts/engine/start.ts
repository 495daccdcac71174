import { showValue } from '../arguments';
import { ArgumentError, DTypeError, ShapeError } from '../errors';
import { DiffusionImage } from '../image';
import { Tensor, tidy } from '../tensor';
import { isFloating } from '../tensor/tensor-data';

/** What a request may start from. */
export interface StartOptions {
  latents?: Tensor;
  image?: DiffusionImage | Tensor;
}

/** A sample [1, C, H, W] that a request starts from; ours to dispose. */
export interface Start {
  readonly sample: Tensor;
  /** Whether it is x_0, of an image, rather than x_T. */
  readonly isImage: boolean;
}

/** The sample that a request brings along; undefined for one that is drawn. @throws ArgumentError, ShapeError, DTypeError */
export function readStart({ latents, image }: StartOptions): Start | undefined {
  if (latents !== undefined && image !== undefined) throw new ArgumentError('latents and image must not both be given');
  if (latents !== undefined) return { sample: readLatents(latents), isImage: false };
  return image === undefined ? undefined : { sample: readImage(image), isImage: true };
}

function readLatents(latents: unknown): Tensor {
  if (!(latents instanceof Tensor)) throw new ArgumentError(`latents must be a Tensor, got ${showValue(latents)}`);
  checkFloating('latents', latents);
  const { shape } = latents;
  if (shape.length === 3) return latents.unsqueeze(0);
  if (shape.length === 4 && shape[0] === 1) return latents.to({});
  throw new ShapeError(`latents must be [C, H, W] or [1, C, H, W], got [${shape.join(', ')}]`);
}

/** 2·x − 1 of an image in 0 … 1, as diffusers' VaeImageProcessor.normalize. */
function readImage(image: unknown): Tensor {
  if (image instanceof DiffusionImage) {
    const { data, height, width, channels } = image;
    return tidy(() => toSample(Tensor.from(Float32Array.from(data), [height, width, channels]).div(255)));
  }
  if (!(image instanceof Tensor)) {
    throw new ArgumentError(`image must be a DiffusionImage or a Tensor [H, W, C] in 0 … 1, got ${showValue(image)}`);
  }
  checkFloating('image', image);
  if (image.shape.length !== 3) throw new ShapeError(`image must be [H, W, C], got [${image.shape.join(', ')}]`);
  return tidy(() => toSample(image));
}

const toSample = (image: Tensor): Tensor => image.mul(2).sub(1).permute([2, 0, 1]).unsqueeze(0).contiguous();

function checkFloating(name: string, { dtype }: Tensor): void {
  if (!isFloating(dtype)) throw new DTypeError(`${name} must be of a floating dtype, got ${dtype}`);
}
