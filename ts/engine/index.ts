export type { EngineStats } from '../native/addon-types';
export type { BatchDefaults, BatchImageOptions, BatchJob, BatchScheduler } from './batch-job';
export type { BatchJobs, BatchShard } from './batch-lines';
export type { BatchOptions, BatchProgress, BatchSummary } from './batch-options';
export type { BatchFailureRecord, BatchImageRecord, BatchRecord, BatchRunRecord } from './batch-records';
export { runBatch } from './batch-run';
export type { EngineOutputType, EngineProgress, RandomSource, SampleOf, SampleRequest } from './request';
export { SamplerEngine, type SamplerEngineOptions } from './sampler-engine';
export type { EngineScheduler } from './scheduler-of';
