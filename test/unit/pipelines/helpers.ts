import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { DDIMScheduler, Generator, randn, Tensor, type DType, type UNetLike, type UNetLikeConfig } from '../../../ts/index';
import type { UNetForwardOptions, UNetTimestep } from '../../../ts/models';
import type { FloatingDType } from '../../../ts/tensor';

export { MODEL, rejects } from '../models/fixtures';
export { assertClose, assertSame, fresh, nextDraws, numbers, throwsCode } from '../schedulers/helpers';

/** What a {@link TinyUNet} was asked. */
export interface Call {
  readonly sample: Tensor;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly timestep: UNetTimestep;
  readonly options: UNetForwardOptions | undefined;
  readonly output: Tensor;
}

/** A noise predictor of one formula; elementwise by default, so that a sample does not depend on its batch by a bit. */
export class TinyUNet implements UNetLike {
  readonly config: UNetLikeConfig;
  readonly device = 'cpu';
  readonly calls: Call[] = [];
  dtype: DType;
  disposed = false;
  private readonly predict: (sample: Tensor, timestep: number) => Tensor | Promise<Tensor>;

  constructor({
    predict = (x, t) => x.mul(0.6 - t / 4000).add(0.05),
    dtype = 'float32',
    ...config
  }: Partial<UNetLikeConfig> & { predict?: TinyUNet['predict']; dtype?: DType } = {}) {
    this.config = { inChannels: 1, outChannels: 1, sampleSize: 4, ...config };
    this.predict = predict;
    this.dtype = dtype;
  }

  async forward(sample: Tensor, timestep: UNetTimestep, options?: UNetForwardOptions): Promise<{ sample: Tensor }> {
    const { shape, dtype } = sample;
    const input = sample.to({ dtype: this.dtype });
    const made = await this.predict(input, timestep as number);
    input.dispose();
    const output = made.to({ dtype: this.dtype });
    if (made !== output) made.dispose();
    this.calls.push({ sample, shape: [...shape], dtype, timestep, options, output });
    return { sample: output };
  }

  /** The timesteps it was asked for, in order. */
  get timesteps(): UNetTimestep[] {
    return this.calls.map(({ timestep }) => timestep);
  }

  async to({ dtype }: { device?: string; dtype?: DType }): Promise<this> {
    if (dtype !== undefined) this.dtype = dtype;
    return this;
  }
  async savePretrained(): Promise<void> {}
  dispose(): void {
    this.disposed = true;
  }
}

/** A model that predicts x_0 itself, and a scheduler under which one step from timestep 0 gives it to the bit. */
export function drawing(target: Tensor): { unet: TinyUNet; scheduler: DDIMScheduler } {
  const [, channels = 1, height = 1, width = 1] = target.shape;
  const unet = new TinyUNet({
    inChannels: channels,
    outChannels: channels,
    sampleSize: [height, width],
    predict: () => target.clone(),
  });
  return { unet, scheduler: new DDIMScheduler({ predictionType: 'sample', clipSample: false }) };
}

export const isDisposed = (tensor: Tensor): boolean => inspect(tensor) === 'Tensor(disposed)';

export const seeded = (seed: number, shape: number[], dtype: FloatingDType = 'float32'): Tensor =>
  randn(shape, { generator: new Generator({ seed }), dtype });

/** Runs `use` with an empty folder that is gone afterwards. */
export async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'pipelines-'));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The largest difference of two lists of bytes. */
export function largestDifference(a: Uint8Array, b: Uint8Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
}
