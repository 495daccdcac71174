import type sharp from 'sharp';
import { NotFoundError } from '../errors';

let loading: Promise<typeof sharp> | undefined;

/**
 * sharp, loaded when an image is first encoded: programs that only want tensors never pay for it.
 *
 * @throws NotFoundError with what to install where it has no binary for this platform.
 */
export function loadSharp(): Promise<typeof sharp> {
  loading ??= importSharp().catch((error: unknown) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function importSharp(): Promise<typeof sharp> {
  try {
    return (await import('sharp')).default;
  } catch (cause) {
    throw new NotFoundError(
      `images need the package sharp, which does not load on ${process.platform}-${process.arch}: ` +
        "run \"npm install --include=optional sharp\", or ask for outputType: 'uint8' or 'tensor' instead",
      { cause },
    );
  }
}
