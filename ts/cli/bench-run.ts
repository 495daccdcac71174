import os from 'node:os';
import { performance } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';
import { sampleSizeOf } from '../config/unet-config';
import { SamplerEngine } from '../engine';
import { throwIfAborted } from '../errors';
import type { UNetLike } from '../models';
import { embeddingWidth, isClassConditional } from '../models/unet-inputs';
import { addon } from '../native/addon';
import type { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { randn, tidy, zeros, type Tensor } from '../tensor';
import type { BenchCommandOptions } from './bench';
import { formatRate, formatSeconds } from './format';
import { interruptible } from './interrupt';
import { checkSteps, loadPipeline } from './load-model';
import { openProgress } from './progress';
import { UsageError } from './usage';

/** The forward of one batch size. */
interface ForwardTime {
  readonly batch: number;
  /** The median. */
  readonly milliseconds: number;
  readonly samplesPerSecond: number;
}

/** What `bench --json` prints. */
interface BenchResult {
  readonly model: string;
  readonly device: string;
  readonly dtype: string;
  readonly machine: { readonly cpu: string; readonly threads: number; readonly torch: string; readonly node: string };
  readonly forwards: readonly ForwardTime[];
  readonly engine: { readonly maxBatchSize: number; readonly numInferenceSteps: number; readonly imagesPerSecond: number };
}

/** Runs that set things up: the second is captured as a graph on CUDA. */
const WARM_UPS = 3;
const LEAST_RUNS = 3;

/** Measures and prints. */
export async function runBench(options: BenchCommandOptions): Promise<void> {
  const progress = openProgress(options.json === true);
  try {
    const result = await interruptible(async (signal) => {
      const { unet, scheduler } = await loadPipeline({ ...options, scheduler: 'ddim', eta: 0 }, progress, signal);
      try {
        checkSteps(options.steps, scheduler);
        return await measure(unet, scheduler, options, signal);
      } finally {
        unet.dispose();
      }
    });
    progress.stop();
    process.stdout.write(options.json === true ? `${JSON.stringify(result, null, 2)}\n` : describe(result));
  } finally {
    progress.stop();
  }
}

async function measure(
  unet: UNetLike,
  scheduler: DDIMScheduler | DDPMScheduler,
  { model = 'the embedded model', batch, steps, seconds }: BenchCommandOptions,
  signal: AbortSignal,
): Promise<BenchResult> {
  const forwards: ForwardTime[] = [];
  for (const size of batch) {
    const milliseconds = await forwardMilliseconds(unet, size, 1000 * seconds, signal);
    forwards.push({ batch: size, milliseconds, samplesPerSecond: (1000 * size) / milliseconds });
  }
  const maxBatchSize = Math.max(...batch);
  const imagesPerSecond = await engineRate(unet, scheduler, { maxBatchSize, steps, milliseconds: 1000 * seconds }, signal);
  const { intraOp: threads } = addon().threads();
  return {
    model,
    device: unet.device,
    dtype: unet.dtype,
    machine: { cpu: os.cpus()[0]?.model.trim() ?? 'unknown', threads, torch: addon().runtime().torchVersion, node: process.versions.node },
    forwards,
    engine: { maxBatchSize, numInferenceSteps: steps, imagesPerSecond },
  };
}

/** [C, H, W] of the model's samples. @throws UsageError */
function shapeOf({ config }: UNetLike): number[] {
  const size = sampleSizeOf(config);
  if (size === null) throw new UsageError('bench wants a model that states its sampleSize');
  return [config.inChannels, ...size];
}

/** The first class for each sample of a model that has classes. */
function firstClasses({ config, dtype, device }: UNetLike, batch: number): Tensor | undefined {
  if (!isClassConditional(config)) return undefined;
  if (config.classEmbedType !== 'identity') return zeros([batch], { dtype: 'int64', device });
  return zeros([batch, embeddingWidth(config)!], { dtype, device });
}

async function forwardMilliseconds(unet: UNetLike, batch: number, milliseconds: number, signal: AbortSignal): Promise<number> {
  const x = randn([batch, ...shapeOf(unet)], { device: unet.device });
  const labels = firstClasses(unet, batch);
  const times: number[] = [];
  let began = performance.now();
  try {
    for (let run = -WARM_UPS; run < LEAST_RUNS || performance.now() - began < milliseconds; run++) {
      if (run === 0) began = performance.now();
      const start = performance.now();
      const { sample } = await unet.forward(x, 500, { signal, ...(labels === undefined ? {} : { classLabels: labels }) });
      finish(sample);
      if (run >= 0) times.push(performance.now() - start);
    }
  } finally {
    x.dispose();
    labels?.dispose();
  }
  return times.sort((a, b) => a - b)[times.length >> 1]!;
}

/** Waits until the device has made a tensor, and frees it. */
function finish(tensor: Tensor): void {
  if (tensor.device !== 'cpu') tidy(() => tensor.reshape([-1]).narrow(0, 0, 1).item());
  tensor.dispose();
}

interface EngineRun {
  readonly maxBatchSize: number;
  readonly steps: number;
  readonly milliseconds: number;
}

/** Images a second of an engine that is never short of requests. */
async function engineRate(
  unet: UNetLike,
  scheduler: DDIMScheduler | DDPMScheduler,
  { maxBatchSize, steps, milliseconds }: EngineRun,
  signal: AbortSignal,
): Promise<number> {
  const engine = new SamplerEngine(unet, { maxBatchSize, maxQueue: 2 * maxBatchSize });
  const labels = firstClasses(unet, 1);
  const classLabel = labels === undefined ? {} : { classLabel: labels.dtype === 'int64' ? 0 : labels.reshape([-1]) };
  let failure: unknown;
  const ask = (seed: number): void => {
    engine.sample({ scheduler, numInferenceSteps: steps, seed, outputType: 'latent', ...classLabel }).then(
      (latent) => {
        latent.dispose();
        ask(seed);
      },
      (error: unknown) => (failure ??= error),
    );
  };
  try {
    for (let seed = 0; seed < 2 * maxBatchSize; seed++) ask(seed);
    const settled = async (least: number, until: number): Promise<{ steps: number; at: number }> => {
      const { steps: before } = engine.stats();
      while (performance.now() < until || engine.stats().steps - before < least) {
        throwIfAborted(signal);
        if (failure !== undefined) throw failure as Error;
        await setTimeout(10);
      }
      return { steps: engine.stats().sampleSteps, at: performance.now() };
    };
    const first = await settled(WARM_UPS, 0);
    const last = await settled(LEAST_RUNS, performance.now() + milliseconds);
    return (1000 * (last.steps - first.steps)) / (last.at - first.at) / steps;
  } finally {
    await engine.close();
    labels?.dispose();
  }
}

function describe({ model, device, dtype, machine, forwards, engine }: BenchResult): string {
  const { cpu, threads, torch, node } = machine;
  const rows = forwards.map(({ batch, milliseconds, samplesPerSecond }) => [
    `forward, batch ${batch}`,
    formatSeconds(milliseconds / 1000).replace(/^0\.\d+ s$/, `${milliseconds.toPrecision(3)} ms`),
    `${formatRate(samplesPerSecond)} samples/s`,
  ]);
  rows.push([`DDIM-${engine.numInferenceSteps}, ${engine.maxBatchSize} at once`, '', `${formatRate(engine.imagesPerSecond)} images/s`]);
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map(([what, time, rate]) => `${what!.padEnd(widths[0]!)}  ${time!.padStart(widths[1]!)}  ${rate}`);
  const where = `${model}, ${dtype} on ${device}; ${threads} threads of ${cpu}, torch ${torch}, Node ${node}`;
  return `${[where, ...lines].join('\n')}\n`;
}
