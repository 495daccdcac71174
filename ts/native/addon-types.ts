import type { DiffusersError, ErrorCode } from '../errors';

/** The dtypes of the public API. */
export type DType = 'float32' | 'float64' | 'float16' | 'bfloat16' | 'int64' | 'int32' | 'uint8' | 'bool';

/** What a dtype's bytes come back as: float16 and bfloat16 widen to Float32Array, bool is a Uint8Array of 0 and 1. */
export type TensorData = Float32Array | Float64Array | BigInt64Array | Int32Array | Uint8Array;

/** One at::Tensor (native/binding/tensor_wrap). */
export interface TensorHandle {
  readonly shape: number[];
  readonly dtype: DType;
  readonly device: string;
  readonly disposed: boolean;
  data(): TensorData;
  dispose(): void;
}

/** One at::Generator (native/binding/generator_wrap). */
export interface GeneratorHandle {
  readonly device: string;
  manualSeed(seed: bigint): void;
  getState(): TensorHandle;
  setState(state: TensorHandle): void;
}

export type GeneratorHandles = GeneratorHandle | GeneratorHandle[] | undefined;

export type SchedulerClass = 'DDPMScheduler' | 'DDIMScheduler' | 'DDIMInverseScheduler';

export type StepCall = [
  modelOutput: TensorHandle,
  timesteps: Float64Array,
  sample: TensorHandle,
  prevTimesteps: Float64Array | undefined,
  eta: Float64Array,
  useClippedModelOutput: boolean,
  generators: GeneratorHandles,
  varianceNoise: TensorHandle | undefined,
  returnPredOriginalSample: boolean,
];
export type StepResult = [prevSample: TensorHandle, predOriginalSample: TensorHandle | null];

/** One native scheduler (native/binding/scheduler_wrap). Lists of timesteps are integers in Float64Arrays. */
export interface SchedulerHandle {
  tables(): { betas: Float32Array; alphas: Float32Array; alphasCumprod: Float32Array; finalAlphaCumprod: number };
  timesteps(): Int32Array;
  numInferenceSteps(): number | null;
  setNumInferenceSteps(n: number): void;
  setCustomTimesteps(timesteps: Float64Array): void;
  previousTimestep(t: number): number;
  step(...call: StepCall): StepResult;
  stepAsync(...call: StepCall): Promise<StepResult>;
  /** The timesteps must not be set afterwards. */
  plan(eta: number, useClippedModelOutput: boolean, firstStep: number): PlanHandle;
  addNoise(originalSamples: TensorHandle, noise: TensorHandle, timesteps: Float64Array): TensorHandle;
  getVelocity(sample: TensorHandle, noise: TensorHandle, timesteps: Float64Array): TensorHandle;
  posterior(
    sample: TensorHandle,
    originalSample: TensorHandle,
    timesteps: Float64Array,
    prevTimesteps: Float64Array | undefined,
  ): { mean: TensorHandle; variance: Float32Array };
}

/** A value that crosses to an operator or a TorchScript method, and back (native/binding/ivalue_convert). */
export type NativeValue = unknown;

/** One argument of a TorchScript module's forward; `type` is TorchScript's name for it, as `Dict[str, Tensor]`. */
export interface TorchScriptInput {
  readonly name: string;
  readonly type: string;
  readonly hasDefault: boolean;
}

/** Entries of all parameters and of all buffers, and the bytes of both. */
export interface TorchScriptCounts {
  readonly parameters: number;
  readonly buffers: number;
  readonly bytes: number;
}

/** One loaded TorchScript module (native/binding/torchscript_wrap). */
export interface TorchScriptHandle {
  readonly dtype: DType | null;
  readonly device: string;
  readonly disposed: boolean;
  inputs(): TorchScriptInput[];
  counts(): TorchScriptCounts;
  extraFiles(): Record<string, string>;
  forward(inputs: NativeValue[]): { result: Promise<NativeValue>; cancel(): void };
  to(device: string | undefined, dtype: DType | undefined): Promise<void>;
  save(file: string, extraFiles: Record<string, string>): Promise<void>;
  saveWeights(file: string): Promise<void>;
  dispose(): void;
}

/** What a checkpoint says of one tensor. `dtype` is torch's name where the API has none for it. */
export interface CheckpointEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
}

/** One UNet2DModel (native/binding/unet_wrap). */
export interface UNetHandle {
  readonly dtype: DType;
  readonly device: string;
  /** Entries of all parameters, and the bytes they take in its dtype. */
  readonly parameterCount: number;
  readonly bytes: number;
  readonly disposed: boolean;
  forward(
    sample: TensorHandle,
    timesteps: TensorHandle,
    classLabels: TensorHandle | undefined,
  ): { result: Promise<TensorHandle>; cancel(): void };
  /** A handle of its own; this one stays as it is. */
  to(dtype: DType | undefined, device: string | undefined): Promise<UNetHandle>;
  save(file: string): Promise<void>;
  dispose(): void;
}

/** Every step of a request to the engine (native/binding/plan_wrap); `length` of them. */
export interface PlanHandle {
  readonly length: number;
}

/** A request as the engine takes it. A `seed` is of a CPU generator, or of Philox. */
export interface EngineRequest {
  readonly plan: PlanHandle;
  readonly shape: readonly number[];
  readonly latents?: TensorHandle;
  readonly image?: TensorHandle;
  readonly generator?: GeneratorHandle;
  readonly seed?: bigint;
  readonly philox?: boolean;
  readonly classLabel?: TensorHandle;
  /** With a guidanceScale. */
  readonly nullLabel?: TensorHandle;
  readonly guidanceScale?: number;
  readonly output: 'latent' | 'tensor' | 'uint8';
  readonly priority: number;
  /** From now to its deadline. */
  readonly milliseconds?: number;
  readonly reportsSteps: boolean;
  /** In steps; 0 for never. */
  readonly previewEvery: number;
}

/** What became of a request or trial; each ends with one event that is no `'step'`. */
export type EngineEvent =
  | { kind: 'step'; id: number; step: number; totalSteps: number; timestep: number; preview?: TensorHandle }
  | { kind: 'done'; id: number; output: TensorHandle; milliseconds: number }
  | { kind: 'failed'; id: number; error: Error; milliseconds: number }
  /** The queue has a place again, after a request was refused. */
  | { kind: 'room'; id: number }
  | { kind: 'warmed'; id: number }
  | { kind: 'closed'; id: number };

/** What an engine has done so far. */
export interface EngineStats {
  /** Requests that have not begun. */
  queued: number;
  /** Requests that have begun. */
  running: number;
  maxBatchSize: number;
  /** The largest batch now: where the measured time per sample no longer falls. Of the shape that ran last. */
  batchLimit: number;
  /** Samples a batch (two for a request with guidance, also where `maxBatchSize` is 1) by `maxBatchSize`, in the mean of the last 10 s. */
  batchOccupancy: number;
  /** Batches run. */
  steps: number;
  /** Steps of one request in them. */
  sampleSteps: number;
  /** Requests done. */
  images: number;
  /** Requests that ended in an error, cancelled ones too. */
  failed: number;
  /** `sampleSteps` a second, over the last 10 s. */
  stepsPerSecond: number;
  /** `images` a second, over the last 10 s. */
  imagesPerSecond: number;
  /** Milliseconds from submission to the end: percentiles of the last 1024 images; 0 before the first. */
  latency: { p50: number; p95: number; p99: number };
  /** Seconds in the model. */
  unetSeconds: number;
  /** Seconds in the engine's loop, the model's among them, waiting not. */
  loopSeconds: number;
}

/** One SamplerEngine (native/binding/engine_wrap). */
export interface EngineHandle {
  /** The id that its events have. */
  submit(request: EngineRequest): number;
  warmUp(shape: readonly number[], batchSizes: readonly number[], guided: boolean): number;
  cancel(id: number): void;
  stats(): EngineStats;
  close(): void;
}

/** The threads of all jobs on the addon's executors together, and of operators on this thread. */
export interface ThreadCounts {
  readonly limit: number;
  /** Of the jobs that run now. */
  readonly inUse: number;
  /** The most in use at once since the limit was set. */
  readonly peak: number;
  readonly intraOp: number;
  readonly available: number;
}

/** Every bound function of the addon. */
export interface NativeAddon {
  init(hooks: { makeError: (code: ErrorCode, message: string) => DiffusersError }): void;
  tensorFrom(data: ArrayBufferView, shape: number[], dtype: DType): TensorHandle;
  randn(shape: number[], generators: GeneratorHandles, dtype: DType, device: string): TensorHandle;
  TensorHandle: new (internal: never) => TensorHandle;
  GeneratorHandle: new (device: string, isDefault: boolean) => GeneratorHandle;
  SchedulerHandle: new (className: SchedulerClass, config: object) => SchedulerHandle;
  loadTorchScript(file: string, device: string, dtype: DType | undefined): Promise<TorchScriptHandle>;
  loadUNet(config: string, file: string, dtype: DType, device: string): Promise<UNetHandle>;
  createUNet(config: string, generator: GeneratorHandle | undefined, dtype: DType, device: string): UNetHandle;
  EngineHandle: new (
    unet: UNetHandle | TorchScriptHandle,
    maxBatchSize: number,
    maxQueue: number,
    padBatches: boolean,
    onEvents: (events: EngineEvent[]) => void,
  ) => EngineHandle;
  /** Classifier-free guidance: [2B, C or 2C, H, W], predictions for the classes, then for the null class, as [B, …]. */
  guide(output: TensorHandle, channels: number, scale: number): TensorHandle;
  /** [B, C, H, W] in −1 … 1 as [B, H, W, C], uint8 or float32 in 0 … 1. */
  toPixels(samples: TensorHandle, uint8: boolean): TensorHandle;
  openCheckpoint(file: string): Promise<CheckpointEntry[]>;
  callOp(name: string, args: NativeValue[]): NativeValue;
  opNames(): string[];
  threads(): ThreadCounts;
  setThreads(limit: number): void;
  allowTF32(allowed?: boolean): boolean;
  runtime(): { torchVersion: string; cudaLinked: boolean; cudaDevices: number; parallel: string };
}
