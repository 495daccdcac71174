import { checkOptions, showValue } from '../arguments';
import { ArgumentError, QueueFullError, throwIfAborted } from '../errors';
import { UNet2DModel, type UNetLike } from '../models';
import { TorchScriptUNet } from '../models/torchscript-unet';
import { isClassConditional } from '../models/unet-inputs';
import { addon } from '../native/addon';
import type { EngineEvent, EngineHandle, EngineStats } from '../native/addon-types';
import { readBoolean } from '../schedulers/step-arguments';
import { HANDLE } from '../tensor/handle';
import { closedError, PendingSample } from './pending';
import { Plans } from './plans';
import { checkShape, readRequest, shapeOf } from './read-request';
import type { EngineOutputType, SampleOf, SampleRequest } from './request';
import { Telemetry } from './telemetry';

/** Options of {@link SamplerEngine}. */
export interface SamplerEngineOptions {
  /**
   * The most samples that the model sees at once, in 1 … 4096. Default 64; the engine stays below it where the measured knee is
   * lower. A request with a `guidanceScale` is two samples, also where this is 1.
   */
  maxBatchSize?: number;
  /** How many requests may wait to begin, from 1 up. Default 1024. */
  maxQueue?: number;
  /**
   * Runs every batch as one of `maxBatchSize`, filled up with zeros: the same bits for a request whatever shares its batch,
   * where batches of different sizes agree to float rounding (≤ 1e-4 relative). Every step then costs what a full one
   * does. Default false.
   */
  padBatches?: boolean;
  /** [C, H, W] of the requests that bring no latents or image. Default: the model's `inChannels` and `sampleSize`. */
  shape?: readonly [channels: number, height: number, width: number];
}

/** Bounds on what a typing error may allocate. */
export const MAX_BATCH_SIZE = 4096;
const MAX_QUEUE = 10_000_000;

interface PendingTrial {
  resolve(): void;
  reject(reason: unknown): void;
}

/**
 * Runs requests with different step counts, schedulers, η and seeds through one UNet batch, each sample at its own
 * timestep: they join and leave at step boundaries. It works on a thread of its own; nothing blocks the event loop. While a
 * request is under way it keeps the process alive.
 *
 * @example
 * const engine = new SamplerEngine(await UNet2DModel.fromPretrained(EMBEDDED_MODEL));
 * const scheduler = new DDIMScheduler();
 * const images = await Promise.all(
 *   [20, 50].map((numInferenceSteps) => engine.sample({ scheduler, numInferenceSteps, seed: 0 })),
 * );
 * await engine.close();
 */
export class SamplerEngine {
  private readonly handle: EngineHandle;
  private readonly unet: UNetLike;
  private readonly shape: readonly number[] | undefined;
  private readonly maxBatchSize: number;
  private readonly maxQueue: number;
  private readonly plans = new Plans();
  private readonly telemetry: Telemetry;
  private readonly samples = new Map<number, PendingSample>();
  private readonly trials = new Map<number, PendingTrial>();
  /** Requests that wait for a place in the queue, in order. */
  private readonly waiting = new Set<PendingSample>();
  private drained: (() => void)[] = [];
  private closing: { promise: Promise<void>; resolve(): void } | undefined;

  /**
   * @param unet the model, with the weights that it has now: a later `to` or `dispose` changes nothing here.
   * @throws ArgumentError, ShapeError, DisposedError
   */
  constructor(unet: UNetLike, options: SamplerEngineOptions = {}) {
    checkOptions('SamplerEngine', options, ['maxBatchSize', 'maxQueue', 'padBatches', 'shape']);
    if (!(unet instanceof UNet2DModel || unet instanceof TorchScriptUNet)) {
      throw new ArgumentError(`unet must be a UNet2DModel or TorchScriptModel.asUNet(…), got ${showValue(unet)}`);
    }
    const { maxBatchSize = 64, maxQueue = 1024, padBatches = false, shape } = options;
    if (typeof padBatches !== 'boolean') throw new ArgumentError(`padBatches must be true or false, got ${showValue(padBatches)}`);
    this.unet = unet;
    this.shape = checkShape(shape, unet);
    this.maxBatchSize = checkCount('maxBatchSize', maxBatchSize, MAX_BATCH_SIZE);
    this.maxQueue = checkCount('maxQueue', maxQueue, MAX_QUEUE);
    this.handle = new (addon().EngineHandle)(unet[HANDLE], maxBatchSize, maxQueue, padBatches, (events) =>
      this.settle(events),
    );
    this.telemetry = new Telemetry(this);
  }

  /**
   * One image. With a `seed` it is the image of `pipe.run({ batchSize: 1, generator: new Generator({ seed }) })`, whatever
   * its neighbours in the batch: noise and steps to the bit, the UNet within float rounding.
   *
   * @returns a promise that rejects with ERR_QUEUE_FULL, ERR_ABORTED, ERR_DEADLINE, ERR_CLOSED; with ERR_ARGUMENT, ERR_SHAPE,
   * ERR_DTYPE, ERR_CONFIG, ERR_TIMESTEP for a request that can't be; and with what the model throws.
   */
  async sample<O extends EngineOutputType = 'image'>(request: SampleRequest<O>): Promise<SampleOf<O>> {
    const { unet, shape, plans } = this;
    const given = request as unknown as SampleRequest;
    const read = readRequest(given, { unet, shape, plans });
    const pending = new PendingSample(read, given, (abandoned) => this.giveUp(abandoned));
    try {
      throwIfAborted(request.signal);
      // Whoever waits goes first: a place that comes free is not for those who come just then.
      if (this.waiting.size > 0) throw this.queueFull();
      this.submit(pending);
    } catch (error) {
      if (request.wait === true && error instanceof QueueFullError) this.wait(pending);
      else pending.reject(error);
    }
    return (await pending.promise) as SampleOf<O>;
  }

  /** What it has done, and how fast. */
  stats(): EngineStats {
    return this.handle.stats();
  }

  /**
   * Runs these batch sizes, each four times, and times them; requests go on in between. From then on a batch is no larger
   * than where the time per sample stops falling. Without it the engine learns this as it goes.
   *
   * @param options.batchSizes in requests; default: the powers of two up to the most that share a batch, and those
   * @param options.guided for requests with a `guidanceScale`, which share no batch with others. Default false.
   * @returns a promise that rejects with ERR_ARGUMENT, ERR_CLOSED, and what the model throws.
   */
  async warmup(options: { batchSizes?: readonly number[]; guided?: boolean } = {}): Promise<void> {
    checkOptions('warmup', options, ['batchSizes', 'guided']);
    const guided = readBoolean(options.guided, 'guided', false);
    if (guided && this.unet instanceof UNet2DModel && !isClassConditional(this.unet.config)) {
      throw new ArgumentError('guided must not be true: the model takes no classes');
    }
    const most = Math.max(1, Math.floor(this.maxBatchSize / (guided ? 2 : 1)));
    const { batchSizes = powersOfTwo(most) } = options;
    if (!Array.isArray(batchSizes)) throw new ArgumentError(`batchSizes must be an array, got ${showValue(batchSizes)}`);
    const sizes = [...(batchSizes as readonly number[])]; // the caller's may change
    for (const size of sizes) checkCount('batchSizes', size, most);
    if (this.closing !== undefined) throw closedError();
    const shape = this.shape ?? shapeOf(this.unet);
    const id = this.handle.warmUp(shape, sizes, guided);
    return new Promise((resolve, reject) => this.trials.set(id, { resolve, reject }));
  }

  /** Resolves once every request made so far has ended, those that wait for a place among them. */
  async drain(): Promise<void> {
    if (this.samples.size + this.waiting.size === 0) return;
    await new Promise<void>((resolve) => this.drained.push(resolve));
  }

  /** Rejects what is queued and running with ERR_CLOSED, and takes no more; resolves once the engine's thread has ended. */
  close(): Promise<void> {
    if (this.closing !== undefined) return this.closing.promise;
    let resolve = (): void => undefined;
    this.closing = { promise: new Promise<void>((done) => (resolve = done)), resolve: () => resolve() };
    for (const pending of this.waiting) pending.reject(closedError());
    this.waiting.clear();
    this.telemetry.stop();
    this.handle.close();
    return this.closing.promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private queueFull(): QueueFullError {
    return new QueueFullError(`the queue holds maxQueue = ${this.maxQueue} requests, and ${this.waiting.size} more wait for a place`);
  }

  private wait(pending: PendingSample): void {
    this.waiting.add(pending);
    pending.wait();
  }

  /** @throws ClosedError, QueueFullError */
  private submit(pending: PendingSample): void {
    if (this.closing !== undefined) throw closedError();
    pending.id = this.handle.submit(pending.native());
    this.samples.set(pending.id, pending);
  }

  private submitWaiting(): void {
    for (const pending of this.waiting) {
      try {
        this.submit(pending);
      } catch (error) {
        if (error instanceof QueueFullError) return;
        pending.reject(error);
      }
      this.waiting.delete(pending);
    }
  }

  /** The engine frees an abandoned request's place at the next step. */
  private giveUp(pending: PendingSample): void {
    if (pending.id !== undefined) this.handle.cancel(pending.id);
    else if (this.waiting.delete(pending)) this.tellDrained();
  }

  private settle(events: readonly EngineEvent[]): void {
    for (const event of events) this.settleOne(event);
    this.tellDrained();
  }

  private settleOne(event: EngineEvent): void {
    const { kind, id } = event;
    if (kind === 'room') return this.submitWaiting();
    if (kind === 'closed') return this.closing?.resolve();
    const trial = this.trials.get(id);
    if (trial !== undefined) {
      this.trials.delete(id);
      return kind === 'failed' ? trial.reject(event.error) : trial.resolve();
    }
    if (kind === 'warmed') return;
    const milliseconds = this.samples.get(id)?.settle(event);
    if (kind === 'step') return;
    this.samples.delete(id);
    this.telemetry.ended(milliseconds);
  }

  private tellDrained(): void {
    if (this.samples.size + this.waiting.size > 0) return;
    for (const resolve of this.drained.splice(0)) resolve();
  }
}

function checkCount(name: string, value: unknown, most: number): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return value as number;
  throw new ArgumentError(`${name} must be an integer in 1 … ${most}, got ${showValue(value)}`);
}

function powersOfTwo(most: number): number[] {
  const sizes = [];
  for (let size = 1; size < most; size *= 2) sizes.push(size);
  return [...sizes, most];
}
