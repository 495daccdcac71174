export type { EngineStats } from '../native/addon-types';
export type { EngineOutputType, EngineProgress, RandomSource, SampleOf, SampleRequest } from './request';
export { SamplerEngine, type SamplerEngineOptions } from './sampler-engine';
export type { EngineScheduler } from './scheduler-of';
