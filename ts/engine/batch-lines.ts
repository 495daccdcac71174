import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { addAbortSignal, Readable } from 'node:stream';
import { showValue } from '../arguments';
import { ArgumentError, NotFoundError } from '../errors';
import { fileProblem } from '../files/atomic-write';
import { readLines, type Line } from '../files/read-lines';
import type { BatchJob } from './batch-job';

/** Where jobs come from: a JSONL file's path, a stream of its bytes, or the jobs themselves. */
export type BatchJobs = string | Readable | Iterable<BatchJob> | AsyncIterable<BatchJob>;

/** One of a run's shards: lines `index`, `index + count`, … */
export interface BatchShard {
  /** 1 … count. */
  readonly index: number;
  readonly count: number;
}

/** Tells the lines of a shard from others'. */
export function linesOf({ index, count }: BatchShard = { index: 1, count: 1 }): (line: number) => boolean {
  return (line) => line % count === index % count;
}

/** A line of a jobs file, or a job of a list: what it holds, or why that can't be told. */
export interface JobLine {
  /** 1 for the first; blank lines count. */
  readonly number: number;
  readonly value?: unknown;
  readonly problem?: string;
}

/** The longest line that is read: room for 100,000 timesteps, and a bound on what a hostile file takes of the memory. */
export const MAX_LINE_BYTES = 1024 * 1024;

/** Spaces, tabs and the carriage return of Windows' line ends. */
const BLANKS: ReadonlySet<number> = new Set([32, 9, 13]);

const isBlank = ({ bytes }: Line): boolean => bytes !== null && bytes.every((byte) => BLANKS.has(byte));

/** The lines of `jobs` that are not blank, until the signal fires: then it throws. @throws NotFoundError, ArgumentError */
export async function* readJobLines(jobs: BatchJobs, signal: AbortSignal): AsyncGenerator<JobLine, void, void> {
  if (typeof jobs !== 'string' && !(jobs instanceof Readable)) return yield* numbered(jobs, signal);
  const stream = typeof jobs === 'string' ? createReadStream(jobs) : jobs;
  addAbortSignal(signal, stream);
  try {
    for await (const line of readLines(stream, MAX_LINE_BYTES)) if (!isBlank(line)) yield parseLine(line);
  } catch (error) {
    throw signal.aborted ? error : readError(jobs, error);
  }
}

/** How many lines {@link readJobLines} will give that `isOurs`; null for what can be read only once. */
export async function countJobLines(
  jobs: BatchJobs,
  isOurs: (line: number) => boolean,
  signal: AbortSignal,
): Promise<number | null> {
  if (Array.isArray(jobs)) return jobs.reduce((count: number, _, i) => count + Number(isOurs(i + 1)), 0);
  if (typeof jobs !== 'string') return null;
  const stats = await stat(jobs).catch((error: unknown) => {
    throw readError(jobs, error);
  });
  if (stats.isDirectory()) throw readError(jobs, { code: 'EISDIR' });
  if (!stats.isFile()) return null;
  let count = 0;
  try {
    const lines = readLines(addAbortSignal(signal, createReadStream(jobs)), MAX_LINE_BYTES);
    for await (const line of lines) if (!isBlank(line) && isOurs(line.number)) count += 1;
  } catch (error) {
    throw signal.aborted ? error : readError(jobs, error);
  }
  return count;
}

function readError(jobs: BatchJobs, cause: unknown): Error {
  const name = typeof jobs === 'string' ? jobs : 'the stream of jobs';
  if ((cause as { code?: unknown }).code === 'ENOENT') return new NotFoundError(`${name} does not exist`, { cause });
  return new ArgumentError(`can't read ${name}: ${fileProblem(cause)}`, { cause });
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function parseLine({ number, bytes }: Line): JobLine {
  if (bytes === null) return { number, problem: `a line must have at most ${MAX_LINE_BYTES} bytes` };
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    return { number, problem: 'it is not UTF-8' };
  }
  try {
    return { number, value: JSON.parse(text) as unknown };
  } catch (error) {
    // V8's message may quote the line; only the place is taken from it.
    const place = /at position \d+/.exec((error as Error).message);
    return { number, problem: `it is not JSON${place === null ? '' : ` (${place[0]})`}, got ${showValue(text)}` };
  }
}

/** The items of a list or generator. One that never gives the next is left behind when the signal fires. */
async function* numbered(
  jobs: Iterable<unknown> | AsyncIterable<unknown>,
  signal: AbortSignal,
): AsyncGenerator<JobLine, void, void> {
  const iterator = Symbol.asyncIterator in jobs ? jobs[Symbol.asyncIterator]() : jobs[Symbol.iterator]();
  // Not Promise.race with one promise of the abort: that keeps something of every item until the signal fires.
  let giveUp = (): void => undefined;
  const onAbort = (): void => giveUp();
  signal.addEventListener('abort', onAbort);
  try {
    for (let number = 1; ; number++) {
      const next = await new Promise<IteratorResult<unknown>>((resolve, reject) => {
        giveUp = () => reject(signal.reason as Error);
        if (signal.aborted) giveUp();
        else Promise.resolve(iterator.next()).then(resolve, reject);
      });
      if (next.done === true) return;
      yield { number, value: next.value };
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    if (!signal.aborted) await iterator.return?.();
  }
}
