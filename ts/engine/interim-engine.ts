import { ArgumentError, DiffusersError, throwIfAborted } from '../errors';
import { DiffusionImage, toImages } from '../image';
import type { UNetLike } from '../models';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { Generator, randn, Tensor, tidy, type FloatingDType } from '../tensor';
import { callAten } from '../tensor/tensor';
import { sampleSizeOf } from '../config/unet-config';

/** What the batch asks of SamplerEngine: the part of SampleRequest that it uses. Replaced by ./request. */
export interface SampleRequest {
  scheduler: DDPMScheduler | DDIMScheduler;
  numInferenceSteps?: number;
  timesteps?: ArrayLike<number>;
  eta?: number;
  useClippedModelOutput?: boolean;
  seed?: number | bigint;
  rng?: 'torch' | 'philox';
  classLabel?: number;
  priority?: number;
  signal?: AbortSignal;
  wait?: boolean;
  image?: DiffusionImage;
  strength?: number;
}

/** Stands for SamplerEngine until ./sampler-engine is there: each request is a loop of its own, a few at a time. */
export class SamplerEngine {
  private running = 0;
  private closed = false;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly unet: UNetLike,
    private readonly options: { maxBatchSize?: number; maxQueue?: number } = {},
  ) {}

  async sample(request: SampleRequest): Promise<DiffusionImage> {
    while (this.running >= Math.min(2, this.options.maxBatchSize ?? 2)) await new Promise<void>((wake) => this.waiting.push(wake));
    this.running += 1;
    try {
      return await this.draw(request);
    } finally {
      this.running -= 1;
      this.waiting.shift()?.();
    }
  }

  private async draw({ scheduler: given, signal, classLabel, rng = 'torch', ...o }: SampleRequest): Promise<DiffusionImage> {
    if (rng !== 'torch') throw new ArgumentError(`rng must be torch, got ${rng}`);
    const scheduler = (given instanceof DDIMScheduler ? DDIMScheduler : DDPMScheduler).fromConfig(given.config);
    scheduler.setTimesteps(o.timesteps === undefined ? { numInferenceSteps: o.numInferenceSteps! } : { timesteps: o.timesteps });
    const { unet } = this;
    const generator = new Generator({ seed: o.seed ?? 0 });
    const [height, width] = sampleSizeOf(unet.config)!;
    const shape = [1, unet.config.inChannels, height, width];
    let x = randn(shape, { generator, dtype: unet.dtype as FloatingDType }).to({ dtype: 'float32' });
    let timesteps = Array.from(scheduler.timesteps);
    if (o.image !== undefined) {
      const { data, channels } = o.image;
      if (o.image.height !== height || o.image.width !== width || channels !== shape[1]) throw new ArgumentError('image must have the size of the model');
      timesteps = timesteps.slice(timesteps.length - Math.max(1, Math.floor(timesteps.length * o.strength!)));
      const start = Tensor.from(Float32Array.from(data, (v) => v / 127.5 - 1), [1, height, width, channels]).permute([0, 3, 1, 2]).contiguous();
      x = scheduler.addNoise(start, x, timesteps[0]!);
    }
    const labels = classLabel === undefined ? {} : { classLabels: [classLabel] };
    for (const timestep of timesteps) {
      throwIfAborted(signal);
      if (this.closed) throw new DiffusersError('ERR_CLOSED', 'the engine is closed');
      const { sample } = await unet.forward(x, timestep, labels);
      const eta = scheduler instanceof DDIMScheduler ? { eta: o.eta ?? 0, useClippedModelOutput: o.useClippedModelOutput ?? false } : {};
      const { prevSample } = await scheduler.stepAsync(sample, timestep, x, { ...eta, generator, returnPredOriginalSample: false });
      sample.dispose();
      x.dispose();
      x = prevSample;
    }
    throwIfAborted(signal);
    const output = tidy(() => (callAten('round', [x.div(2).add(0.5).clamp(0, 1).permute([0, 2, 3, 1]).mul(255)]) as Tensor).to({ dtype: 'uint8' }).contiguous());
    const data = output.toTypedArray() as Uint8Array;
    output.dispose();
    x.dispose();
    return toImages({ data, n: 1, h: height, w: width, c: shape[1]! })[0]!;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
