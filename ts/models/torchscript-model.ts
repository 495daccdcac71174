import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { requireOptions, showValue } from '../arguments';
import { ArgumentError } from '../errors';
import { addon } from '../native/addon';
import type { DType, TorchScriptCounts, TorchScriptHandle, TorchScriptInput } from '../native/addon-types';
import { Tensor } from '../tensor';
import { HANDLE, unwrap, wrap } from '../tensor/handle';
import { wrapTensor } from '../tensor/tensor';
import { checkDType } from '../tensor/tensor-data';
import { abortable } from './abortable';
import { TorchScriptUNet } from './torchscript-unet';
import { readArchiveConfig, readGivenConfig } from './unet-config-source';
import type { UNetLike, UNetLikeConfig } from './unet-like';

/** What a TorchScript module takes, as its schema says. Records stand for NamedTuples and dicts, Maps for dicts. */
export type TorchScriptValue = Tensor | number | bigint | boolean | string | null | readonly unknown[] | object;

/** A model's forward with a signal bound to it. */
export interface BoundForward {
  forward<R = unknown>(...inputs: TorchScriptValue[]): Promise<R>;
}

/** Options of {@link TorchScriptModel.load}. */
export interface TorchScriptLoadOptions {
  /** `'cpu'` (the default) or `'cuda[:N]'`. */
  device?: string;
  /** Casts the floating weights; default: as they are in the file. */
  dtype?: DType;
}

/** Checks and reads `{ device, dtype }`. */
export function targetOf(
  name: string,
  options: TorchScriptLoadOptions,
): [device: string | undefined, dtype: DType | undefined] {
  requireOptions(name, options, ['device', 'dtype']);
  const { device, dtype } = options;
  if (device !== undefined && typeof device !== 'string') {
    throw new ArgumentError(`${name}: device must be 'cpu', 'cuda' or 'cuda:N', got ${showValue(device)}`);
  }
  return [device, dtype === undefined ? undefined : checkDType(dtype)];
}

function disposeTensors(value: unknown): void {
  if (value instanceof Tensor) value.dispose();
  else if (value instanceof Map) for (const entry of value.values()) disposeTensors(entry);
  else if (typeof value === 'object' && value !== null) for (const entry of Object.values(value)) disposeTensors(entry);
}

/**
 * A module that `torch.jit.save` wrote, run as it is: what its `forward` takes and gives is up to its own schema. Calls
 * run off the JavaScript thread, several at once.
 *
 * A TorchScript file is a program: load only files you trust.
 *
 * @example
 * const model = await TorchScriptModel.load('unet.pt', { device: 'cpu' });
 * const noise = await model.forward<Tensor>(randn([1, 1, 32, 32]), Tensor.from([999n]));
 */
export class TorchScriptModel {
  /** @internal */
  readonly [HANDLE]: TorchScriptHandle;
  /** Where it was loaded from. */
  readonly file: string;
  /** The text files inside the archive by name, as `config.json` of an exported UNet. */
  readonly extraFiles: Readonly<Record<string, string>>;

  private constructor(file: string, handle: TorchScriptHandle) {
    this.file = file;
    this[HANDLE] = handle;
    this.extraFiles = Object.freeze(handle.extraFiles());
  }

  /**
   * Reads an archive onto a device. A TorchScript file is a program: load only files you trust.
   *
   * @returns a promise that rejects with ERR_NOT_FOUND or ERR_CHECKPOINT for a file that is missing, damaged or no
   * TorchScript, with ERR_DEVICE or ERR_DTYPE for a device that is not here, or one that the program has fixed in it.
   */
  static async load(file: string, options: TorchScriptLoadOptions = {}): Promise<TorchScriptModel> {
    if (typeof file !== 'string' || file.includes('\0'))
      throw new ArgumentError(`TorchScriptModel.load: file must be a path, got ${showValue(file)}`);
    const [device = 'cpu', dtype] = targetOf('TorchScriptModel.load', options);
    return new TorchScriptModel(file, await addon().loadTorchScript(file, device, dtype));
  }

  /** The dtype of its floating weights, or null where it has none. */
  get dtype(): DType | null {
    return this[HANDLE].dtype;
  }

  /** `'cpu'` or `'cuda:N'`. */
  get device(): string {
    return this[HANDLE].device;
  }

  /** What its forward takes: names, TorchScript's types (`Tensor`, `Optional[int]`, `Dict[str, Tensor]`), defaults. */
  get inputs(): readonly TorchScriptInput[] {
    return this[HANDLE].inputs();
  }

  /** Entries of all parameters and of all buffers, and the bytes of both. */
  get counts(): TorchScriptCounts {
    return this[HANDLE].counts();
  }

  /**
   * Runs the module. Inputs go by position; arguments with a default may be left out (or `undefined`), and a last plain
   * object gives arguments by name, unless the schema wants a dict or NamedTuple there. Results come as tensors,
   * numbers (bigint beyond 2^53), booleans, strings, null, arrays (lists, tuples), records (NamedTuples, dicts with
   * string keys) and Maps (other dicts).
   *
   * @returns a promise that rejects with ERR_ARGUMENT for inputs that the schema doesn't take, naming the argument as
   * it does; ERR_OP with torch's message for what fails inside; ERR_DISPOSED after {@link dispose}.
   */
  async forward<R = unknown>(...inputs: TorchScriptValue[]): Promise<R> {
    return this.run<R>(inputs, undefined);
  }

  /**
   * The same model with a signal bound to its calls. A call whose signal fires before it begins is skipped; one that
   * runs rejects at once (ERR_ABORTED) and ends unheard. The model stays usable.
   *
   * @example
   * const output = await model.withSignal(AbortSignal.timeout(1000)).forward(x);
   */
  withSignal(signal: AbortSignal): BoundForward {
    if (!(signal instanceof AbortSignal))
      throw new ArgumentError(`signal must be an AbortSignal, got ${showValue(signal)}`);
    return { forward: async <R>(...inputs: TorchScriptValue[]) => this.run<R>(inputs, signal) };
  }

  private async run<R>(inputs: TorchScriptValue[], signal: AbortSignal | undefined): Promise<R> {
    const start = () => this[HANDLE].forward(inputs.map(unwrap));
    const result = await abortable(signal, start, (late) => disposeTensors(wrap(late, wrapTensor)));
    return wrap(result, wrapTensor) as R;
  }

  /**
   * The model as a UNet for pipelines: its forward takes (sample, timestep) or (sample, timestep, class_labels), all
   * tensors, and gives a tensor, a tuple or list that starts with one, or a record with `sample`.
   *
   * @param config default: the `config.json` that `scripts/export_torchscript.py` has put into the archive.
   * @throws ConfigError without a config, or for one that is wrong; CheckpointError if forward takes something else.
   */
  asUNet(config?: UNetLikeConfig): UNetLike {
    return new TorchScriptUNet(this, config === undefined ? readArchiveConfig(this) : readGivenConfig(config));
  }

  /**
   * Moves or casts the weights; integer buffers keep their dtype. Calls under way finish with the old ones.
   *
   * @returns a promise that rejects with ERR_DEVICE or ERR_DTYPE as {@link load} does.
   */
  async to(options: TorchScriptLoadOptions): Promise<this> {
    await this[HANDLE].to(...targetOf('to', options));
    return this;
  }

  /**
   * Writes the module as it is now, whole or not at all; missing folders are made.
   *
   * @param extraFiles text files to put in; default: those it was loaded with.
   * @returns a promise that rejects with ERR_ARGUMENT if the file can't be written.
   */
  async save(file: string, extraFiles: Readonly<Record<string, string>> = this.extraFiles): Promise<void> {
    await (await this.writable('save', file)).save(file, { ...extraFiles });
  }

  /**
   * Writes the parameters by name as safetensors, whole or not at all; missing folders are made. Those of a UNet that
   * `scripts/export_torchscript.py` exported have diffusers' names.
   *
   * @returns a promise that rejects with ERR_ARGUMENT if the file can't be written.
   */
  async saveWeights(file: string): Promise<void> {
    await (await this.writable('saveWeights', file)).saveWeights(file);
  }

  private async writable(name: string, file: unknown): Promise<TorchScriptHandle> {
    if (typeof file !== 'string') throw new ArgumentError(`${name}: file must be a path, got ${showValue(file)}`);
    const handle = this[HANDLE];
    if (!handle.disposed) {
      await mkdir(dirname(file), { recursive: true }).catch((cause: unknown) => {
        throw new ArgumentError(`can't write ${file}: its folder can't be made`, { cause });
      });
    }
    return handle;
  }

  /** Frees the weights; calls under way finish. Idempotent. */
  dispose(): void {
    this[HANDLE].dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
