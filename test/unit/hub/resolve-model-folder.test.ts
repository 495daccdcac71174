import assert from 'node:assert/strict';
import { lstat, mkdir, readFile, readdir, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { componentFolder, resolveModelFolder } from '../../../ts/hub';
import { COMMIT } from './fake-hub';
import { hubOfItsOwn, NAME, rejects, WEIGHTS } from './hub-of-its-own';

describe('hub/resolveModelFolder', () => {
  const own = hubOfItsOwn();

  describe('a local folder', () => {
    it('wins, with or without a subfolder', async () => {
      await mkdir(join(own.home, 'local/unet'), { recursive: true });
      assert.equal(await resolveModelFolder(join(own.home, 'local')), join(own.home, 'local'));
      assert.equal(await resolveModelFolder(join(own.home, 'local'), { subfolder: 'unet' }), join(own.home, 'local/unet'));
      assert.equal(await componentFolder(join(own.home, 'local'), 'unet'), join(own.home, 'local/unet'));
      assert.equal(await componentFolder(join(own.home, 'local'), 'scheduler'), join(own.home, 'local'));
      assert.equal(own.hub.seen.length, 0);
    });

    it('is not looked for once the signal has fired', async () => {
      await rejects(resolveModelFolder(own.home, { signal: AbortSignal.abort() }), 'ERR_ABORTED', /aborted/);
    });

    it('must have the subfolder, and be a folder', async () => {
      await rejects(resolveModelFolder(own.home, { subfolder: 'unet' }), 'ERR_NOT_FOUND', /has no folder unet/);
      await writeFile(join(own.home, 'file.pt'), '');
      await rejects(resolveModelFolder(join(own.home, 'file.pt')), 'ERR_ARGUMENT', /must be a folder .*got a file$/);
      await rejects(resolveModelFolder(own.home, { subfolder: 'file.pt' }), 'ERR_NOT_FOUND', /has no folder file\.pt/);
      assert.equal(await componentFolder(own.home, 'file.pt'), own.home);
      for (const subfolder of ['../up', '/abs', 'a/../../b', 'C:x', 'a\\..\\b']) {
        await rejects(resolveModelFolder(own.home, { subfolder }), 'ERR_ARGUMENT', /^subfolder must be a relative path/);
      }
    });

    it('that is missing and no repository name is said to be neither', async () => {
      for (const path of ['./missing', '/missing/model', 'a/b/c', '~/model', '..', 'a--b/c', 'a/..']) {
        if (path === '..') continue;
        await rejects(
          resolveModelFolder(path),
          'ERR_NOT_FOUND',
          /is neither a folder \(looked at .*\) nor the name of a hub/,
        );
      }
      await rejects(resolveModelFolder(''), 'ERR_ARGUMENT', /got ""$/);
      assert.equal(own.hub.seen.length, 0);
    });
  });

  describe('a repository', () => {
    it("goes into the standard cache, checked, and links as Python's do", async () => {
      const folder = await resolveModelFolder(NAME);
      assert.equal(folder, join(own.storage(), 'snapshots', COMMIT));
      assert.deepEqual(await readFile(join(folder, 'unet/diffusion_pytorch_model.safetensors')), WEIGHTS);
      const link = join(folder, 'unet/config.json');
      assert.ok((await lstat(link)).isSymbolicLink());
      assert.match(await readlink(link), /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
      assert.equal(await readFile(join(own.storage(), 'refs/main'), 'utf8'), COMMIT);
      assert.deepEqual(await own.leftovers(), []);
    });

    it('fetches only what a model needs, or what is asked for', async () => {
      await resolveModelFolder(NAME);
      assert.deepEqual(own.hub.downloads, [
        'model_index.json',
        'unet/config.json',
        'unet/diffusion_pytorch_model.safetensors',
        'scheduler/scheduler_config.json',
      ]);
      await resolveModelFolder(NAME, { allowPatterns: ['README*', '*.fp16.*'] });
      assert.deepEqual(own.hub.downloads.slice(4), ['unet/diffusion_pytorch_model.fp16.safetensors', 'README.md']);
    });

    it('fetches a subfolder alone', async () => {
      const folder = await resolveModelFolder(NAME, { subfolder: 'scheduler' });
      assert.deepEqual(await readdir(folder), ['scheduler_config.json']);
      assert.deepEqual(own.hub.downloads, ['scheduler/scheduler_config.json']);
      await rejects(
        resolveModelFolder(NAME, { subfolder: 'vae' }),
        'ERR_NOT_FOUND',
        /has none of the files .* in vae$/,
      );
    });

    it('downloads nothing the second time, and asks nobody offline', async () => {
      const folder = await resolveModelFolder(NAME);
      const downloads = own.hub.downloads.length;
      assert.equal(await resolveModelFolder(NAME), folder);
      assert.equal(own.hub.downloads.length, downloads);
      const requests = own.hub.seen.length;
      assert.equal(await resolveModelFolder(NAME, { localFilesOnly: true }), folder);
      assert.equal(
        await resolveModelFolder(NAME, { localFilesOnly: true, revision: COMMIT, subfolder: 'unet' }),
        join(folder, 'unet'),
      );
      process.env['HF_HUB_OFFLINE'] = '1';
      assert.equal(await resolveModelFolder(NAME), folder);
      assert.equal(own.hub.seen.length, requests);
    });

    it('says where it looked when offline without a copy', async () => {
      await rejects(
        resolveModelFolder(NAME, { localFilesOnly: true }),
        'ERR_NOT_FOUND',
        /^someone\/a-model is neither a folder .* nor, at revision main, in the cache .*hub; localFilesOnly forbids asking http/,
      );
      process.env['HF_HUB_OFFLINE'] = 'YES';
      await rejects(resolveModelFolder(NAME), 'ERR_NOT_FOUND', /HF_HUB_OFFLINE forbids asking/);
      assert.equal(own.hub.seen.length, 0);
    });

    it('takes a commit as the revision, and honours cacheDir and HF_HUB_CACHE', async () => {
      const cacheDir = join(own.home, 'other');
      const folder = await resolveModelFolder(NAME, { revision: COMMIT, cacheDir });
      assert.equal(folder, join(cacheDir, 'models--someone--a-model/snapshots', COMMIT));
      assert.deepEqual((await readdir(join(cacheDir, 'models--someone--a-model'))).sort(), ['blobs', 'snapshots']);
      process.env['HF_HUB_CACHE'] = cacheDir;
      assert.equal(await resolveModelFolder(NAME, { localFilesOnly: true, revision: COMMIT }), folder);
    });

    it('takes an HF_ENDPOINT that ends in slashes', async () => {
      process.env['HF_ENDPOINT'] += '//';
      assert.equal(await resolveModelFolder(NAME), join(own.storage(), 'snapshots', COMMIT));
      assert.ok(own.hub.seen.every(({ path }) => !path.startsWith('//')));
    });

    it('sends the token, whatever it looks like, and reports progress', async () => {
      process.env['HF_TOKEN'] = 'secret';
      const received: number[] = [];
      await resolveModelFolder(NAME, {
        onProgress: ({ path, received: bytes }) => path.endsWith('s') && received.push(bytes),
      });
      assert.ok(own.hub.seen.every(({ authorization }) => authorization === 'Bearer secret'));
      assert.equal(received.at(-1), WEIGHTS.length);
      assert.deepEqual(
        received,
        [...received].sort((a, b) => a - b),
      );
      own.hub.seen.length = 0;
      delete process.env['HF_TOKEN'];
      await writeFile(join(own.home, 'token'), 'from-login\n');
      await resolveModelFolder(NAME);
      assert.ok(own.hub.seen.every(({ authorization }) => authorization === 'Bearer from-login'));
      await resolveModelFolder(NAME, { token: 'given' });
      assert.equal(own.hub.seen.at(-1)!.authorization, 'Bearer given');
    });

    it('takes up a broken download where it broke', async () => {
      own.hub.breaks = [100_000, 50_000];
      const folder = await resolveModelFolder(NAME, { allowPatterns: ['*model.safetensors'] });
      assert.deepEqual(await readFile(join(folder, 'unet/diffusion_pytorch_model.safetensors')), WEIGHTS);
      const ranges = own.hub.seen.filter(({ path }) => path.includes('/resolve/')).map(({ range }) => range);
      assert.deepEqual(
        ranges.filter((range) => range !== 'bytes=0-0'),
        [undefined, `bytes=100000-${WEIGHTS.length - 1}`, `bytes=150000-${WEIGHTS.length - 1}`],
      );
    });

    it('leaves no half file and no ref when it breaks for good, and starts anew', async () => {
      own.hub.breaks = [1000, 1000, 1000];
      const weights = { allowPatterns: ['*model.safetensors'] };
      await rejects(
        resolveModelFolder(NAME, weights),
        'ERR_NETWORK',
        /^can't fetch someone\/a-model from http.*HF_HUB_OFFLINE=1/,
      );
      assert.deepEqual(await own.leftovers(), []);
      assert.ok(!(await readdir(own.storage())).includes('refs'));
      await rejects(resolveModelFolder(NAME, { localFilesOnly: true }), 'ERR_NOT_FOUND', /in the cache/);
      const folder = await resolveModelFolder(NAME);
      assert.deepEqual(await readFile(join(folder, 'unet/diffusion_pytorch_model.safetensors')), WEIGHTS);
    });

    it('ends when its signal fires', async () => {
      const controller = new AbortController();
      const reason = new Error('enough');
      const promise = resolveModelFolder(NAME, {
        signal: controller.signal,
        onProgress: ({ path }) => path.endsWith('.safetensors') && controller.abort(reason),
      });
      await assert.rejects(promise, (error: Error & { code: string }) => {
        assert.equal(error.code, 'ERR_ABORTED');
        assert.equal(error.cause, reason);
        return true;
      });
      assert.deepEqual(await own.leftovers(), []);
      await rejects(resolveModelFolder(NAME, { signal: AbortSignal.abort() }), 'ERR_ABORTED', /aborted/);
    });

    it('keeps no connection, whether it succeeds or fails', async () => {
      await resolveModelFolder(NAME);
      await rejects(resolveModelFolder(NAME, { revision: 'gone' }), 'ERR_NOT_FOUND', /has no revision gone/);
      for (let i = 0; i < 100 && (await own.hub.connections()) > 0; i++) await sleep(10); // an idle one would stay for seconds
      assert.equal(await own.hub.connections(), 0);
    });

    it('serves two at once', async () => {
      const [one, two] = await Promise.all([resolveModelFolder(NAME), resolveModelFolder(NAME)]);
      assert.equal(one, two);
      assert.deepEqual(await readFile(join(one, 'unet/diffusion_pytorch_model.safetensors')), WEIGHTS);
      assert.deepEqual(await own.leftovers(), []);
    });
  });
});
