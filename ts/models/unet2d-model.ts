import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkFolder, checkOptions, checkSignal, requireOptions, showValue } from '../arguments';
import { readJsonFile, writeJsonFile } from '../config/json-file';
import { inSpellingOf, parseUNet2DConfig, type UNet2DConfig, type UNet2DConfigInput } from '../config/unet2d-config';
import { toDiskUNetConfig, type ParsedUNetConfig } from '../config/unet-config';
import { ArgumentError, ConfigError, DTypeError, NotFoundError, throwIfAborted } from '../errors';
import { writeError } from '../files/atomic-write';
import { componentFolder, resolveModelFolder, type HubOptions } from '../hub';
import { addon } from '../native/addon';
import type { DType, TensorHandle, UNetHandle } from '../native/addon-types';
import { Generator, type Tensor } from '../tensor';
import { HANDLE } from '../tensor/handle';
import { wrapTensor } from '../tensor/tensor';
import { checkDType, isFloating } from '../tensor/tensor-data';
import { abortable } from './abortable';
import { readTorchScriptRecords } from './torchscript-records';
import { checkClassLabels, checkSample, classNeedsOf, toClassLabels, toTimestepTensor } from './unet-inputs';
import type { UNetForwardOptions, UNetLike, UNetTimestep } from './unet-like';
import {
  checkSaveOptions,
  checkWeightsChoice,
  CONFIG_FILE,
  diffusersWeights,
  removeShards,
  unetFilesOf,
  weightsIn,
  type SaveOptions,
  type WeightsChoice,
} from './weight-files';

/** Where a UNet2DModel computes and in what. */
export interface UNet2DTarget {
  /** `'float32'`, `'float64'`, `'float16'` or `'bfloat16'`, whatever the file's. Default `'float32'`. */
  dtype?: DType;
  /** `'cpu'` (the default) or `'cuda[:N]'`. */
  device?: string;
}

/** Options of {@link UNet2DModel.fromPretrained}. */
export interface UNet2DOptions extends UNet2DTarget, WeightsChoice, Omit<HubOptions, 'allowPatterns'> {}

const TARGET_KEYS = ['dtype', 'device'] as const;
const CHOICE_KEYS = ['variant', 'useSafetensors'] as const;
const HUB_KEYS = [
  'subfolder', 'revision', 'cacheDir', 'localFilesOnly', 'token', 'onProgress', 'signal',
] as const; // prettier-ignore

function readTarget(name: string, { dtype = 'float32', device = 'cpu' }: UNet2DTarget): Required<UNet2DTarget> {
  if (typeof device !== 'string') {
    throw new ArgumentError(`${name}: device must be 'cpu', 'cuda' or 'cuda:N', got ${showValue(device)}`);
  }
  return { dtype: checkModelDType(name, dtype), device };
}

function checkModelDType(name: string, dtype: DType): DType {
  if (isFloating(checkDType(dtype))) return dtype;
  throw new DTypeError(`${name}: dtype must be float32, float64, float16 or bfloat16, got ${dtype}`);
}

type Parsed = ParsedUNetConfig<UNet2DConfig>;

const toText = (parsed: Parsed): string => JSON.stringify(toDiskUNetConfig(parsed));

/**
 * diffusers' UNet2DModel: ε_θ(x_t, t), run by native code without Python. Every configuration and checkpoint of diffusers'
 * class loads; forwards run off the JavaScript thread, several at once.
 *
 * @example
 * const unet = await UNet2DModel.fromPretrained(EMBEDDED_MODEL, { dtype: 'bfloat16' });
 * const { sample } = await unet.forward(randn([2, 1, 32, 32]), [999, 10]);
 */
export class UNet2DModel implements UNetLike {
  /** The whole config, deeply frozen, with diffusers' defaults filled in; a file's other keys are kept. */
  readonly config: Readonly<UNet2DConfig>;

  private constructor(
    private readonly parsed: Parsed,
    private handle: UNetHandle,
    /** The file that its weights were read from (of a sharded model the index); null for random ones. */
    readonly file: string | null,
  ) {
    this.config = Object.freeze({ ...parsed.extra, ...parsed.config });
  }

  /**
   * Reads `config.json` and the weights from a folder in diffusers' format (a UNet's own, or a pipeline's with `unet/` in
   * it) or from a hub repository, of which no more than these files is fetched. Looked for, in this order:
   * diffusion_pytorch_model.safetensors, its shards' index, diffusion_pytorch_model.bin, its shards' index. Nothing in
   * a file is ever executed.
   *
   * @returns a promise that rejects with ERR_NOT_FOUND for what is not there, a variant too; ERR_CONFIG for a config that
   * no UNet2DModel can honour; ERR_CHECKPOINT for a damaged file, or listing every tensor that is missing, unexpected or
   * of another shape; ERR_DTYPE, ERR_DEVICE, ERR_NETWORK, ERR_ARGUMENT, ERR_ABORTED.
   */
  static async fromPretrained(folderOrRepo: string, options: UNet2DOptions = {}): Promise<UNet2DModel> {
    const name = 'UNet2DModel.fromPretrained';
    checkOptions(name, options, [...TARGET_KEYS, ...CHOICE_KEYS, ...HUB_KEYS]);
    const { dtype: _dtype, device: _device, variant: _variant, useSafetensors: _use, ...hub } = options;
    const target = readTarget(name, options);
    checkWeightsChoice(options);
    const inside = hub.subfolder ? `${hub.subfolder}/` : '';
    const root = await resolveModelFolder(folderOrRepo, hub, (paths) => unetFilesOf(paths, inside, options));
    const folder = hub.subfolder === undefined ? await componentFolder(root, 'unet') : root;
    const file = join(folder, await weightsIn(folder, options));
    throwIfAborted(hub.signal);
    const model = await UNet2DModel.fromFile(file, target);
    if (hub.signal?.aborted === true) model.dispose();
    throwIfAborted(hub.signal);
    return model;
  }

  /**
   * Reads a file of weights, or the index of a sharded one, with the `config.json` beside it.
   *
   * @internal
   */
  static async fromFile(file: string, options: UNet2DTarget): Promise<UNet2DModel> {
    const { dtype, device } = readTarget('loadUNet', options);
    const parsed = parseUNet2DConfig(await readJsonFile(join(dirname(file), CONFIG_FILE)));
    return new UNet2DModel(parsed, await addon().loadUNet(toText(parsed), file, dtype, device), file);
  }

  /**
   * A model with random weights, from torch's default distributions, as Python's constructor makes one.
   *
   * @param config in either spelling; keys that UNet2DModel doesn't have are kept and written back.
   * @param options `generator` draws the weights; default: the default generator of the CPU.
   * @throws ConfigError naming the key as it is spelled; DTypeError, DeviceError, ArgumentError.
   * @example
   * const unet = UNet2DModel.fromConfig({ sampleSize: 16, inChannels: 1, outChannels: 1, blockOutChannels: [32, 64],
   *   downBlockTypes: ['DownBlock2D', 'AttnDownBlock2D'], upBlockTypes: ['AttnUpBlock2D', 'UpBlock2D'] });
   */
  static fromConfig(config: UNet2DConfigInput, options: UNet2DTarget & { generator?: Generator } = {}): UNet2DModel {
    const name = 'UNet2DModel.fromConfig';
    checkOptions(name, options, [...TARGET_KEYS, 'generator']);
    const { dtype, device } = readTarget(name, options);
    const { generator } = options;
    if (generator !== undefined && !(generator instanceof Generator)) {
      throw new ArgumentError(`${name}: generator must be a Generator, got ${showValue(generator)}`);
    }
    const parsed = parseUNet2DConfig(config);
    try {
      return new UNet2DModel(parsed, addon().createUNet(toText(parsed), generator?.[HANDLE], dtype, device), null);
    } catch (error) {
      throw error instanceof ConfigError ? new ConfigError(inSpellingOf(config, error.message), { cause: error }) : error;
    }
  }

  /**
   * Takes the weights out of a TorchScript archive of a UNet2DModel, such as scripts/export_torchscript.py writes. Only its
   * tensors are read: the program in it is not run.
   *
   * @param options `config`: default the archive's own `config.json`.
   * @returns a promise that rejects with ERR_NOT_FOUND, ERR_CONFIG without a config, ERR_CHECKPOINT as
   * {@link fromPretrained} and for a frozen archive, whose weights have no names.
   */
  static async fromTorchScript(
    file: string,
    options: UNet2DTarget & { config?: UNet2DConfigInput } = {},
  ): Promise<UNet2DModel> {
    const name = 'UNet2DModel.fromTorchScript';
    checkOptions(name, options, [...TARGET_KEYS, 'config']);
    if (typeof file !== 'string' || file.includes('\0'))
      throw new ArgumentError(`${name}: file must be a path, got ${showValue(file)}`);
    const { dtype, device } = readTarget(name, options);
    const parsed = parseUNet2DConfig(options.config ?? (await configInArchive(file)));
    return new UNet2DModel(parsed, await addon().loadUNet(toText(parsed), file, dtype, device), file);
  }

  /** What the engine runs. @internal */
  get [HANDLE](): UNetHandle {
    return this.handle;
  }

  /** The dtype it computes in. */
  get dtype(): DType {
    return this.handle.dtype;
  }

  /** `'cpu'` or `'cuda:N'`. */
  get device(): string {
    return this.handle.device;
  }

  /** Entries of all parameters. */
  get parameterCount(): number {
    return this.handle.parameterCount;
  }

  /**
   * One prediction for a batch of noisy samples, each at its own timestep if need be.
   *
   * @param sample [B, inChannels, H, W], floating, on the model's device; cast to the model's dtype. H and W are multiples
   * of 2^(number of blocks − 1).
   * @param timestep one number for the batch or one a sample; integers go in as int64, fractional ones as float32.
   * @param options.classLabels what a class-conditional model must be given: B integers, or [B, timeEmbeddingDim] floats
   * where `classEmbedType` is `'identity'`.
   * @returns a promise of `sample`, [B, outChannels, H, W] in the model's dtype. It rejects with ERR_ARGUMENT, ERR_SHAPE,
   * ERR_DTYPE, ERR_DEVICE or ERR_TIMESTEP for inputs that do not fit, ERR_ABORTED, ERR_DISPOSED.
   */
  async forward(sample: Tensor, timestep: UNetTimestep, options: UNetForwardOptions = {}): Promise<{ sample: Tensor }> {
    checkOptions('forward', options, ['classLabels', 'signal']);
    const { classLabels, signal } = options;
    checkSignal(signal);
    throwIfAborted(signal);
    const { handle, config } = this;
    const place = { config, dtype: handle.dtype, device: handle.device };
    checkSample(sample, place);
    const batch = sample.shape[0]!;
    checkClassLabels(classLabels, classNeedsOf(config));
    const inputs: Tensor[] = [];
    try {
      inputs.push(toTimestepTensor(timestep, batch, place));
      if (classLabels !== undefined) inputs.push(toClassLabels(classLabels, batch, place));
      const [timesteps, labels] = inputs;
      const start = () => handle.forward(sample[HANDLE], timesteps![HANDLE], labels?.[HANDLE]);
      const output = await abortable(signal, start, (late) => (late as TensorHandle).dispose());
      return { sample: wrapTensor(output as TensorHandle) };
    } finally {
      for (const input of inputs) input.dispose(); // ours; the call holds what it uses
    }
  }

  /**
   * Moves or casts the weights in place; calls under way finish with the old ones.
   *
   * @returns a promise of this model that rejects with ERR_DEVICE, ERR_DTYPE, ERR_DISPOSED or ERR_ARGUMENT.
   */
  async to(options: UNet2DTarget): Promise<this> {
    requireOptions('to', options, TARGET_KEYS);
    const { dtype, device } = options;
    if (device !== undefined) readTarget('to', { device });
    const moved = await this.handle.to(dtype === undefined ? undefined : checkModelDType('to', dtype), device);
    if (this.handle.disposed) {
      moved.dispose();
      return this;
    }
    this.handle.dispose();
    this.handle = moved;
    return this;
  }

  /**
   * Writes `config.json` and `diffusion_pytorch_model.safetensors`, in the model's dtype, into a folder (made where
   * missing): what Python's `UNet2DModel.from_pretrained` loads. Each file is written whole or not at all; shards of an
   * earlier model there are taken away.
   *
   * @param options.variant a word in the name of the weights' file, as `'fp16'`
   * @returns a promise that rejects with ERR_ARGUMENT if the folder can't be written, ERR_DISPOSED.
   */
  async savePretrained(folder: string, options: SaveOptions = {}): Promise<void> {
    checkFolder(folder);
    checkSaveOptions(options);
    if (!this.handle.disposed) {
      await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
        throw writeError(folder, cause);
      });
    }
    await this.handle.save(join(folder, diffusersWeights(options.variant)));
    await removeShards(folder, options);
    await writeJsonFile(join(folder, CONFIG_FILE), toDiskUNetConfig(this.parsed));
  }

  /** Frees the weights; calls under way finish. Idempotent. */
  dispose(): void {
    this.handle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

async function configInArchive(file: string): Promise<Record<string, unknown>> {
  if ((await stat(file).catch(() => undefined)) === undefined) throw new NotFoundError(`${file} does not exist`);
  const { config } = await readTorchScriptRecords(file);
  if (config !== null) return config;
  throw new ConfigError(
    `${file} holds no config.json, as scripts/export_torchscript.py puts in; pass fromTorchScript(file, { config })`,
  );
}
