import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import sharp from 'sharp';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, Generator, type BatchJob } from '../../../ts/index';
import { DIFFUSERS_VERSION } from '../../../ts/config/scheduler-config';
import { tinyUNet } from '../models/tiny-unet';
import { batch, bytesOf, counts, GREY, greyUNet, imagesIn, inFolder, jobsOf, largestDifference, recordsOf, toJsonl } from './batch-helpers';

const pixels = async (file: string): Promise<Uint8Array> => new Uint8Array(await sharp(file).toColourspace('b-w').raw().toBuffer());

describe('engine/batch-run', () => {
  it("draws what a pipeline draws with the line's seed, options and nothing else", () =>
    inFolder(async (out) => {
      const unet = greyUNet();
      const jobs: BatchJob[] = [
        { id: 'ddim', seed: 5, numInferenceSteps: 4 },
        { id: 'noisy', seed: 5, numInferenceSteps: 4, eta: 0.7 },
        { id: 'ddpm', seed: '18446744073709551615', numInferenceSteps: 3, scheduler: 'ddpm' },
        { id: 'list', seed: 7, timesteps: [900, 400, 10] },
      ];
      assert.deepEqual(counts(await batch({ jobs, out, unet })), [4, 0, 0]);
      const parts = { unet, scheduler: new DDIMScheduler() };
      const seed = (value: number | bigint) => ({ generator: new Generator({ seed: value }) });
      const wanted = {
        ddim: await new DDIMPipeline(parts).run({ numInferenceSteps: 4, ...seed(5) }),
        noisy: await new DDIMPipeline(parts).run({ numInferenceSteps: 4, eta: 0.7, ...seed(5) }),
        ddpm: await new DDPMPipeline({ unet, scheduler: new DDPMScheduler() }).run({ numInferenceSteps: 3, ...seed(2n ** 64n - 1n) }),
        list: await new DDIMPipeline(parts).run({ timesteps: [900, 400, 10], ...seed(7) }),
      };
      for (const [id, { images }] of Object.entries(wanted)) {
        // Another batch may sum in another order: a float may round to the next byte.
        assert.ok(largestDifference(await pixels(join(out, `${id}.png`)), images[0]!.data) <= 1, id);
      }
      unet.dispose();
    }));

  it('draws with guidance, of the line or of the defaults', () =>
    inFolder(async (out) => {
      const unet = tinyUNet({ ...GREY, numClassEmbeds: 4 });
      const jobs: BatchJob[] = [
        { id: 'own', seed: 5, classLabel: 1, guidanceScale: 6, nullClassLabel: 0 },
        { id: 'default', seed: 5, classLabel: 1 },
        { id: 'none', seed: 5, classLabel: 1, guidanceScale: 1 },
      ];
      const run = await batch({ jobs, out, unet, defaults: { numInferenceSteps: 4, guidanceScale: 3 } });
      assert.deepEqual(counts(run), [3, 0, 0]);
      const pipe = new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });
      const wanted = { own: { guidanceScale: 6, nullClassLabel: 0 }, default: { guidanceScale: 3 }, none: {} };
      for (const [id, guidance] of Object.entries(wanted)) {
        const options = { numInferenceSteps: 4, generator: new Generator({ seed: 5 }), classLabels: [1], ...guidance };
        const { images } = await pipe.run(options);
        assert.ok(largestDifference(await pixels(join(out, `${id}.png`)), images[0]!.data) <= 1, id);
      }
      const { images } = await recordsOf(run.manifest);
      assert.deepEqual(images.map(({ id, options }) => [id, options.guidanceScale, options.nullClassLabel]).sort(), [
        ['default', 3, undefined],
        ['none', undefined, undefined],
        ['own', 6, 0],
      ]);
      unet.dispose();
    }));

  it('records every image, and what it was made with', () =>
    inFolder(async (out) => {
      const before = Date.now();
      const { manifest } = await batch({ jobs: [{ id: 'b', seed: 3, eta: 0.5, numInferenceSteps: 2 }, { id: 'a', numInferenceSteps: 1 }], out });
      assert.equal(manifest, join(out, 'manifest.jsonl'));
      const { runs, images, failures } = await recordsOf(manifest);
      assert.deepEqual([runs.length, failures.length], [1, 0]);
      const { version } = require('../../../package.json') as { version: string };
      const { time, versions, schedulers, ...rest } = runs[0]!;
      assert.deepEqual(rest, { record: 'run', device: 'cpu', dtype: 'float32', weights: null, format: 'png', shard: null });
      assert.ok(Date.parse(time) >= before - 1);
      assert.match(versions.torch, /^2\.\d+\.\d+/);
      assert.deepEqual({ ...versions, torch: '' }, { 'node-diffusers': version, node: process.versions.node, torch: '', diffusers: DIFFUSERS_VERSION });
      assert.deepEqual([schedulers.ddim?.['_class_name'], schedulers.ddpm?.['beta_end']], ['DDIMScheduler', 0.02]);
      const b = images.find(({ id }) => id === 'b')!;
      const bytes = await readFile(join(out, 'b.png'));
      assert.deepEqual(
        { ...b, seconds: typeof b.seconds, time: Date.parse(b.time) >= before - 1 },
        {
          record: 'image',
          id: 'b',
          line: 1,
          seed: 3,
          options: { scheduler: 'ddim', numInferenceSteps: 2, eta: 0.5, rng: 'torch' },
          file: 'b.png',
          sha256: createHash('sha256').update(bytes).digest('hex'),
          seconds: 'number',
          time: true,
        },
      );
      assert.deepEqual((await readdir(out)).sort(), ['a.png', 'b.png', 'manifest.jsonl']);
    }));

  it('reports bad lines with their numbers, and draws the rest', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'jobs.jsonl');
      const long = `{"id":"${'x'.repeat(1024 * 1024)}"}`;
      const lines = ['{"id":"a","numInferenceSteps":1}', 'no json', '', '   \r', '{"id":"../../b"}', '{"id":"a"}', '[]', long, '{"id":"c","eta":"1"}', '\u{feff}{"id":"d","numInferenceSteps":1}\r', '{"id":"e","numInferenceSteps":1001}', '{"id":"f","classLabel":1}', '{"id":"g","numInferenceSteps":1}'];
      await writeFile(file, Buffer.concat([Buffer.from(lines.join('\n')), Buffer.from('\n{"id":"\xff"}\n', 'latin1')]));
      const told: string[] = [];
      const summary = await batch({ jobs: file, out: join(folder, 'out'), onFailure: ({ error }) => void told.push(error.message) });
      assert.deepEqual(counts(summary), [3, 0, 9]);
      assert.deepEqual(await imagesIn(join(folder, 'out')), ['a.png', 'd.png', 'g.png']);
      const { failures } = await recordsOf(summary.manifest);
      const byLine = failures.sort((x, y) => x.line - y.line);
      assert.deepEqual(
        byLine.map(({ line, id, error: { code } }) => [line, id, code]),
        [
          [2, null, 'ERR_ARGUMENT'],
          [5, null, 'ERR_ARGUMENT'],
          [6, 'a', 'ERR_ARGUMENT'],
          [7, null, 'ERR_ARGUMENT'],
          [8, null, 'ERR_ARGUMENT'],
          [9, 'c', 'ERR_ARGUMENT'],
          [11, 'e', 'ERR_TIMESTEP'],
          [12, 'f', 'ERR_ARGUMENT'],
          [14, null, 'ERR_ARGUMENT'],
        ],
      );
      const messages = byLine.map(({ error }) => error.message);
      assert.deepEqual(messages.slice(0, 6), [
        'line 2: it is not JSON, got "no json"',
        'line 5: id must be 1 … 128 letters, digits, ., _ and -, the first no dot, got "../../b"',
        'line 6: id must be of one line only, got "a", which line 1 has',
        'line 7: a job must be an object, got []',
        'line 8: a line must have at most 1048576 bytes',
        'line 9: eta must be a number from 0 up, got "1"',
      ]);
      assert.match(messages[6]!, /^line 11: numInferenceSteps must be /);
      assert.match(messages[7]!, /^line 12: classLabels? must not be given/);
      assert.equal(messages[8], 'line 14: it is not UTF-8');
      assert.deepEqual(told.sort(), messages.sort());
    }));

  it('deals lines by their numbers: all shards draw every line once, and agree on duplicates', () =>
    inFolder(async (folder) => {
      const jobs = [...jobsOf(11), { id: 'r4', numInferenceSteps: 1 }, { id: 'r1', numInferenceSteps: 1 }, { id: 'r12', numInferenceSteps: 1 }];
      const file = join(folder, 'jobs.jsonl');
      await writeFile(file, toJsonl(jobs));
      const out = join(folder, 'out');
      const shards = [1, 2, 3].map((index) => ({ index, count: 3 }));
      const summaries = await Promise.all(shards.map((shard) => batch({ jobs: file, out, shard })));
      const lines: number[] = [];
      const failed: number[] = [];
      for (const [i, { manifest }] of summaries.entries()) {
        assert.equal(manifest, join(out, `manifest-${i + 1}-of-3.jsonl`));
        const { runs, images, failures } = await recordsOf(manifest);
        assert.deepEqual(runs.map(({ shard }) => shard), [`${i + 1}/3`]);
        for (const { line } of [...images, ...failures]) assert.equal((line - 1) % 3, i);
        lines.push(...images.map(({ line }) => line));
        failed.push(...failures.map(({ line }) => line));
      }
      assert.deepEqual(lines.sort((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14]);
      assert.deepEqual(failed.sort((a, b) => a - b), [12, 13]);
      // Another number of shards, or none, goes on from what these have.
      assert.deepEqual(counts(await batch({ jobs: file, out })), [0, 12, 2]);
      assert.deepEqual(counts(await batch({ jobs: file, out, shard: { index: 2, count: 2 } })), [0, 6, 1]);
    }));

  it("fails lines of a sampler that can't have the run's config, and draws the rest", () =>
    inFolder(async (out) => {
      const jobs: BatchJob[] = ['ddim', 'ddpm', 'ddim'].map((scheduler, i) => ({ id: `r${i}`, scheduler: scheduler as 'ddim', numInferenceSteps: 1 }));
      const { manifest, ...summary } = await batch({ jobs, out, scheduler: new DDPMScheduler({ betaSchedule: 'laplace' }) });
      assert.deepEqual([summary.drawn, summary.failed], [1, 2]);
      const { runs, failures } = await recordsOf(manifest);
      assert.deepEqual([runs[0]!.schedulers.ddim, runs[0]!.schedulers.ddpm?.['beta_schedule']], [null, 'laplace']);
      for (const { error } of failures) {
        assert.equal(error.code, 'ERR_CONFIG');
        assert.match(error.message, /^line [13]: betaSchedule must be one of .* got "laplace"$/);
      }
    }));

  it('starts from an image', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'starts/grey.png');
      await mkdir(join(folder, 'starts'));
      await sharp(Buffer.alloc(8 * 8 * 3, 200), { raw: { width: 8, height: 8, channels: 3 } }).png().toFile(file);
      await sharp(Buffer.alloc(4 * 4, 200), { raw: { width: 4, height: 4, channels: 1 } }).png().toFile(join(folder, 'starts/small.png'));
      await writeFile(join(folder, 'starts/text.png'), 'text');
      const base = { seed: 1, numInferenceSteps: 10 };
      const jobs: BatchJob[] = [
        { id: 'near', ...base, image: 'grey.png', strength: 0.1 },
        { id: 'far', ...base, image: 'grey.png', strength: 0.9 },
        { id: 'none', ...base },
        { id: 'missing', ...base, image: 'other.png' },
        { id: 'small', ...base, image: 'small.png' },
        { id: 'text', ...base, image: 'text.png' },
      ];
      const out = join(folder, 'out');
      const summary = await batch({ jobs, out, images: join(folder, 'starts') });
      assert.deepEqual(counts(summary), [4, 0, 2]);
      assert.equal((await sharp(join(out, 'small.png')).metadata()).width, 4);
      const mean = async (id: string) => (await pixels(join(out, `${id}.png`))).reduce((sum, value) => sum + Math.abs(value - 200), 0) / 64;
      assert.ok((await mean('near')) < (await mean('far')));
      const { failures } = await recordsOf(summary.manifest);
      assert.deepEqual(failures.map(({ id, error }) => [id, error.code]).sort(), [['missing', 'ERR_NOT_FOUND'], ['text', 'ERR_ARGUMENT']]);
    }));

  it('takes a stream, a generator, a list; an empty one writes nothing', () =>
    inFolder(async (folder) => {
      const jobs = jobsOf(3);
      async function* slowly(): AsyncGenerator<BatchJob> {
        for (const job of jobs) yield await new Promise<BatchJob>((resolve) => setImmediate(resolve, job));
      }
      const totals: (number | null)[] = [];
      for (const [i, source] of [Readable.from([Buffer.from(toJsonl(jobs))]), slowly(), jobs, new Set(jobs)].entries()) {
        const out = join(folder, `${i}`);
        assert.deepEqual(counts(await batch({ jobs: source, out, onProgress: ({ total, drawn }) => void (drawn === 3 && totals.push(total)) })), [3, 0, 0]);
        assert.deepEqual(await bytesOf(out), await bytesOf(join(folder, '0')));
      }
      assert.deepEqual(totals, [null, null, 3, null]);
      const empty = await batch({ jobs: [], out: join(folder, 'empty') });
      assert.deepEqual(counts(empty), [0, 0, 0]);
      assert.equal(await readFile(empty.manifest, 'utf8'), '');
    }));

  it('says before any work what it can not do', () =>
    inFolder(async (folder) => {
      const out = join(folder, 'out');
      const twoChannels = tinyUNet({ ...GREY, inChannels: 2, outChannels: 2 });
      const wrong: [object, string, RegExp][] = [
        [{ outt: 1 }, 'ERR_ARGUMENT', /^runBatch: unknown option "outt"; did you mean out\?$/],
        [{ jobs: 5 }, 'ERR_ARGUMENT', /^jobs must be a file's path, a stream, a list or a generator, got 5$/],
        [{ jobs: join(folder, 'none') }, 'ERR_NOT_FOUND', /none does not exist$/],
        [{ jobs: folder }, 'ERR_ARGUMENT', /^can't read .*: it is a folder$/],
        [{ jobs: join(out, '../out/manifest.jsonl') }, 'ERR_ARGUMENT', /^jobs must be another file than the run's manifest, got /],
        [{ out: '' }, 'ERR_ARGUMENT', /^out must be a path, got ""$/],
        [{ out: __filename }, 'ERR_ARGUMENT', /^can't write .*batch-run\.test\.ts: a part of its path is a file$/],
        [{ unet: {} }, 'ERR_ARGUMENT', /^unet must be a model with config and forward, got an object$/],
        [{ unet: twoChannels }, 'ERR_SHAPE', /^an image to encode must have 1, 3 or 4 channels, got 2/],
        [{ scheduler: 'ddim' }, 'ERR_ARGUMENT', /^scheduler must be a DDPMScheduler or a DDIMScheduler, got "ddim"$/],
        [{ batchSize: 0 }, 'ERR_ARGUMENT', /^batchSize must be an integer in 1 … 4096, got 0$/],
        [{ shard: { index: 0, count: 2 } }, 'ERR_ARGUMENT', /^shard must have a count in 1 … 100000 and an index in 1 … count, got 0 of 2$/],
        [{ shard: { index: 3, count: 2 } }, 'ERR_ARGUMENT', /got 3 of 2$/],
        [{ shard: '1/2' }, 'ERR_ARGUMENT', /^shard: options must be an object, got "1\/2"$/],
        [{ format: 'gif' }, 'ERR_ARGUMENT', /^format must be one of png, jpeg, webp, got "gif"$/],
        [{ engine: {} }, 'ERR_ARGUMENT', /^engine must be a SamplerEngine, got an object$/],
        [{ signal: {} }, 'ERR_ARGUMENT', /^signal must be an AbortSignal, got an object$/],
        [{ onProgress: 1 }, 'ERR_ARGUMENT', /^onProgress must be a function, got 1$/],
        [{ defaults: { steps: 1 } }, 'ERR_ARGUMENT', /^defaults: unknown option "steps"; it wants numInferenceSteps, eta, guidanceScale$/],
        [{ defaults: { guidanceScale: 0 } }, 'ERR_ARGUMENT', /^guidanceScale of defaults must be a number from 1 \(none\) up, got 0$/],
        [{ defaults: { eta: -1 } }, 'ERR_ARGUMENT', /^eta of defaults must be a number from 0 up, got -1$/],
      ];
      for (const [options, code, message] of wrong) {
        await assert.rejects(batch({ jobs: jobsOf(1), out, ...options }), (error: Error & { code?: string }) => {
          assert.equal(error.code, code, error.stack);
          assert.match(error.message, message);
          return true;
        });
      }
      const aborted = AbortSignal.abort();
      await assert.rejects(batch({ jobs: jobsOf(1), out, signal: aborted }), { code: 'ERR_ABORTED' });
      assert.deepEqual(await readdir(out).catch(() => []), []);
      twoChannels.dispose();
    }));
});
