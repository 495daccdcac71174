import { showValue } from '../arguments';
import { ArgumentError } from '../errors';
import { DDIMScheduler } from './ddim-scheduler';
import { DDPMScheduler } from './ddpm-scheduler';

/** @throws ArgumentError unless it is one that images are drawn with. */
export function checkScheduler(scheduler: DDPMScheduler | DDIMScheduler): DDPMScheduler | DDIMScheduler {
  if (scheduler instanceof DDPMScheduler || scheduler instanceof DDIMScheduler) return scheduler;
  throw new ArgumentError(`scheduler must be a DDPMScheduler or a DDIMScheduler, got ${showValue(scheduler)}`);
}
