import { join } from 'node:path';
import { checkOptions } from '../arguments';
import { ArgumentError, CheckpointError, OpError, throwIfAborted } from '../errors';
import { writeFileAtomic } from '../files/atomic-write';
import type { DType, TorchScriptHandle } from '../native/addon-types';
import { Tensor } from '../tensor';
import { HANDLE } from '../tensor/handle';
import type { TorchScriptModel } from './torchscript-model';
import type { UNetConfigSource } from './unet-config-source';
import { checkClassLabels, checkSample, toClassLabels, toTimestepTensor, type ClassNeeds } from './unet-inputs';
import type { UNetForwardOptions, UNetLike, UNetLikeConfig, UNetTimestep } from './unet-like';
import { checkSaveOptions, CONFIG_FILE, diffusersWeights, removeShards, UNET_ARCHIVE, type SaveOptions } from './weight-files';

/** The tensor in what a UNet's forward gives: itself, the first of a tuple, or diffusers' `sample`. */
function sampleOf(output: unknown): Tensor {
  const found: unknown = Array.isArray(output)
    ? output[0]
    : typeof output === 'object' && output !== null && 'sample' in output
      ? output.sample
      : output;
  if (found instanceof Tensor) return found;
  throw new OpError("the archive's forward must give a Tensor, a tuple that starts with one or a record with 'sample'");
}

/** A TorchScript module that is called as diffusers calls a UNet. */
export class TorchScriptUNet implements UNetLike {
  readonly config: UNetLikeConfig;
  /** @internal */
  readonly classNeeds: ClassNeeds;

  constructor(
    private readonly model: TorchScriptModel,
    private readonly source: UNetConfigSource,
  ) {
    this.config = source.config;
    const { inputs } = model;
    const [sample, timestep, classLabels, ...rest] = inputs;
    const isTensor = (type: string | undefined): boolean => type === 'Tensor' || type === 'Optional[Tensor]';
    if (
      !isTensor(sample?.type) ||
      !isTensor(timestep?.type) ||
      (classLabels !== undefined && !isTensor(classLabels.type) && !classLabels.hasDefault) ||
      rest.some((input) => !input.hasDefault)
    ) {
      const has = inputs.map(({ name, type }) => `${name}: ${type}`).join(', ');
      throw new CheckpointError(
        `${model.file} is no UNet: its forward takes (${has}), ` +
          'not (sample: Tensor, timestep: Tensor[, class_labels: Tensor])',
      );
    }
    const needs = classLabels?.type === 'Tensor' && !classLabels.hasDefault;
    this.classNeeds = { takes: isTensor(classLabels?.type), needs };
  }

  /** What the engine runs. @internal */
  get [HANDLE](): TorchScriptHandle {
    return this.model[HANDLE];
  }

  get dtype(): DType {
    return this.model.dtype ?? 'float32';
  }

  get device(): string {
    return this.model.device;
  }

  get file(): string {
    return this.model.file;
  }

  async forward(sample: Tensor, timestep: UNetTimestep, options: UNetForwardOptions = {}): Promise<{ sample: Tensor }> {
    checkOptions('forward', options, ['classLabels', 'signal']);
    const { classLabels, signal } = options;
    throwIfAborted(signal);
    const place = { config: this.config, dtype: this.dtype, device: this.device };
    checkSample(sample, place);
    const batch = sample.shape[0]!;
    checkClassLabels(classLabels, this.classNeeds);
    const inputs: Tensor[] = [];
    try {
      inputs.push(sample.to({ dtype: place.dtype }), toTimestepTensor(timestep, batch, place));
      if (classLabels !== undefined) inputs.push(toClassLabels(classLabels, batch, place));
      const runner = signal === undefined ? this.model : this.model.withSignal(signal);
      const output = runner.forward(...inputs);
      return { sample: sampleOf(await output) };
    } finally {
      for (const input of inputs) input.dispose(); // ours; the call holds what it uses
    }
  }

  async to(options: { device?: string; dtype?: DType }): Promise<this> {
    await this.model.to(options);
    return this;
  }

  /**
   * Writes into a folder `unet.pt`, with the config in it, `config.json` and, for a UNet that
   * `scripts/export_torchscript.py` exported, the weights as safetensors: what Python's UNet2DModel loads.
   */
  async savePretrained(folder: string, options?: SaveOptions): Promise<void> {
    checkSaveOptions(options);
    if (options?.variant !== undefined) throw new ArgumentError('variant goes with a UNet2DModel, not with a TorchScript model');
    const extraFiles: Record<string, string> = { ...this.model.extraFiles, 'config.json': this.source.text };
    const exported = exportMetadata(extraFiles['metadata.json']);
    if (exported !== undefined) {
      await this.model.saveWeights(join(folder, diffusersWeights()));
      await removeShards(folder, {});
      extraFiles['metadata.json'] = JSON.stringify({ ...exported, dtype: this.dtype }, null, 2);
    }
    await this.model.save(join(folder, UNET_ARCHIVE), extraFiles);
    await writeFileAtomic(join(folder, CONFIG_FILE), this.source.text);
  }

  dispose(): void {
    this.model.dispose();
  }
}

/** What the exporter stated about an archive; undefined where it is not the exporter's. */
function exportMetadata(text: string | undefined): object | undefined {
  try {
    const metadata: unknown = JSON.parse(text ?? 'null');
    if (typeof metadata !== 'object' || metadata === null) return undefined;
    return 'format' in metadata && metadata.format === 'node-diffusers-unet' ? metadata : undefined;
  } catch {
    return undefined;
  }
}
