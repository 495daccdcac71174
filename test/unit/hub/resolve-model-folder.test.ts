import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { componentFolder, MAX_FILE_BYTES, resolveModelFolder } from '../../../ts/hub';
import { COMMIT, FakeHub, json } from './fake-hub';

const WEIGHTS = randomBytes(300_000);
const FILES = [
  { path: 'model_index.json', content: Buffer.from('{"_class_name": "DDPMPipeline"}') },
  { path: 'unet/config.json', content: Buffer.from('{}') },
  { path: 'unet/diffusion_pytorch_model.safetensors', content: WEIGHTS, lfs: true },
  { path: 'unet/diffusion_pytorch_model.fp16.safetensors', content: Buffer.from('half'), lfs: true },
  { path: 'scheduler/scheduler_config.json', content: Buffer.from('{"beta_end": 0.02}') },
  { path: 'README.md', content: Buffer.from('# hello') },
];
const NAME = 'someone/a-model';

const VARIABLES = [
  'HF_HOME',
  'HF_HUB_CACHE',
  'HUGGINGFACE_HUB_CACHE',
  'HF_TOKEN',
  'HF_TOKEN_PATH',
  'HF_ENDPOINT',
  'HF_HUB_OFFLINE',
  'HTTP_PROXY',
  'http_proxy',
  'NO_PROXY',
  'no_proxy',
];

describe('hub/resolveModelFolder', () => {
  let home: string;
  let hub: FakeHub;
  let saved: Record<string, string | undefined>;

  beforeEach(async () => {
    saved = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
    for (const name of VARIABLES) delete process.env[name];
    home = await mkdtemp(join(tmpdir(), 'hub-'));
    hub = new FakeHub(NAME, FILES);
    process.env['HF_HOME'] = home;
    process.env['HF_ENDPOINT'] = await hub.start();
    process.env['NO_PROXY'] = '127.0.0.1';
  });

  afterEach(async () => {
    for (const [name, value] of Object.entries(saved)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await hub.stop();
    await rm(home, { recursive: true, force: true });
  });

  const storage = () => join(home, 'hub/models--someone--a-model');
  const rejects = (promise: Promise<unknown>, code: string, message: RegExp) =>
    assert.rejects(promise, (error: Error & { code?: string }) => {
      assert.equal(error.code, code, String(error));
      assert.match(error.message, message);
      return true;
    });
  const leftovers = async () =>
    (await readdir(home, { recursive: true })).filter((name) => /\.(incomplete|tmp)$/.test(name));

  describe('a local folder', () => {
    it('wins, with or without a subfolder', async () => {
      await mkdir(join(home, 'local/unet'), { recursive: true });
      assert.equal(await resolveModelFolder(join(home, 'local')), join(home, 'local'));
      assert.equal(await resolveModelFolder(join(home, 'local'), { subfolder: 'unet' }), join(home, 'local/unet'));
      assert.equal(await componentFolder(join(home, 'local'), 'unet'), join(home, 'local/unet'));
      assert.equal(await componentFolder(join(home, 'local'), 'scheduler'), join(home, 'local'));
      assert.equal(hub.seen.length, 0);
    });

    it('must have the subfolder, and be a folder', async () => {
      await rejects(resolveModelFolder(home, { subfolder: 'unet' }), 'ERR_NOT_FOUND', /has no folder unet/);
      await writeFile(join(home, 'file.pt'), '');
      await rejects(resolveModelFolder(join(home, 'file.pt')), 'ERR_ARGUMENT', /must be a folder .*got a file$/);
      for (const subfolder of ['../up', '/abs', 'a/../../b', 'C:x', 'a\\..\\b']) {
        await rejects(resolveModelFolder(home, { subfolder }), 'ERR_ARGUMENT', /^subfolder must be a relative path/);
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
      assert.equal(hub.seen.length, 0);
    });
  });

  describe('a repository', () => {
    it("goes into the standard cache, checked, and links as Python's do", async () => {
      const folder = await resolveModelFolder(NAME);
      assert.equal(folder, join(storage(), 'snapshots', COMMIT));
      assert.deepEqual(await readFile(join(folder, 'unet/diffusion_pytorch_model.safetensors')), WEIGHTS);
      const link = join(folder, 'unet/config.json');
      assert.ok((await lstat(link)).isSymbolicLink());
      assert.match(await readlink(link), /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
      assert.equal(await readFile(join(storage(), 'refs/main'), 'utf8'), COMMIT);
      assert.deepEqual(await leftovers(), []);
    });

    it('fetches only what a model needs, or what is asked for', async () => {
      await resolveModelFolder(NAME);
      assert.deepEqual(hub.downloads, [
        'model_index.json',
        'unet/config.json',
        'unet/diffusion_pytorch_model.safetensors',
        'scheduler/scheduler_config.json',
      ]);
      await resolveModelFolder(NAME, { allowPatterns: ['README*', '*.fp16.*'] });
      assert.deepEqual(hub.downloads.slice(4), ['unet/diffusion_pytorch_model.fp16.safetensors', 'README.md']);
    });

    it('fetches a subfolder alone', async () => {
      const folder = await resolveModelFolder(NAME, { subfolder: 'scheduler' });
      assert.deepEqual(await readdir(folder), ['scheduler_config.json']);
      assert.deepEqual(hub.downloads, ['scheduler/scheduler_config.json']);
      await rejects(
        resolveModelFolder(NAME, { subfolder: 'vae' }),
        'ERR_NOT_FOUND',
        /has none of the files .* in vae$/,
      );
    });

    it('downloads nothing the second time, and asks nobody offline', async () => {
      const folder = await resolveModelFolder(NAME);
      const downloads = hub.downloads.length;
      assert.equal(await resolveModelFolder(NAME), folder);
      assert.equal(hub.downloads.length, downloads);
      const requests = hub.seen.length;
      assert.equal(await resolveModelFolder(NAME, { localFilesOnly: true }), folder);
      assert.equal(
        await resolveModelFolder(NAME, { localFilesOnly: true, revision: COMMIT, subfolder: 'unet' }),
        join(folder, 'unet'),
      );
      process.env['HF_HUB_OFFLINE'] = '1';
      assert.equal(await resolveModelFolder(NAME), folder);
      assert.equal(hub.seen.length, requests);
    });

    it('says where it looked when offline without a copy', async () => {
      await rejects(
        resolveModelFolder(NAME, { localFilesOnly: true }),
        'ERR_NOT_FOUND',
        /^someone\/a-model is neither a folder .* nor, at revision main, in the cache .*hub; localFilesOnly forbids asking http/,
      );
      process.env['HF_HUB_OFFLINE'] = 'YES';
      await rejects(resolveModelFolder(NAME), 'ERR_NOT_FOUND', /HF_HUB_OFFLINE forbids asking/);
      assert.equal(hub.seen.length, 0);
    });

    it('takes a commit as the revision, and honours cacheDir and HF_HUB_CACHE', async () => {
      const cacheDir = join(home, 'other');
      const folder = await resolveModelFolder(NAME, { revision: COMMIT, cacheDir });
      assert.equal(folder, join(cacheDir, 'models--someone--a-model/snapshots', COMMIT));
      assert.deepEqual((await readdir(join(cacheDir, 'models--someone--a-model'))).sort(), ['blobs', 'snapshots']);
      process.env['HF_HUB_CACHE'] = cacheDir;
      assert.equal(await resolveModelFolder(NAME, { localFilesOnly: true, revision: COMMIT }), folder);
    });

    it('sends the token, whatever it looks like, and reports progress', async () => {
      process.env['HF_TOKEN'] = 'secret';
      const received: number[] = [];
      await resolveModelFolder(NAME, {
        onProgress: ({ path, received: bytes }) => path.endsWith('s') && received.push(bytes),
      });
      assert.ok(hub.seen.every(({ authorization }) => authorization === 'Bearer secret'));
      assert.equal(received.at(-1), WEIGHTS.length);
      assert.deepEqual(
        received,
        [...received].sort((a, b) => a - b),
      );
      hub.seen.length = 0;
      delete process.env['HF_TOKEN'];
      await writeFile(join(home, 'token'), 'from-login\n');
      await resolveModelFolder(NAME);
      assert.ok(hub.seen.every(({ authorization }) => authorization === 'Bearer from-login'));
      await resolveModelFolder(NAME, { token: 'given' });
      assert.equal(hub.seen.at(-1)!.authorization, 'Bearer given');
    });

    it('takes up a broken download where it broke', async () => {
      hub.breaks = [100_000, 50_000];
      const folder = await resolveModelFolder(NAME, { allowPatterns: ['*model.safetensors'] });
      assert.deepEqual(await readFile(join(folder, 'unet/diffusion_pytorch_model.safetensors')), WEIGHTS);
      const ranges = hub.seen.filter(({ path }) => path.includes('/resolve/')).map(({ range }) => range);
      assert.deepEqual(
        ranges.filter((range) => range !== 'bytes=0-0'),
        [undefined, `bytes=100000-${WEIGHTS.length - 1}`, `bytes=150000-${WEIGHTS.length - 1}`],
      );
    });

    it('leaves no half file and no ref when it breaks for good, and starts anew', async () => {
      hub.breaks = [1000, 1000, 1000];
      const weights = { allowPatterns: ['*model.safetensors'] };
      await rejects(
        resolveModelFolder(NAME, weights),
        'ERR_NETWORK',
        /^can't fetch someone\/a-model from http.*HF_HUB_OFFLINE=1/,
      );
      assert.deepEqual(await leftovers(), []);
      assert.ok(!(await readdir(storage())).includes('refs'));
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
      assert.deepEqual(await leftovers(), []);
      await rejects(resolveModelFolder(NAME, { signal: AbortSignal.abort() }), 'ERR_ABORTED', /aborted/);
    });

    it('serves two at once', async () => {
      const [one, two] = await Promise.all([resolveModelFolder(NAME), resolveModelFolder(NAME)]);
      assert.equal(one, two);
      assert.deepEqual(await readFile(join(one, 'unet/diffusion_pytorch_model.safetensors')), WEIGHTS);
      assert.deepEqual(await leftovers(), []);
    });
  });

  describe('a refusal', () => {
    const answer = (status: number, error: string) => {
      hub.intercept = (_, response) => (json(response, status, { error }), true);
    };

    it('404 and 401 without a token: neither folder nor repository', async () => {
      const message =
        /^nobody\/nothing is neither a folder \(looked at .*nobody.nothing\) nor a repository on http.*set HF_TOKEN$/;
      await rejects(resolveModelFolder('nobody/nothing'), 'ERR_NOT_FOUND', message);
      answer(401, 'Invalid username or password.');
      await rejects(resolveModelFolder('nobody/nothing'), 'ERR_NOT_FOUND', message);
    });

    it('401 and 403 with a token: the token, or terms to accept', async () => {
      answer(401, 'Invalid credentials');
      await rejects(
        resolveModelFolder(NAME, { token: 'x' }),
        'ERR_NETWORK',
        /refused access .*\(status 401\) \(Invalid credentials\); check the token/,
      );
      answer(403, 'Gated');
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /\(status 403\) \(Gated\); set HF_TOKEN$/);
    });

    it('an unknown revision', async () => {
      await rejects(resolveModelFolder(NAME, { revision: 'v9' }), 'ERR_NOT_FOUND', /has no revision v9 on/);
      for (const revision of ['../x', '', '/etc']) {
        await rejects(resolveModelFolder(NAME, { revision }), 'ERR_ARGUMENT', /^revision must be a branch/);
      }
    });

    it('a server in trouble: an error, or the copy in the cache', async () => {
      answer(503, 'busy');
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /answered with status 503 .*\(busy\); try again later$/);
      hub.intercept = undefined;
      const folder = await resolveModelFolder(NAME);
      answer(503, 'busy');
      assert.equal(await resolveModelFolder(NAME), folder);
    });

    it('no server at all: an error, or the copy in the cache', async () => {
      const folder = await resolveModelFolder(NAME);
      const closed = createServer();
      await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
      const { port } = closed.address() as AddressInfo;
      await new Promise((resolve) => closed.close(resolve));
      process.env['HF_ENDPOINT'] = `http://127.0.0.1:${port}/`;
      assert.equal(await resolveModelFolder(NAME), folder);
      await rejects(
        resolveModelFolder('someone/other'),
        'ERR_NETWORK',
        /: ECONNREFUSED; check the network \(HTTPS_PROXY, HF_ENDPOINT\)/,
      );
      process.env['HF_ENDPOINT'] = 'ftp://x';
      await rejects(
        resolveModelFolder('someone/other'),
        'ERR_ARGUMENT',
        /^HF_ENDPOINT must be an http or https address/,
      );
    });

    it('is had through a proxy where one is set', async () => {
      const { port } = new URL(process.env['HF_ENDPOINT']!);
      const asked: string[] = [];
      const proxy = createHttpServer().on('connect', (request, socket: Socket) => {
        asked.push(request.url!);
        const upstream = connect(Number(port), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
          socket.pipe(upstream).pipe(socket);
        });
        for (const end of [socket, upstream]) end.on('error', () => undefined);
      });
      await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
      delete process.env['NO_PROXY'];
      process.env['HTTP_PROXY'] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
      process.env['HF_ENDPOINT'] = 'http://hub.invalid';
      const folder = await resolveModelFolder(NAME, { subfolder: 'unet' });
      assert.deepEqual(await readFile(join(folder, 'diffusion_pytorch_model.safetensors')), WEIGHTS);
      assert.ok(asked.length > 0 && asked.every((host) => host === 'hub.invalid:80'));
      proxy.closeAllConnections();
      proxy.close();
    });
  });

  describe('a hostile server', () => {
    const OID = 'b'.repeat(40);
    const refused = (entry: Record<string, unknown>, message: RegExp) => async () => {
      hub.tree = [{ type: 'file', path: 'x.json', size: 2, oid: OID, ...entry }];
      await rejects(resolveModelFolder(NAME), 'ERR_CHECKPOINT', message);
      assert.deepEqual(await readdir(home), []);
    };
    for (const path of [
      '../../evil.json',
      '/etc/evil.json',
      'a/../../evil.json',
      'C:evil.json',
      'a\\..\\evil.json',
      'a//b.json',
      './x.json',
      'a\u0000.json',
    ]) {
      it(`can not name ${JSON.stringify(path)}`, refused({ path }, /is no path inside the repository$/));
    }
    for (const size of [-1, 1.5, '2', null, MAX_FILE_BYTES + 1]) {
      it(`can not state a size of ${JSON.stringify(size)}`, refused({ size }, /must have 0 … \d+ bytes, got /));
    }
    for (const oid of ['../../evil', '', 7, null, 'B'.repeat(40)]) {
      it(`can not name a blob ${JSON.stringify(oid)}`, refused({ oid }, /must have a hash in hexadecimal/));
    }
    it(
      'can not name a blob through lfs',
      refused({ lfs: { oid: '../x', size: 1, pointerSize: 1 } }, /must have a hash/),
    );

    it('can not name a commit that is none', async () => {
      hub.intercept = (_, response) => (json(response, 200, { id: NAME, sha: '../../../evil' }), true);
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /must name the commit .*got "\.\.\/\.\.\/\.\.\/evil"$/);
    });

    it('can not pass other bytes, fewer or more', async () => {
      const [file] = FILES;
      hub.tree = [{ ...hub.entryOf(file!), oid: OID }];
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /must have the hash b{40}, got other bytes/);
      hub.tree = [{ ...hub.entryOf(file!), size: file!.content.length - 1 }];
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /must have 30 bytes, got 31$/);
      hub.tree = [hub.entryOf(file!)];
      hub.intercept = (request, response) => {
        if (!request.url!.includes('/resolve/') || request.headers.range !== undefined) return false;
        response.end(Buffer.alloc(1_000_000));
        return true;
      };
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /is longer than 31 bytes$/);
      assert.deepEqual(await leftovers(), []);
      assert.deepEqual(await readdir(join(storage(), 'blobs')), []);
    });

    it('can not end the program with an answer that is no API', async () => {
      for (const body of ['null', '[]', '{"sha": 1}', 'oops', '']) {
        hub.intercept = (_, response) => (response.end(body), true);
        await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /someone\/a-model/);
      }
    });
  });
});
