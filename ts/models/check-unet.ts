import { showValue } from '../arguments';
import { ArgumentError } from '../errors';
import type { UNetLike } from './unet-like';

/** @throws ArgumentError unless it has what sampling needs of a model. */
export function checkUNet(unet: unknown): void {
  const given = (typeof unet === 'object' && unet !== null ? unet : {}) as Partial<UNetLike>;
  if (typeof given.forward === 'function' && typeof given.config === 'object' && given.config !== null) return;
  throw new ArgumentError(`unet must be a model with config and forward, got ${showValue(unet)}`);
}
