import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Generator, randn, Tensor, tidy, UNet2DModel } from '../../ts/index';
import { Fixture, type Config, type Ref, type Seeds } from './fixture';

export interface RecordedModel {
  seed: number;
  config: Readonly<Record<string, unknown>> & { in_channels: number };
  /** Names and shapes of all parameters, in the order in which they are drawn. */
  state: [string, number[]][];
  sha256: string;
}
export interface RecordedForward {
  seed: number;
  size: [number, number];
  timestep: number | number[];
  batch?: number;
  labels?: number[];
  label_width?: number;
  output: Ref;
  float64_output: Ref;
  diffusers_errors: { float32: number; bfloat16: number; float16: number };
}
export interface UNetCase extends RecordedModel {
  name: string;
  forwards: RecordedForward[];
}
export interface UNetRun {
  name: string;
  pipeline: 'DDIMPipeline' | 'DDPMPipeline';
  batch_size: number;
  seeds: Seeds;
  scheduler: Config;
  options: { num_inference_steps: number; eta?: number };
  model: RecordedModel;
  latents_after: Record<string, Ref>;
  images: Ref;
}
export interface UNetManifest {
  command: string;
  versions: Record<string, string>;
  cases: UNetCase[];
  runs: UNetRun[];
  guidance: {
    model: RecordedModel;
    seed: number;
    labels: number[];
    null_class: number;
    scale: number;
    scheduler: Config;
    num_inference_steps: number;
    latents: Ref;
  };
}

/** What scripts/parity/save-by-node.ts saves for real diffusers to load. */
export const SAVED_BY_NODE = [
  { name: 'ddpm-cifar10-32 shrunk', dtype: 'float32' },
  { name: 'ncsnpp shrunk', dtype: 'float32' },
  { name: 'class table', dtype: 'float32' },
  { name: 'class timestep, learned', dtype: 'float32' },
  { name: 'blocks up unlike down', dtype: 'bfloat16' },
  { name: 'scale_shift', dtype: 'float16' },
] as const;

export interface SavedByNodeManifest {
  folders: {
    name: string;
    dtype: (typeof SAVED_BY_NODE)[number]['dtype'];
    config: Record<string, unknown>;
    weights_sha256: string;
    relative_error: number;
  }[];
}

let recorded: Fixture<UNetManifest> | undefined;

/** What diffusers' UNet2DModel gave with tiny random weights, which are drawn again here. */
export const unetFixture = (): Fixture<UNetManifest> => (recorded ??= new Fixture('unet'));

export type Weights = Map<string, Tensor>;

/** The rule of the manifest's `weights`. */
function scaledWeight(name: string, drawn: Tensor): Tensor {
  if (name.endsWith('.bias')) return drawn.mul(0.1);
  if (name === 'time_proj.weight') return drawn.shape.length === 1 ? drawn.mul(16) : drawn;
  if (name === 'class_embedding.weight') return drawn;
  if (drawn.shape.length === 1) return drawn.mul(0.1).add(1);
  return drawn.mul(1 / Math.sqrt(drawn.numel / drawn.shape[0]!));
}

export function drawWeights({ seed, state }: RecordedModel): Weights {
  const generator = new Generator({ seed });
  return new Map(state.map(([name, shape]) => [name, tidy(() => scaledWeight(name, randn(shape, { generator })))]));
}

/** The sha256 of all weights' bytes, one after the other. */
export function digestOf(weights: Weights): string {
  const hash = createHash('sha256');
  for (const tensor of weights.values()) hash.update(bytesOf(tensor));
  return hash.digest('hex');
}

const bytesOf = (tensor: Tensor): Buffer => {
  const data = tensor.toTypedArray();
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
};

/** The bytes of a safetensors file with float32 tensors: an 8-byte length, a JSON header, the data. */
export function toSafetensors(weights: Weights): Buffer {
  const header: Record<string, unknown> = {};
  const data: Buffer[] = [];
  let offset = 0;
  for (const [name, tensor] of weights) {
    const bytes = bytesOf(tensor);
    header[name] = { dtype: 'F32', shape: tensor.shape, data_offsets: [offset, offset + bytes.length] };
    data.push(bytes);
    offset += bytes.length;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...data]);
}

/** Checkpoint folders in diffusers' format, gone with `remove`. */
export class CheckpointFolders {
  private readonly root = mkdtempSync(join(tmpdir(), 'node-diffusers-unet-'));
  private readonly written = new Map<RecordedModel, string>();
  private count = 0;

  /** The folder of a recorded model, written once. */
  of(model: RecordedModel): string {
    const known = this.written.get(model);
    if (known !== undefined) return known;
    const weights = drawWeights(model);
    const folder = this.write(model, weights);
    for (const tensor of weights.values()) tensor.dispose();
    this.written.set(model, folder);
    return folder;
  }

  /** A folder of its own with these weights. */
  write(model: RecordedModel, weights: Weights): string {
    const folder = this.empty();
    writeFileSync(join(folder, 'config.json'), JSON.stringify(model.config));
    writeFileSync(join(folder, 'diffusion_pytorch_model.safetensors'), toSafetensors(weights));
    return folder;
  }

  empty(): string {
    const folder = join(this.root, String(this.count++));
    mkdirSync(folder);
    return folder;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

export interface UNetInputs {
  sample: Tensor;
  timestep: number | number[];
  options: { classLabels?: Tensor | number[] };
}

/** The inputs of a recorded forward, drawn again. */
export function drawInputs(model: RecordedModel, forward: RecordedForward): UNetInputs {
  const { timestep, size, labels, label_width: width } = forward;
  const batch = Array.isArray(timestep) ? timestep.length : (forward.batch ?? 2);
  const generator = new Generator({ seed: forward.seed });
  const sample = randn([batch, model.config.in_channels, ...size], { generator });
  if (labels !== undefined) return { sample, timestep, options: { classLabels: labels } };
  if (width === undefined) return { sample, timestep, options: {} };
  return { sample, timestep, options: { classLabels: randn([batch, width], { generator }) } };
}

/** One forward's numbers; float16 and bfloat16 widened. */
export async function runForward(unet: UNet2DModel, { sample, timestep, options }: UNetInputs): Promise<Tensor> {
  return (await unet.forward(sample, timestep, options)).sample;
}

/** ‖got − want‖ / ‖want‖; NaN, or another length, makes it infinite. */
export function relativeError(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Infinity;
  let [difference, norm] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    difference += (got[i]! - want[i]!) ** 2;
    norm += want[i]! ** 2;
  }
  const error = Math.sqrt(difference / norm);
  return Number.isNaN(error) ? Infinity : error;
}
