import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A file server that honours ranges, and can be told to break off, lie or refuse. */
export interface FakeServer {
  readonly base: string;
  /** The Range header of each request, or 'none'. */
  readonly ranges: string[];
  body: Buffer;
  etag: string;
  /** Bytes after which a connection is cut, one entry per request; none left: no cut. */
  readonly cuts: number[];
  status: number;
  close(): Promise<void>;
}

export async function fakeServer(body: Buffer): Promise<FakeServer> {
  const server = createServer((request, response) => {
    answer(fake, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const fake: FakeServer = {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ranges: [],
    body,
    etag: '"one"',
    cuts: [],
    status: 200,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return fake;
}

function answer(fake: FakeServer, request: IncomingMessage, response: ServerResponse): void {
  fake.ranges.push(request.headers.range ?? 'none');
  if (fake.status !== 200) {
    response.writeHead(fake.status).end();
    return;
  }
  const isSame = request.headers['if-range'] === undefined || request.headers['if-range'] === fake.etag;
  const start = Number(/^bytes=(\d+)-$/.exec(isSame ? (request.headers.range ?? '') : '')?.[1] ?? 0);
  const part = fake.body.subarray(start);
  response.writeHead(start > 0 ? 206 : 200, {
    etag: fake.etag,
    'content-length': part.length,
    ...(start > 0 ? { 'content-range': `bytes ${start}-${fake.body.length - 1}/${fake.body.length}` } : {}),
  });
  const cut = fake.cuts.shift();
  if (cut === undefined) response.end(part);
  else response.write(part.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
}
