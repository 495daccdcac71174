export { DDIMPipeline, type DDIMRunOptions } from './ddim-pipeline';
export { DDPMPipeline, type DDPMRunOptions } from './ddpm-pipeline';
export { DiffusionPipeline } from './diffusion-pipeline';
export type { PipelineOptions } from './load';
export type { ImagesOf, OutputType, RunOptions, RunProgress, StepEnd } from './run-options';
