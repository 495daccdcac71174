export { DDPMScheduler, type DDPMStepOptions } from './ddpm-scheduler';
export { DDIMScheduler, type DDIMStepOptions } from './ddim-scheduler';
export { DDIMInverseScheduler, type DDIMInverseStepOptions } from './ddim-inverse-scheduler';
export type { PosteriorOutput, SchedulerOutput } from './scheduler';
export type { Timesteps } from './step-arguments';
