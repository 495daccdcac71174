import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DDIMScheduler, DDPMScheduler, UNet2DModel, type BatchJob } from '../../../ts/index';
import { batch, bytesOf, counts, greyUNet, inFolder, jobsOf, recordsOf } from './batch-helpers';

describe('engine/batch-run: a run that goes on', () => {
  it('goes on where it was stopped, wherever that was, and comes to the same', () =>
    inFolder(async (folder) => {
      const jobs = jobsOf(12);
      const whole = join(folder, 'whole');
      const out = join(folder, 'parts');
      await batch({ jobs, out: whole });
      for (const drawn of [1, 4, 9]) {
        const controller = new AbortController();
        const stopped = batch({ jobs, out, batchSize: 1, signal: controller.signal, onProgress: (at) => at.drawn + at.kept >= drawn && controller.abort() });
        await assert.rejects(stopped, (error: Error & { code?: string }) => error.code === 'ERR_ABORTED' && error.cause === controller.signal.reason);
        assert.deepEqual((await readdir(out)).filter((name) => name.startsWith('.') || name.endsWith('.lock')), []);
      }
      const before = await recordsOf(join(out, 'manifest.jsonl'));
      const { drawn, kept, failed } = await batch({ jobs, out });
      assert.deepEqual([drawn + kept, kept, failed], [12, before.images.length, 0]);
      const after = await recordsOf(join(out, 'manifest.jsonl'));
      assert.deepEqual(after.images.map(({ id }) => id).sort(), jobs.map(({ id }) => id).sort()); // each once
      assert.deepEqual(await bytesOf(out), await bytesOf(whole));
      const text = await readFile(join(out, 'manifest.jsonl'), 'utf8');
      assert.deepEqual(counts(await batch({ jobs, out })), [0, 12, 0]);
      assert.equal(await readFile(join(out, 'manifest.jsonl'), 'utf8'), text); // nothing done, nothing written
    }));

  it('drops a torn last line and draws its image again', () =>
    inFolder(async (out) => {
      const jobs = jobsOf(4);
      const { manifest } = await batch({ jobs, out });
      const text = await readFile(manifest, 'utf8');
      const lines = text.split('\n').slice(0, -1);
      for (const cut of [1, lines.at(-1)!.length, lines.at(-1)!.length + 1, 10 ** 6]) {
        await writeFile(manifest, text.slice(0, Math.max(0, text.length - cut)));
        const summary = await batch({ jobs, out });
        assert.deepEqual(counts(summary), cut === 10 ** 6 ? [4, 0, 0] : [1, 3, 0], `${cut} bytes`);
        const { images } = await recordsOf(manifest);
        assert.deepEqual(images.map(({ id }) => id).sort(), ['r1', 'r2', 'r3', 'r4']);
        await writeFile(manifest, text);
      }
    }));

  it('draws again what was taken away, and clears up what a killed run left', () =>
    inFolder(async (out) => {
      const jobs = jobsOf(3);
      await batch({ jobs, out });
      await rm(join(out, 'r2.png'));
      await mkdir(join(out, '.manifest.jsonl.tmp'));
      await writeFile(join(out, '.manifest.jsonl.tmp/.r2.png.1-0a.tmp'), 'half');
      await mkdir(join(out, '.manifest-1-of-2.jsonl.tmp')); // of another run, which may be alive
      assert.deepEqual(counts(await batch({ jobs, out })), [1, 2, 0]);
      assert.deepEqual((await readdir(out)).sort(), ['.manifest-1-of-2.jsonl.tmp', 'manifest.jsonl', 'r1.png', 'r2.png', 'r3.png']);
    }));

  it('keeps seeds that JSON has no number for, to the last digit', () =>
    inFolder(async (out) => {
      const seeds = [2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 64n - 1n];
      const jobs: BatchJob[] = seeds.map((seed, i) => ({ id: `r${i}`, seed, numInferenceSteps: 1 }));
      const { images } = await recordsOf((await batch({ jobs, out })).manifest);
      const recorded = images.sort((a, b) => a.line - b.line).map(({ seed }) => seed);
      assert.deepEqual(recorded, [9007199254740991, '9007199254740993', '18446744073709551615']);
      assert.deepEqual(counts(await batch({ jobs, out })), [0, 3, 0]);
    }));

  it('tries failures again, and keeps what is done', () =>
    inFolder(async (out) => {
      const jobs = jobsOf(3);
      await mkdir(join(out, 'r2.png/x'), { recursive: true }); // in the way
      const summary = await batch({ jobs, out });
      assert.deepEqual(counts(summary), [2, 0, 1]);
      const { failures } = await recordsOf(summary.manifest);
      assert.match(failures[0]!.error.message, /^line 2: can't write .*r2\.png: it is a folder$/);
      await rm(join(out, 'r2.png'), { recursive: true });
      assert.deepEqual(counts(await batch({ jobs, out })), [1, 2, 0]);
      assert.deepEqual(counts(await batch({ jobs, out })), [0, 3, 0]);
    }));

  it('fails a line that was changed after its image was drawn, and leaves the image', () =>
    inFolder(async (out) => {
      const job: BatchJob = { id: 'a', seed: 1, numInferenceSteps: 2 };
      await batch({ jobs: [job], out });
      const before = await stat(join(out, 'a.png'));
      const changes: BatchJob[] = [{ ...job, seed: 2 }, { ...job, numInferenceSteps: 3 }, { ...job, eta: 0.5 }, { ...job, scheduler: 'ddpm' }];
      for (const changed of changes) {
        const summary = await batch({ jobs: [{ ...changed }, { id: 'b', numInferenceSteps: 1 }], out });
        assert.equal(summary.failed, 1);
        const { failures } = await recordsOf(summary.manifest);
        assert.equal(failures.at(-1)!.error.message, 'line 1: "a" is there already, drawn with other options (the manifest has them); take another id, or take its image away');
      }
      assert.equal((await stat(join(out, 'a.png'))).mtimeMs, before.mtimeMs);
      // The same said otherwise: a default that is written out, a priority, another place in the file.
      assert.deepEqual(counts(await batch({ jobs: [{ id: 'b', numInferenceSteps: 1 }, { ...job, eta: 0, rng: 'torch', priority: 5 }], out })), [0, 2, 0]);
      // A default is an option of the lines that leave it out.
      assert.deepEqual(counts(await batch({ jobs: [job], out, defaults: { eta: 1 } })), [0, 0, 1]);
    }));

  it('refuses to go on with other weights, dtype, format or scheduler config', () =>
    inFolder(async (folder) => {
      const [out, jobs] = [join(folder, 'out'), jobsOf(2)];
      for (const seed of [0, 1]) await greyUNet(seed).savePretrained(join(folder, `${seed}`));
      const [unet, other, half] = [
        await UNet2DModel.fromPretrained(join(folder, '0')),
        await UNet2DModel.fromPretrained(join(folder, '1')),
        await UNet2DModel.fromPretrained(join(folder, '0'), { dtype: 'float64' }),
      ];
      const { manifest } = await batch({ jobs, out, unet });
      const file = 'diffusion_pytorch_model.safetensors';
      const sha256 = createHash('sha256').update(await readFile(join(folder, '0', file))).digest('hex');
      assert.deepEqual((await recordsOf(manifest)).runs[0]!.weights, { file, sha256 });
      const refuses = async (options: Partial<Parameters<typeof batch>[0]>, message: RegExp) => {
        await assert.rejects(batch({ jobs, out, unet, ...options }), (error: Error & { code?: string }) => {
          assert.equal(error.code, 'ERR_ARGUMENT');
          assert.match(error.message, message);
          return true;
        });
      };
      await refuses({ unet: other }, /manifest\.jsonl was made with another SHA-256 of the weights \("[0-9a-f]+…, now "[0-9a-f]+…\); /);
      await refuses({ unet: half }, /was made with another dtype \("float32", now "float64"\)/);
      await refuses({ format: 'webp' }, /was made with another image format \("png", now "webp"\)/);
      await refuses({ scheduler: new DDIMScheduler({ betaEnd: 0.01 }) }, /another scheduler config: beta_end of ddim \(0\.02, now 0\.01\)/);
      await refuses({ unet: other, shard: { index: 1, count: 2 } }, /another SHA-256 of the weights/);
      // A key that a release of another day had.
      const text = await readFile(manifest, 'utf8');
      await writeFile(manifest, text.replace('"ddim":{', '"ddim":{"beta_shape":1,'));
      await refuses({}, /another scheduler config: beta_shape of ddim \(1, now null\)/);
      await writeFile(manifest, text);
      // The class is only what lines have that name none.
      const named = jobs.map((job) => ({ ...job, scheduler: job.scheduler ?? ('ddim' as const) }));
      assert.deepEqual(counts(await batch({ jobs: named, out, unet, scheduler: new DDPMScheduler() })), [0, 2, 0]);
      for (const model of [unet, other, half]) model.dispose();
    }));

  it('refuses a manifest that is no file', () =>
    inFolder(async (out) => {
      await mkdir(join(out, 'manifest-1-of-2.jsonl'));
      await assert.rejects(batch({ jobs: jobsOf(1), out }), { code: 'ERR_ARGUMENT', message: /manifest-1-of-2\.jsonl must be a file$/ });
    }));

  it('refuses a manifest that is damaged, naming the line', () =>
    inFolder(async (out) => {
      const { manifest } = await batch({ jobs: jobsOf(2), out });
      const text = await readFile(manifest, 'utf8');
      for (const damage of ['no json\n', '[]\n', '{"record":"image","id":"../x","seed":1,"options":{}}\n', '{"record":"image","id":"x","seed":"y","options":{}}\n', '{"record":"image","id":"x","seed":1}\n']) {
        await writeFile(manifest, damage + text);
        await assert.rejects(batch({ jobs: jobsOf(2), out }), /^ArgumentError: line 1 of .*manifest\.jsonl is damaged; /);
      }
    }));
});
