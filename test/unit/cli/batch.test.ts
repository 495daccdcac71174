import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DDIMPipeline, DDIMScheduler, DiffusionImage } from '../../../ts/index';
import { GREY, inFolder, recordsOf, toJsonl } from '../engine/batch-helpers';
import { tinyUNet } from '../models/tiny-unet';
import { runHere } from './run-here';

describe('cli/batch', () => {
  /** A model of four classes, and a file of jobs. */
  const withJobs = (jobs: readonly object[], use: (paths: { args: string[]; folder: string; manifest: string }) => Promise<void>) =>
    inFolder(async (folder) => {
      const model = join(folder, 'model');
      await new DDIMPipeline({ unet: tinyUNet({ ...GREY, numClassEmbeds: 4 }), scheduler: new DDIMScheduler() }).savePretrained(model);
      await writeFile(join(folder, 'jobs.jsonl'), toJsonl(jobs));
      const out = join(folder, 'out');
      await use({ args: ['batch', join(folder, 'jobs.jsonl'), '--out', out, '--model', model], folder, manifest: join(out, 'manifest.jsonl') });
    });

  it('hands every option on', () =>
    withJobs([{ id: 'a', seed: 1, classLabel: 1 }, { id: 'b', seed: 2, classLabel: 2, image: 'grey.png' }], async ({ args, folder, manifest }) => {
      await mkdir(join(folder, 'starts'));
      await new DiffusionImage(new Uint8Array(64), { width: 8, height: 8, channels: 1 }).save(join(folder, 'starts/grey.png'));
      const options = '--dtype bfloat16 --guidance-scale 3 --steps 2 --eta 0.5 --spacing trailing --format webp'.split(' ');
      const { status, stderr } = await runHere([...args, ...options, '--images', join(folder, 'starts')]);
      assert.equal(status, 0, stderr);
      const { runs, images } = await recordsOf(manifest);
      assert.deepEqual([runs[0]!.dtype, runs[0]!.format, runs[0]!.schedulers.ddim!['timestep_spacing']], ['bfloat16', 'webp', 'trailing']);
      const common = { scheduler: 'ddim', numInferenceSteps: 2, eta: 0.5, guidanceScale: 3, rng: 'torch' };
      const made = new Map(images.map(({ id, options: one }) => [id, one]));
      assert.deepEqual(made.get('a'), { ...common, classLabel: 1 });
      assert.deepEqual(made.get('b'), { ...common, classLabel: 2, image: 'grey.png', strength: 0.8 });
    }));

  it('tells of twenty lines that failed, and then that there are more', () =>
    withJobs(Array.from({ length: 21 }, (_, i) => ({ id: `bad/${i}` })), async ({ args }) => {
      const { status, stdout, stderr } = await runHere(args);
      const [loaded, ...told] = stderr.trimEnd().split('\n');
      assert.match(loaded!, /^loaded .*model in /);
      assert.equal(told.length, 21);
      assert.ok(told.slice(0, 20).every((line, i) => line.startsWith(`line ${i + 1}: id must be `)), stderr);
      assert.equal(told[20], 'further failed lines are told by the manifest only');
      assert.match(stdout, /manifest\.jsonl\n0 images in [\d.]+ s; 0 kept, 21 failed\n$/);
      assert.equal(status, 1);
      const quiet = await runHere([...args, '--quiet']);
      assert.deepEqual([quiet.status, quiet.stdout, quiet.stderr], [1, `${stdout.split('\n')[0]}\n`, '']);
    }));

  it('has no noise of DDIM to hand on to DDPM', () =>
    withJobs([{ id: 'a', classLabel: 0 }], async ({ args, manifest }) => {
      assert.equal((await runHere([...args, '--scheduler', 'ddpm', '--steps', '2'])).status, 0);
      const { images } = await recordsOf(manifest);
      assert.deepEqual(images[0]!.options, { scheduler: 'ddpm', numInferenceSteps: 2, classLabel: 0, rng: 'torch' });
    }));
});
