export {
  AbortError,
  ArgumentError,
  CheckpointError,
  ClosedError,
  ConfigError,
  DeadlineError,
  DeviceError,
  DiffusersError,
  DisposedError,
  DTypeError,
  ERROR_CODES,
  LibtorchError,
  NetworkError,
  NotFoundError,
  OpError,
  OutOfMemoryError,
  QueueFullError,
  ShapeError,
  TimestepError,
  type ErrorCode,
} from './errors';
export {
  arange,
  cat,
  full,
  Generator,
  lerp,
  linspace,
  manualSeed,
  ones,
  ops,
  randn,
  slerp,
  stack,
  Tensor,
  tidy,
  zeros,
  type AtenOperator,
  type CreateOptions,
  type FloatingDType,
  type NestedNumbers,
  type Operand,
  type ReduceOptions,
  type TensorLike,
  type TypedArray,
} from './tensor';
export type { DType, TensorData } from './native/addon-types';
export {
  DDIMInverseScheduler,
  DDIMScheduler,
  DDPMScheduler,
  type DDIMInverseStepOptions,
  type DDIMStepOptions,
  type DDPMStepOptions,
  type PosteriorOutput,
  type SchedulerOutput,
  type Timesteps,
} from './schedulers';
export type {
  BetaSchedule,
  DDIMInverseSchedulerConfig,
  DDIMInverseTimestepSpacing,
  DDIMSchedulerConfig,
  DDIMTimestepSpacing,
  DDPMBetaSchedule,
  DDPMSchedulerConfig,
  PredictionType,
  PreviousTimestepRule,
  TimestepSpacing,
  VarianceType,
} from './config/scheduler-config';
export type {
  ActivationName,
  ClassEmbedType,
  DownBlockType,
  MidBlockType,
  ResampleType,
  ResnetTimeScaleShift,
  TimeEmbeddingType,
  UNet2DConfig,
  UNet2DConfigInput,
  UpBlockType,
} from './config/unet2d-config';
export {
  TorchScriptModel,
  UNet2DModel,
  type TorchScriptLoadOptions,
  type UNet2DOptions,
  type UNet2DTarget,
  type UNetForwardOptions,
  type UNetLike,
  type UNetLikeConfig,
  type UNetTimestep,
} from './models';
export {
  DDIMPipeline,
  DDPMPipeline,
  DiffusionPipeline,
  type DDIMRunOptions,
  type DDPMRunOptions,
  type ImagesOf,
  type OutputType,
  type PipelineOptions,
  type RunOptions,
  type RunProgress,
  type StepEnd,
} from './pipelines';
export {
  SamplerEngine,
  type EngineOutputType,
  type EngineProgress,
  type EngineScheduler,
  type EngineStats,
  type RandomSource,
  type SampleOf,
  type SampleRequest,
  type SamplerEngineOptions,
} from './engine';
export { runBatch } from './engine/batch-run';
export type { BatchDefaults, BatchImageOptions, BatchJob, BatchScheduler } from './engine/batch-job';
export type { BatchJobs, BatchShard } from './engine/batch-lines';
export type { BatchOptions, BatchProgress, BatchSummary } from './engine/batch-options';
export type { BatchFailureRecord, BatchImageRecord, BatchRecord, BatchRunRecord } from './engine/batch-records';
export { DiffusionImage, makeGrid, type EncodeOptions, type GridOptions, type ImageFormat } from './image';
export type { HubOptions } from './hub';
export { getNumThreads, setNumThreads } from './native/threads';
