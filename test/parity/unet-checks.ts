import assert from 'node:assert/strict';
import { UNet2DModel } from '../../ts/index';
import { unetFixture, type UNetCase } from './unet-recordings';

/** ‖y − diffusers' float32 output‖ / ‖output‖. */
export const TOLERANCE = { float32: 1e-5, bfloat16: 2e-2, float16: 5e-3 } as const;

export function caseNamed(name: string): UNetCase {
  const found = unetFixture().manifest.cases.find((c) => c.name === name);
  assert.ok(found !== undefined, `no case is named ${name}`);
  return found;
}

/** Uses a checkpoint's UNet, and disposes of it. */
export async function withUNet<T>(
  folder: string,
  dtype: keyof typeof TOLERANCE,
  use: (unet: UNet2DModel) => Promise<T>,
): Promise<T> {
  const unet = await UNet2DModel.fromPretrained(folder, { dtype });
  try {
    return await use(unet);
  } finally {
    unet.dispose();
  }
}
