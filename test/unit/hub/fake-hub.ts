import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A file of the fake repository; `lfs` ones are listed with their SHA-256, others with git's SHA-1. */
export interface FakeFile {
  readonly path: string;
  readonly content: Buffer;
  readonly lfs?: boolean;
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export const COMMIT = 'a'.repeat(40);

const gitSha1 = (content: Buffer): string =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

/** A server on 127.0.0.1 that speaks the part of the hub's API that a download needs, for one repository. */
export class FakeHub {
  readonly seen: Seen[] = [];
  /** Answers instead of the usual one where it returns true. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** Entries of the file list instead of those of `files`. */
  tree: unknown[] | undefined;
  /** The next downloads break after as many bytes, once each. */
  breaks: number[] = [];
  #server = createServer((request, response) => this.#answer(request, response));

  constructor(
    readonly repository: string,
    readonly files: FakeFile[],
  ) {}

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** How many clients are connected now. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) => this.#server.getConnections((error, count) => (error ? reject(error) : resolve(count))));
  }

  /** The paths of files whose content was asked for (the client's probes for a file's size left out). */
  get downloads(): string[] {
    return this.seen
      .filter(({ path, range }) => path.includes('/resolve/') && range !== 'bytes=0-0')
      .map(({ path }) => path.split(`/resolve/${COMMIT}/`)[1]!);
  }

  entryOf({ path, content, lfs }: FakeFile): Record<string, unknown> {
    const entry = { type: 'file', path, size: content.length, oid: gitSha1(content) };
    return lfs === true ? { ...entry, lfs: { oid: sha256(content), size: content.length, pointerSize: 130 } } : entry;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url!, 'http://hub');
    const { range, authorization } = request.headers;
    this.seen.push({ method: request.method!, path: pathname, range, authorization });
    if (this.intercept?.(request, response) === true) return;
    const api = `/api/models/${this.repository}`;
    const revision = pathname.startsWith(`${api}/revision/`) ? pathname.slice(`${api}/revision/`.length) : undefined;
    if (revision !== undefined) {
      if (revision !== 'main' && revision !== COMMIT)
        return json(response, 404, { error: `Invalid rev id: ${revision}` }, { 'x-error-code': 'RevisionNotFound' });
      return json(response, 200, {
        _id: '1',
        id: this.repository,
        sha: COMMIT,
        lastModified: '2024-01-01T00:00:00.000Z',
      });
    }
    if (pathname === `${api}/tree/${COMMIT}`) {
      const entries = this.tree ?? this.files.map((file) => this.entryOf(file));
      // Two pages, as the hub has of long lists.
      const half = Math.ceil(entries.length / 2);
      if (searchParams.get('cursor') === '2') return json(response, 200, entries.slice(half));
      const next = `http://${request.headers.host}${pathname}?recursive=true&cursor=2`;
      return json(response, 200, entries.slice(0, half), { link: `<${next}>; rel="next"` });
    }
    const prefix = `/${this.repository}/resolve/${COMMIT}/`;
    const file = this.files.find(({ path }) => pathname === prefix + path);
    if (file === undefined)
      return json(response, 404, { error: 'Repository not found' }, { 'x-error-code': 'RepoNotFound' });
    this.#send(response, file, range);
  }

  #send(response: ServerResponse, { content, lfs }: FakeFile, range: string | undefined): void {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    const body = from === undefined ? content : content.subarray(Number(from), Number(to) + 1);
    response.writeHead(from === undefined ? 200 : 206, {
      'content-length': body.length,
      etag: `"${lfs === true ? sha256(content) : gitSha1(content)}"`,
      ...(from === undefined ? {} : { 'content-range': `bytes ${from}-${to}/${content.length}` }),
    });
    const breakAt = range === 'bytes=0-0' ? undefined : this.breaks.shift();
    if (breakAt === undefined) return void response.end(body);
    response.write(body.subarray(0, breakAt), () => setTimeout(() => response.destroy(), 20));
  }
}

export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}
