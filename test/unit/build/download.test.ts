import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fakeServer, type FakeServer } from './fake-server';
import { quietProgress, scratchFolder } from './scratch';

const importDownload = () => import('../../../scripts/build/download.mjs');
type DownloadModule = Awaited<ReturnType<typeof importDownload>>;

describe('build/download', () => {
  const scratch = scratchFolder();
  let download: DownloadModule['download'];
  let server: FakeServer;
  const body = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251));
  const get = (env: NodeJS.ProcessEnv = {}) =>
    download(`${server.base}/cpu/torch%2Bcpu.zip`, path.join(scratch.folder, 'torch.zip'), {
      env,
      progress: quietProgress(),
      retryMs: 1,
    });
  const file = () => path.join(scratch.folder, 'torch.zip');

  before(async () => {
    ({ download } = await importDownload());
  });
  beforeEach(async () => {
    server = await fakeServer(body);
  });
  afterEach(() => server.close());

  it('downloads whole, and not again', async () => {
    assert.deepEqual(await get(), { resumed: false });
    assert.deepEqual(readFileSync(file()), body);
    await get();
    assert.deepEqual(server.ranges, ['none']);
    assert.deepEqual(readdirSync(scratch.folder), ['torch.zip']);
  });

  it('continues after a cut connection with a Range request', async () => {
    server.cuts.push(50_000);
    assert.deepEqual(await get(), { resumed: true });
    assert.deepEqual(readFileSync(file()), body);
    assert.deepEqual(server.ranges, ['none', 'bytes=50000-']);
  });

  it('keeps what came when every attempt is cut, and the next run continues there', async () => {
    server.cuts.push(10_000, 10_000, 10_000, 10_000);
    await assert.rejects(get(), { name: 'UnreachableError', message: /can't download http/ });
    assert.equal(existsSync(file()), false);
    assert.equal(statSync(`${file()}.part`).size, 40_000);
    assert.deepEqual(await get(), { resumed: true });
    assert.equal(server.ranges.at(-1), 'bytes=40000-');
    assert.deepEqual(readFileSync(file()), body);
  });

  it('starts over when the file changed on the server meanwhile', async () => {
    server.cuts.push(10_000, 0, 0, 0);
    await assert.rejects(get());
    server.etag = '"two"';
    server.body = Buffer.from('another file');
    await get();
    assert.equal(readFileSync(file(), 'utf8'), 'another file');
  });

  it('starts over when the server keeps no ETag', async () => {
    server.etag = 'W/"weak"';
    server.cuts.push(10_000);
    assert.deepEqual(await get(), { resumed: false });
    assert.deepEqual(server.ranges, ['none', 'none']);
    assert.deepEqual(readFileSync(file()), body);
  });

  it('says what a refusing server answered, without asking again', async () => {
    server.status = 403;
    await assert.rejects(get(), { name: 'UnreachableError', message: /the server answered 403 Forbidden/ });
    assert.equal(server.ranges.length, 1);
  });

  it('says that nobody listens', async () => {
    await server.close();
    await assert.rejects(get(), { name: 'UnreachableError', message: /ECONNREFUSED/ });
  });

  it('goes through HTTP_PROXY, but not where NO_PROXY names the host', async () => {
    let proxied = 0;
    const proxy = createServer((_request, response) => response.writeHead(502).end());
    // undici tunnels plain http through CONNECT as well.
    proxy.on('connect', (_request, socket) => {
      proxied += 1;
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    });
    proxy.on('request', () => (proxied += 1));
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    try {
      await assert.rejects(get({ HTTP_PROXY: address }), { name: 'UnreachableError' });
      assert.ok(proxied > 0);
      const before = proxied;
      await get({ HTTP_PROXY: address, NO_PROXY: '127.0.0.1' });
      assert.equal(proxied, before);
      assert.deepEqual(readFileSync(file()), body);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });
});
