import { setMaxListeners } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DIFFUSERS_VERSION } from '../config/scheduler-config';
import { sampleSizeOf } from '../config/unet-config';
import { abortError, ArgumentError, throwIfAborted } from '../errors';
import { writeError } from '../files/atomic-write';
import { ensureWritableFolder } from '../files/ensure-writable-folder';
import { lockFile } from '../files/lock-file';
import { DiffusionImage } from '../image';
import { digestWeights } from '../models/weights-digest';
import { addon, packageRoot } from '../native/addon';
import { BatchIds } from './batch-ids';
import { countJobLines, linesOf } from './batch-lines';
import { Manifest, readFinished } from './batch-manifest';
import { checkBatchOptions, type BatchOptions, type BatchSummary, type CheckedBatchOptions } from './batch-options';
import type { BatchRunRecord } from './batch-records';
import { BatchSchedulers } from './batch-schedulers';
import { BatchWork } from './batch-work';
import { SamplerEngine } from './sampler-engine';

/** Requests for the engine to choose from while a batch of them runs, so that a place that gets free is filled at once. */
const spare = (batchSize: number): number => batchSize + 8;

/**
 * Draws an image for each line of a jobs file, many at once, each request at its own step ({@link SamplerEngine}).
 *
 * Each image goes into a file of its own in `out`, and a record of it into the manifest beside them. A run may be killed at
 * any moment and started again: an image is recorded when it is there whole, and what is recorded is not drawn again.
 * Lines that can't be drawn are recorded as failures and don't stop the rest; the next run tries them again. Memory
 * stays flat but for 64 bytes or so an id.
 *
 * @returns a promise of how many lines were drawn, kept and failed. It rejects with ERR_ARGUMENT for a wrong option, a
 * manifest that another run has locked, that is damaged, or that was made with another model, dtype, format or
 * scheduler config; and where nothing can be written, as on a full disk (what is recorded stays). ERR_ABORTED after
 * `signal`; ERR_NOT_FOUND without the jobs file; ERR_CLOSED or ERR_DISPOSED where engine or model are taken away.
 * @example
 * const { unet, scheduler } = await DDIMPipeline.fromPretrained(EMBEDDED_MODEL);
 * const jobs = [{ id: 'shirt', seed: 1, numInferenceSteps: 20 }, { id: 'boot', seed: 2, scheduler: 'ddpm' }];
 * const { drawn, failed } = await runBatch({ jobs, out: 'images', unet, scheduler });
 */
export async function runBatch(options: BatchOptions): Promise<BatchSummary> {
  const checked = checkBatchOptions(options);
  const { signal } = checked;
  throwIfAborted(signal);
  const stop = new AbortController();
  setMaxListeners(0, stop.signal); // one a request in flight
  const onAbort = (): void => stop.abort(abortError(signal!));
  signal?.addEventListener('abort', onAbort);
  try {
    return await run(checked, stop);
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

async function run(options: CheckedBatchOptions, stop: AbortController): Promise<BatchSummary> {
  const { out, jobs, shard, manifest } = options;
  const total = await countJobLines(jobs, linesOf(shard), stop.signal);
  await checkEncodable(options);
  await ensureWritableFolder(out);
  const unlock = await lockFile(manifest, () => {
    stop.abort(new ArgumentError(`${manifest} was taken over by another run`));
  });
  try {
    return await runLocked(options, total, stop);
  } finally {
    await unlock();
  }
}

async function runLocked(options: CheckedBatchOptions, total: number | null, stop: AbortController): Promise<BatchSummary> {
  const { out, unet, batchSize } = options;
  const schedulers = new BatchSchedulers(options.scheduler);
  const ids = new BatchIds();
  const record = await runRecord(options, schedulers, stop.signal);
  await readFinished(out, record, ids, stop.signal);
  const manifest = await Manifest.open(options.manifest, record);
  // The manifest's own, since other shards may be at work: what a killed run left in it is nobody's.
  const temporaryFolder = join(out, `.${basename(options.manifest)}.tmp`);
  const inFlight = batchSize + spare(batchSize);
  const own = options.engine === undefined && new SamplerEngine(unet, { maxBatchSize: batchSize, maxQueue: inFlight });
  const engine = own || options.engine!;
  try {
    await renew(temporaryFolder);
    const work = new BatchWork({ options, engine, schedulers, ids, manifest, temporaryFolder, total, inFlight, stop });
    return await work.run();
  } finally {
    if (own) await own.close();
    await manifest.close();
    await rm(temporaryFolder, { recursive: true, force: true }).catch(() => undefined); // or by the next run
  }
}

async function runRecord(
  { unet, format, shard }: CheckedBatchOptions,
  schedulers: BatchSchedulers,
  signal: AbortSignal,
): Promise<BatchRunRecord> {
  const { device, dtype, file } = unet;
  return {
    record: 'run',
    time: new Date().toISOString(),
    versions: versions(),
    device,
    dtype,
    weights: typeof file === 'string' ? await digestWeights(file, signal) : null,
    schedulers: schedulers.configs(),
    format,
    shard: shard === undefined ? null : `${shard.index}/${shard.count}`,
  };
}

async function renew(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
  } catch (error) {
    throw writeError(folder, error);
  }
}

function versions(): BatchRunRecord['versions'] {
  const { version } = require(join(packageRoot, 'package.json')) as { version: string };
  const { torchVersion } = addon().runtime();
  return { 'node-diffusers': version, node: process.versions.node, torch: torchVersion, diffusers: DIFFUSERS_VERSION };
}

/** Encodes an empty image of the model's size, so that what can't be done is said before anything is drawn. */
async function checkEncodable({ unet, format }: CheckedBatchOptions): Promise<void> {
  const size = sampleSizeOf(unet.config);
  if (size === null) return;
  const [height, width] = size;
  const { inChannels: channels } = unet.config;
  await new DiffusionImage(new Uint8Array(height * width * channels), { width, height, channels }).toBuffer(format);
}
