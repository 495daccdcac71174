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
  openCheckpoint(file: string): Promise<CheckpointEntry[]>;
  callOp(name: string, args: NativeValue[]): NativeValue;
  opNames(): string[];
  threads(): ThreadCounts;
  setThreads(limit: number): void;
  runtime(): { torchVersion: string; cudaLinked: boolean; cudaDevices: number; parallel: string };
}
