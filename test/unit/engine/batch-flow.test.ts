import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { DiffusersError, DiffusionImage, type BatchJob, type BatchOptions } from '../../../ts/index';
import { timesOpen } from '../files/open-files';
import { batch, counts, greyUNet, imagesIn, inFolder, jobsOf, recordsOf, rejects, toJsonl } from './batch-helpers';

type Engine = NonNullable<BatchOptions['engine']>;

const blank = (value = 0): DiffusionImage => new DiffusionImage(new Uint8Array(64).fill(value), { width: 8, height: 8, channels: 1 });

/** An engine whose requests wait until they are let go. */
function gatedEngine(): { engine: Engine; waiting: (() => void)[]; asked: () => number } {
  const waiting: (() => void)[] = [];
  let asked = 0;
  const sample = async (): Promise<DiffusionImage> => {
    asked += 1;
    await new Promise<void>((resolve) => waiting.push(resolve));
    return blank();
  };
  return { engine: { sample } as unknown as Engine, waiting, asked: () => asked };
}

const engineOf = (sample: (request: { seed?: number | bigint; signal?: AbortSignal }) => Promise<DiffusionImage>): Engine =>
  ({ sample }) as unknown as Engine;

const settled = (ms = 50): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function* endless(): AsyncGenerator<BatchJob> {
  for (let i = 0; ; i++) yield { id: `r${i}`, numInferenceSteps: 1 };
}

describe('engine/batch-run: the flow', () => {
  it('keeps the engine more than full, and no more than that in flight', () =>
    inFolder(async (out) => {
      const { engine, waiting, asked } = gatedEngine();
      let given = 0;
      function* jobs(): Generator<BatchJob> {
        for (const job of jobsOf(200)) {
          given += 1;
          yield job;
        }
      }
      const run = batch({ jobs: jobs(), out, engine, batchSize: 10 });
      while (asked() < 28) await settled(5);
      await settled();
      assert.deepEqual([asked(), given], [28, 29]); // 10, as many to follow them, 8; and the line that waits for its place
      for (let ended = 0; ended < 200; ended++) {
        while (waiting.length === 0) await settled(1);
        waiting.shift()!();
      }
      assert.deepEqual(counts(await run), [200, 0, 0]);
    }));

  it('asks for the next images while one is being written', () =>
    inFolder(async (out) => {
      const jobs = jobsOf(40);
      let [slow, asked] = [true, 0];
      const image = blank();
      const toBuffer = image.toBuffer.bind(image);
      // The first image takes as long to encode as all others to be drawn, encoded and recorded.
      const engine = engineOf(async () => {
        if (asked++ > 0) return blank();
        image.toBuffer = async (format) => {
          while (slow) await settled(1);
          return toBuffer(format);
        };
        return image;
      });
      const onProgress = ({ drawn }: { drawn: number }): void => void (drawn === 39 && (slow = false));
      assert.deepEqual(counts(await batch({ jobs, out, engine, batchSize: 1, onProgress })), [40, 0, 0]);
    }));

  it('goes on after a request that failed, and ends with an engine that was closed', () =>
    inFolder(async (folder) => {
      const odd = engineOf(async ({ seed }) => {
        if (Number(seed) % 2 === 1) throw new DiffusersError('ERR_OUT_OF_MEMORY', 'no room');
        return blank();
      });
      const failing = await batch({ jobs: jobsOf(10), out: join(folder, 'a'), engine: odd });
      assert.deepEqual(counts(failing), [5, 0, 5]);
      const { failures } = await recordsOf(failing.manifest);
      assert.deepEqual(failures.map(({ line }) => line), [1, 3, 5, 7, 9]);
      assert.deepEqual(failures[0]!.error, { code: 'ERR_OUT_OF_MEMORY', message: 'line 1: no room' });
      let asked = 0;
      const closing = engineOf(async () => {
        if (++asked <= 3) return blank();
        throw new DiffusersError('ERR_CLOSED', 'the engine is closed');
      });
      await rejects(() => batch({ jobs: endless(), out: join(folder, 'b'), engine: closing, batchSize: 1 }), 'ERR_CLOSED', /^the engine is closed$/);
      const { images, failures: none } = await recordsOf(join(folder, 'b/manifest.jsonl'));
      assert.deepEqual([images.length <= 3, none], [true, []]);
    }));

  it('ends with what a listener throws, or the source of jobs', () =>
    inFolder(async (out) => {
      const own = new Error('mine');
      const fails = () => {
        throw own;
      };
      const is = (error: unknown) => error === own;
      await assert.rejects(batch({ jobs: endless(), out, onProgress: ({ drawn }) => void (drawn === 2 && fails()) }), is);
      await assert.rejects(batch({ jobs: [{ id: '' }], out, onFailure: fails }), is);
      function* breaking(): Generator<BatchJob> {
        yield* jobsOf(3);
        throw own;
      }
      await rm(out, { recursive: true });
      await assert.rejects(batch({ jobs: breaking(), out }), /mine/);
      assert.deepEqual(await imagesIn(out), ['r1.png', 'r2.png', 'r3.png']); // what was asked for by then
    }));

  it('ends at its signal, whether it draws, waits for a place or for a job', () =>
    inFolder(async (folder) => {
      const reason = new Error('enough');
      const stopAfter = async (name: string, options: Partial<BatchOptions> & Pick<BatchOptions, 'jobs'>, drawn: number) => {
        const controller = new AbortController();
        const onProgress = (progress: { drawn: number }): void => void (progress.drawn >= drawn && controller.abort(reason));
        const run = batch({ out: join(folder, name), signal: controller.signal, onProgress, ...options });
        const error = await rejects(() => run, 'ERR_ABORTED', /aborted by its signal/);
        assert.equal(error.cause, reason);
        const { images, failures } = await recordsOf(join(folder, name, 'manifest.jsonl'));
        assert.deepEqual(images.map(({ file }) => file).sort(), await imagesIn(join(folder, name)));
        assert.deepEqual([images.length >= drawn, failures], [true, []]);
      };
      await stopAfter('draws', { jobs: endless() }, 3);
      await stopAfter('waits', { jobs: endless(), batchSize: 1 }, 1);
      async function* stuck(): AsyncGenerator<BatchJob> {
        yield* jobsOf(2);
        await new Promise(() => undefined);
      }
      await stopAfter('stuck', { jobs: stuck() }, 2);
    }));

  it('ends at its signal before anything is drawn', () =>
    inFolder(async (folder) => {
      const [jobs, reason, controller] = [join(folder, 'jobs.jsonl'), new Error('enough'), new AbortController()];
      await writeFile(jobs, toJsonl(jobsOf(3)));
      const run = batch({ jobs, out: join(folder, 'out'), signal: controller.signal });
      controller.abort(reason);
      assert.equal((await rejects(() => run, 'ERR_ABORTED', /aborted by its signal/)).cause, reason);
    }));

  it('leaves no listener on its signal and holds no file open, however it ends', () =>
    inFolder(async (out) => {
      const { signal } = new AbortController();
      const { manifest } = await batch({ jobs: jobsOf(2), out, signal });
      const fails = () => {
        throw new Error('mine');
      };
      await assert.rejects(batch({ jobs: [{ id: '' }], out, signal, onFailure: fails }), /mine/);
      assert.equal(getEventListeners(signal, 'abort').length, 0);
      if (process.platform === 'linux') assert.equal(timesOpen(manifest), 0);
    }));

  it('lets no second run at a manifest', () =>
    inFolder(async (out) => {
      const { engine, waiting } = gatedEngine();
      const first = batch({ jobs: jobsOf(1), out, engine });
      while (waiting.length === 0) await settled(5);
      await rejects(() => batch({ jobs: jobsOf(1), out }), 'ERR_ARGUMENT', /manifest\.jsonl is in use by another run$/);
      assert.deepEqual(counts(await batch({ jobs: [], out, shard: { index: 1, count: 2 } })), [0, 0, 0]); // another manifest
      waiting[0]!();
      assert.deepEqual(counts(await first), [1, 0, 0]);
      assert.deepEqual(counts(await batch({ jobs: jobsOf(1), out })), [0, 1, 0]);
    }));

  it('writes nothing more when another run has taken its place', () =>
    inFolder(async (out) => {
      const { engine, waiting } = gatedEngine();
      const run = batch({ jobs: jobsOf(3), out, engine });
      const lost = rejects(() => run, 'ERR_ARGUMENT', /manifest\.jsonl was taken over by another run$/);
      while (waiting.length < 3) await settled(5);
      await rm(join(out, 'manifest.jsonl.lock'), { recursive: true });
      await settled(1500); // its next sign of life
      for (const letGo of waiting) letGo();
      await lost;
      assert.deepEqual([await imagesIn(out), await readFile(join(out, 'manifest.jsonl'), 'utf8')], [[], '']);
    }));

  it('stops in one piece where nothing can be written', () =>
    inFolder(async (out) => {
      let asked = 0;
      const engine = engineOf(async () => {
        // The folder that images are made in is gone: as good as a full disk, and it needs no mount.
        if (++asked === 5) await rm(join(out, '.manifest.jsonl.tmp'), { recursive: true });
        return blank();
      });
      const message = /^can't write .*r\d+\.png: no such file or folder; what .*manifest\.jsonl has stays done, and the next run goes on from it$/;
      await rejects(() => batch({ jobs: endless(), out, engine, batchSize: 1 }), 'ERR_ARGUMENT', message);
      const { images, failures } = await recordsOf(join(out, 'manifest.jsonl'));
      assert.deepEqual(failures, []);
      const files = await imagesIn(out);
      for (const { file } of images) assert.ok(files.includes(file));
      await mkdir(out, { recursive: true });
      assert.equal((await batch({ jobs: images.map(({ id }) => ({ id, numInferenceSteps: 1 })), out })).kept, images.length);
    }));

  it('writes records that come together in one write, in their order', () =>
    inFolder(async (out) => {
      const jobs = Array.from({ length: 500 }, (_, i) => ({ id: `bad/${i}` }));
      const { manifest } = await batch({ jobs, out });
      const { failures } = await recordsOf(manifest);
      assert.deepEqual(failures.map(({ line }) => line), jobs.map((_, i) => i + 1));
    }));

  it('takes no more memory for more lines', () =>
    inFolder(async (out) => {
      setFlagsFromString('--expose-gc');
      const gc = runInNewContext('gc') as () => void;
      const heaps: number[] = [];
      const unet = greyUNet();
      function* jobs(): Generator<BatchJob> {
        for (let i = 0; i < 3000; i++) {
          if (i % 1000 === 999) {
            gc();
            heaps.push(process.memoryUsage().heapUsed);
          }
          yield { id: `r${i}`, seed: i, numInferenceSteps: i % 3 === 0 ? 0 : 1 };
        }
      }
      const summary = await batch({ jobs: jobs(), out, unet, engine: engineOf(async () => blank()), batchSize: 8 });
      assert.deepEqual(counts(summary), [2000, 0, 1000]);
      const grown = heaps.at(-1)! - heaps[0]!;
      assert.ok(grown < 1e6, `${grown} bytes for 2000 lines`);
      unet.dispose();
      assert.ok((await readFile(summary.manifest)).length > 3000 * 100);
    })).timeout(60_000);
});
