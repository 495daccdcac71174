import { createReadStream } from 'node:fs';
import { open, opendir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { isPlainObject, showValue } from '../arguments';
import { ArgumentError } from '../errors';
import { writeError } from '../files/atomic-write';
import { NEWLINE, readLines } from '../files/read-lines';
import { EXTENSION_OF_FORMAT } from '../image';
import { digestOptions, type BatchIds } from './batch-ids';
import { idOf } from './batch-job';
import { MAX_LINE_BYTES, type BatchShard } from './batch-lines';
import { checkSameRun, type BatchRecord, type BatchRunRecord } from './batch-records';

const MANIFEST = /^manifest(-\d+-of-\d+)?\.jsonl$/;

/** Names read at once: a folder may have a million. */
const MANY = { bufferSize: 1024 };

/** A record is a line of a jobs file and what is known of it besides. */
const MAX_RECORD_BYTES = 2 * MAX_LINE_BYTES;

/** The name of the manifest of a shard, or of a run that has none. */
export function manifestName(shard: BatchShard | undefined): string {
  return shard === undefined ? 'manifest.jsonl' : `manifest-${shard.index}-of-${shard.count}.jsonl`;
}

/**
 * Reads what is finished out of all manifests in a folder: of runs before, and of other shards, also of another count.
 * Images whose files are gone are not finished.
 *
 * @throws ArgumentError for a manifest that is damaged, or that was made with another model.
 */
export async function readFinished(folder: string, run: BatchRunRecord, ids: BatchIds, signal: AbortSignal): Promise<void> {
  for (const name of await manifestsIn(folder)) await readManifest(join(folder, name), run, ids, signal);
  if (ids.finished === 0) return;
  const extension = EXTENSION_OF_FORMAT[run.format];
  // One look at the folder costs less than one at each image.
  for await (const { name } of await opendir(folder, MANY)) {
    if (name.endsWith(extension)) ids.found(name.slice(0, -extension.length));
    signal.throwIfAborted();
  }
}

async function manifestsIn(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of await opendir(folder, MANY)) if (MANIFEST.test(name)) names.push(name);
  return names.sort();
}

async function readManifest(file: string, run: BatchRunRecord, ids: BatchIds, signal: AbortSignal): Promise<void> {
  if (!(await stat(file)).isFile()) throw new ArgumentError(`${file} must be a file`);
  for await (const { number, bytes, isTerminated } of readLines(createReadStream(file, { signal }), MAX_RECORD_BYTES)) {
    if (!isTerminated) return; // torn, or being written by another shard's run
    const record = parseRecord(bytes);
    if (record === undefined) {
      const advice = 'put it right, or take the line out to draw its image again';
      throw new ArgumentError(`line ${number} of ${file} is damaged; ${advice}`);
    }
    if (record['record'] === 'run') checkSameRun(file, record, run);
    if (record['record'] === 'image') ids.finish(record['id'] as string, digestOf(record));
  }
}

/** A record as far as it is needed here; undefined for what is none. */
function parseRecord(bytes: Buffer | null): Record<string, unknown> | undefined {
  try {
    const record: unknown = JSON.parse(bytes!.toString('utf8'));
    if (!isPlainObject(record)) return undefined;
    if (record['record'] === 'image') return idOf(record) === null || digestOf(record) === undefined ? undefined : record;
    return record['record'] === 'run' || record['record'] === 'failure' ? record : undefined;
  } catch {
    return undefined;
  }
}

function digestOf({ seed, options }: Record<string, unknown>): bigint {
  if (!isPlainObject(options)) throw new ArgumentError(`options must be an object, got ${showValue(options)}`);
  return digestOptions(BigInt(seed as string | number), options);
}

/** The manifest of a run, to which lines are added. The caller has locked it. */
export class Manifest {
  private waiting: { line: string; resolve: () => void; reject: (error: Error) => void }[] = [];
  private isWriting = false;
  private broken: Error | undefined;

  private constructor(
    readonly file: string,
    private readonly handle: FileHandle,
    /** Of the lines that are whole and on the disk. */
    private bytes: number,
    /** The line that comes before the first of this run. */
    private head: string,
  ) {}

  /** Opens it, without its last line if that is torn. @throws ArgumentError where it can't be written. */
  static async open(file: string, run: BatchRunRecord): Promise<Manifest> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(file, 'a+');
      const bytes = await wholeBytes(handle);
      await handle.truncate(bytes);
      return new Manifest(file, handle, bytes, toLine(run));
    } catch (error) {
      await handle?.close();
      throw writeError(file, error);
    }
  }

  /**
   * Adds a record; it is on the disk when the promise resolves. What is added meanwhile goes out together, in one write.
   *
   * @throws ArgumentError where it can't be written: then no part of it is, and nothing after it.
   */
  async append(record: BatchRecord): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ line: toLine(record), resolve, reject });
      if (!this.isWriting) void this.writeWaiting();
    });
  }

  private async writeWaiting(): Promise<void> {
    this.isWriting = true;
    while (this.waiting.length > 0) {
      const records = this.waiting.splice(0);
      try {
        await this.write(Buffer.from(this.head + records.map(({ line }) => line).join('')));
        for (const { resolve } of records) resolve();
      } catch (error) {
        this.broken = writeError(this.file, error);
        for (const { reject } of records) reject(this.broken);
      }
    }
    this.isWriting = false;
  }

  private async write(lines: Buffer): Promise<void> {
    if (this.broken !== undefined) throw this.broken;
    try {
      await this.handle.appendFile(lines);
      await this.handle.datasync();
    } catch (error) {
      // What a full disk had room for is no line.
      await this.handle.truncate(this.bytes).catch(() => undefined);
      throw error;
    }
    this.bytes += lines.length;
    this.head = '';
  }

  /** After everything that was added has settled. */
  async close(): Promise<void> {
    await this.handle.close();
  }
}

const toLine = (record: BatchRecord): string => `${JSON.stringify(record)}\n`;

/** How many of a file's bytes end with a newline, looked for from its end. */
async function wholeBytes(handle: FileHandle): Promise<number> {
  const buffer = Buffer.alloc(64 * 1024);
  for (let end = (await handle.stat()).size; end > 0; ) {
    const from = Math.max(0, end - buffer.length);
    const { bytesRead } = await handle.read(buffer, 0, end - from, from);
    const newline = buffer.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    if (newline >= 0) return from + newline + 1;
    end = from;
  }
  return 0;
}
