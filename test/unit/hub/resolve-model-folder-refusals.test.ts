import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { MAX_FILE_BYTES, resolveModelFolder } from '../../../ts/hub';
import { json } from './fake-hub';
import { FILES, hubOfItsOwn, NAME, rejects, WEIGHTS } from './hub-of-its-own';

describe('hub/resolveModelFolder that is refused', () => {
  const own = hubOfItsOwn();

  describe('a refusal', () => {
    const answer = (status: number, error: string) => {
      own.hub.intercept = (_, response) => (json(response, status, { error }), true);
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

    it('an option of the wrong kind, before a local folder is looked at', async () => {
      const wrong: [option: object, message: RegExp][] = [
        [{ subfolder: '../x' }, /^subfolder must be a relative path inside the model, got "\.\.\/x"/],
        [{ revision: 5 }, /^revision must be a branch, tag or commit, got 5/],
        [{ cacheDir: 5 }, /^cacheDir must be a path, got 5/],
        [{ localFilesOnly: 'x' }, /^localFilesOnly must be a boolean, got "x"/],
        [{ token: 12345 }, /^token must be a string, got a value of type number$/],
        [{ allowPatterns: '*.json' }, /^allowPatterns must be an array of patterns, got "\*\.json"/],
        [{ onProgress: 5 }, /^onProgress must be a function, got 5/],
        [{ signal: {} }, /^signal must be an AbortSignal, got an object/],
      ];
      for (const [option, message] of wrong) {
        for (const model of [NAME, '.']) await rejects(resolveModelFolder(model, option), 'ERR_ARGUMENT', message);
      }
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
      own.hub.intercept = undefined;
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
      for (const endpoint of ['ftp://x', 'huggingface.co', 'http://a b', 'https://[1']) {
        process.env['HF_ENDPOINT'] = endpoint;
        await rejects(
          resolveModelFolder('someone/other'),
          'ERR_ARGUMENT',
          /^HF_ENDPOINT must be an http or https address/,
        );
      }
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
      process.env['HF_ENDPOINT'] = 'http://own.hub.invalid';
      const folder = await resolveModelFolder(NAME, { subfolder: 'unet' });
      assert.deepEqual(await readFile(join(folder, 'diffusion_pytorch_model.safetensors')), WEIGHTS);
      assert.ok(asked.length > 0 && asked.every((host) => host === 'own.hub.invalid:80'));
      proxy.closeAllConnections();
      proxy.close();
    });
  });

  describe('a hostile server', () => {
    const OID = 'b'.repeat(40);
    const refused = (entry: Record<string, unknown>, message: RegExp) => async () => {
      own.hub.tree = [{ type: 'file', path: 'x.json', size: 2, oid: OID, ...entry }];
      await rejects(resolveModelFolder(NAME), 'ERR_CHECKPOINT', message);
      assert.deepEqual(await readdir(own.home), []);
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
      own.hub.intercept = (_, response) => (json(response, 200, { id: NAME, sha: '../../../evil' }), true);
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /must name the commit .*got "\.\.\/\.\.\/\.\.\/evil"$/);
    });

    it('can not pass other bytes, fewer or more', async () => {
      const [file] = FILES;
      own.hub.tree = [{ ...own.hub.entryOf(file!), oid: OID }];
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /must have the hash b{40}, got other bytes/);
      own.hub.tree = [{ ...own.hub.entryOf(file!), size: file!.content.length - 1 }];
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /must have 30 bytes, got 31$/);
      own.hub.tree = [own.hub.entryOf(file!)];
      own.hub.intercept = (request, response) => {
        if (!request.url!.includes('/resolve/') || request.headers.range !== undefined) return false;
        response.end(Buffer.alloc(1_000_000));
        return true;
      };
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /is longer than 31 bytes$/);
      assert.deepEqual(await own.leftovers(), []);
      assert.deepEqual(await readdir(join(own.storage(), 'blobs')), []);
    });

    it('can not fill the memory with an answer that does not end', async () => {
      own.hub.intercept = (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const more = (gone?: Error | null): void => void (gone ?? response.write(Buffer.alloc(1024 * 1024, ' '), more));
        more();
        return true;
      };
      await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /answered with more than 67108864 bytes$/);
    });

    it('can not end the program with an answer that is no API', async () => {
      for (const body of ['null', '[]', '{"sha": 1}', 'oops', '']) {
        own.hub.intercept = (_, response) => (response.end(body), true);
        await rejects(resolveModelFolder(NAME), 'ERR_NETWORK', /someone\/a-model/);
      }
    });
  });
});
