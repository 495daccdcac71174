import { hash } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { ArgumentError, DiffusersError } from '../errors';
import { writeFileAtomic } from '../files/atomic-write';
import { EXTENSION_OF_FORMAT } from '../image';
import { readImage } from '../image/read-image';
import { digestOptions, seedOfId, type BatchIds } from './batch-ids';
import { idOf, readJob, type ReadJob } from './batch-job';
import { linesOf, readJobLines, type JobLine } from './batch-lines';
import type { Manifest } from './batch-manifest';
import type { BatchSummary, CheckedBatchOptions } from './batch-options';
import { seedForJson } from './batch-records';
import type { BatchSchedulers } from './batch-schedulers';
import { Slots } from './batch-slots';
import type { SampleRequest } from './request';
import type { SamplerEngine } from './sampler-engine';

/** What a run works with; everything is open, and the manifest locked. */
export interface BatchParts {
  readonly options: CheckedBatchOptions;
  readonly engine: Pick<SamplerEngine, 'sample'>;
  readonly schedulers: BatchSchedulers;
  readonly ids: BatchIds;
  readonly manifest: Manifest;
  readonly temporaryFolder: string;
  /** How many lines there are, if that is known. */
  readonly total: number | null;
  /** The most lines that are being drawn, encoded, written and recorded. */
  readonly inFlight: number;
  /** Ends the run; its reason is what the run rejects with. */
  readonly stop: AbortController;
}

/** What an image can't be written for though others can: something of its name is in the way. */
const OF_ONE_NAME: ReadonlySet<unknown> = new Set(['EISDIR', 'EEXIST', 'ENOTEMPTY']);

/** After these, no other request will do better. */
const FINAL_CODES: ReadonlySet<string> = new Set(['ERR_CLOSED', 'ERR_DISPOSED']);

/** The lines of one run, from reading to recording. */
export class BatchWork {
  private drawn = 0;
  private kept = 0;
  private failed = 0;

  constructor(private readonly parts: BatchParts) {}

  /** Settles every line of the run. Rejects only after all that is under way has ended. */
  async run(): Promise<BatchSummary> {
    const { options, ids, inFlight, manifest, stop } = this.parts;
    const isOurs = linesOf(options.shard);
    this.tellProgress();
    const started = performance.now();
    const slots = new Slots(inFlight);
    try {
      for await (const line of readJobLines(options.jobs, stop.signal)) {
        // Ids are looked at in the lines of all shards, so that each of them calls the same lines duplicates.
        const id = idOf(line.value);
        const first = id === null ? line.number : ids.claim(id, line.number);
        if (isOurs(line.number)) await slots.start(() => this.settle(line, id, first));
      }
    } finally {
      await slots.allEnded();
    }
    stop.signal.throwIfAborted();
    const { drawn, kept, failed } = this;
    return { manifest: manifest.file, drawn, kept, failed, seconds: (performance.now() - started) / 1000 };
  }

  /** Never rejects: what does not concern this line alone ends the run. */
  private async settle(line: JobLine, id: string | null, first: number): Promise<void> {
    const { stop } = this.parts;
    if (stop.signal.aborted) return;
    try {
      const job = this.read(line, first);
      if (this.isFinished(job)) {
        this.kept += 1;
      } else {
        await this.draw(line.number, job);
        this.drawn += 1;
      }
    } catch (error) {
      if (stop.signal.aborted) return; // neither done nor failed: the next run's
      if (error instanceof DiffusersError && FINAL_CODES.has(error.code)) return stop.abort(error);
      await this.fail(line.number, id, error);
    }
    this.tellProgress();
  }

  /** @throws ArgumentError for a line that is no job, or a second one of the same id. */
  private read({ number, value, problem }: JobLine, first: number): ReadJob {
    const { options, schedulers } = this.parts;
    if (problem !== undefined) throw new ArgumentError(problem);
    const job = readJob(value, { scheduler: schedulers.default, ...options.defaults }, seedOfId);
    if (first === number) return job;
    throw new ArgumentError(`id must be of one line only, got "${job.id}", which line ${first} has`);
  }

  /** @throws ArgumentError if the image is there, drawn with other options. */
  private isFinished({ id, seed, options }: ReadJob): boolean {
    const before = this.parts.ids.finishedWith(id);
    if (before === undefined || before === digestOptions(seed, options)) return before !== undefined;
    const advice = 'take another id, or take its image away';
    throw new ArgumentError(`"${id}" is there already, drawn with other options (the manifest has them); ${advice}`);
  }

  private async draw(line: number, job: ReadJob): Promise<void> {
    const { engine, options, temporaryFolder } = this.parts;
    const { id, seed } = job;
    const started = performance.now();
    const image = await engine.sample(await this.request(job));
    const bytes = await image.toBuffer(options.format);
    const seconds = Math.round(performance.now() - started) / 1000;
    const file = `${id}${EXTENSION_OF_FORMAT[options.format]}`;
    await this.orStop(
      () => writeFileAtomic(join(options.out, file), bytes, { temporaryFolder, sync: true }),
      (error) => !OF_ONE_NAME.has((error.cause as { code?: unknown } | undefined)?.code),
    );
    await this.record({
      record: 'image',
      id,
      line,
      seed: seedForJson(seed),
      options: job.options,
      file,
      sha256: hash('sha256', bytes),
      seconds,
      time: new Date().toISOString(),
    });
  }

  private async request({ seed, priority, options: imageOptions }: ReadJob): Promise<SampleRequest<'image'>> {
    const { options, schedulers, stop } = this.parts;
    const { scheduler, image, ...rest } = imageOptions;
    const { inChannels } = options.unet.config;
    return {
      ...rest,
      scheduler: schedulers.get(scheduler),
      seed,
      priority,
      ...(image === undefined ? {} : { image: await readImage(join(options.images, image), inChannels) }),
      signal: stop.signal,
      wait: true,
    };
  }

  private async fail(line: number, id: string | null, error: unknown): Promise<void> {
    const { code = 'ERR_OP', message } = error as Partial<DiffusersError> & Error;
    const time = new Date().toISOString();
    const failure = { record: 'failure', id, line, error: { code, message: `line ${line}: ${message}` }, time } as const;
    try {
      await this.record(failure);
    } catch {
      return; // the run has ended with it
    }
    this.failed += 1;
    this.tell(() => this.parts.options.onFailure?.(failure));
  }

  private record(record: Parameters<Manifest['append']>[0]): Promise<void> {
    return this.orStop(() => this.parts.manifest.append(record), () => true);
  }

  /** Does what may show that nothing more can be written; then it ends the run. */
  private async orStop(write: () => Promise<void>, isFinal: (error: Error) => boolean): Promise<void> {
    const { manifest, stop } = this.parts;
    // After an abort what is drawn is written; after this it can't be, or the folder is another run's by now.
    if (stop.signal.reason instanceof ArgumentError) throw stop.signal.reason;
    try {
      await write();
    } catch (error) {
      if (error instanceof Error && isFinal(error)) {
        const message = `${error.message}; what ${manifest.file} has stays done, and the next run goes on from it`;
        stop.abort(new ArgumentError(message, { cause: error.cause }));
      }
      throw error;
    }
  }

  private tellProgress(): void {
    const { drawn, kept, failed } = this;
    const { options, total } = this.parts;
    this.tell(() => options.onProgress?.({ total, drawn, kept, failed }));
  }

  /** Calls what the caller gave; its failure is the run's. */
  private tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.parts.stop.abort(error);
    }
  }
}
