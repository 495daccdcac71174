// @ts-check
import { createHash } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { megabytes } from './progress.mjs';
import { SetupError, UnreachableError, reasonOf } from './setup-error.mjs';

/**
 * @typedef {object} DownloadOptions
 * @property {import('./progress.mjs').Progress} progress
 * @property {NodeJS.ProcessEnv} env for HTTP_PROXY, HTTPS_PROXY and NO_PROXY
 * @property {number} [retryMs] the wait before the second attempt, default 500; each further one waits as much longer
 */

/** A server that says nothing for this long is taken for gone. */
const CONNECT_TIMEOUT_MS = 15_000;
const SILENCE_TIMEOUT_MS = 60_000;
const MAX_ATTEMPTS = 4;

/** The answer of a server that will not change by asking again. */
class RefusedError extends UnreachableError {}

/**
 * Downloads `url` to `file`. What a broken connection or an earlier process left in `file`.part is continued by a Range
 * request, if the server still has the same file (same ETag or date, same length); else it starts over. The length is
 * checked before the file gets its name.
 *
 * @param {string} url
 * @param {string} file
 * @param {DownloadOptions} options
 * @returns {Promise<{ resumed: boolean }>} whether part of it came from an earlier connection
 * @throws {UnreachableError} if the host can't be reached or refuses
 */
export async function download(url, file, options) {
  if (existsSync(file)) return { resumed: false };
  mkdirSync(path.dirname(file), { recursive: true });
  let resumed = false;
  for (let attempt = 1; ; attempt++) {
    try {
      resumed = (await transfer(url, file, options)) || resumed;
      return { resumed };
    } catch (error) {
      const code = /** @type {{ code?: string }} */ (error).code;
      if (code === 'ENOSPC')
        throw new SetupError(`the disk of ${file} is full; free some space and run it again.`, { cause: error });
      if (error instanceof RefusedError) throw error;
      if (attempt === MAX_ATTEMPTS || isLookupFailure(error)) {
        throw new UnreachableError(`can't download ${url}: ${reasonOf(error)}`, { cause: error });
      }
      options.progress.step(`  connection lost (${reasonOf(error)}), trying again`);
      await new Promise((resolve) => setTimeout(resolve, (options.retryMs ?? 500) * attempt));
    }
  }
}

/**
 * A name that does not resolve or a port nobody listens on will not come to life in a second.
 *
 * @param {unknown} error
 */
function isLookupFailure(error) {
  return /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|UND_ERR_CONNECT_TIMEOUT|CERT/.test(reasonOf(error));
}

/**
 * One connection's worth. @param {string} url @param {string} file @param {DownloadOptions} options
 * @returns {Promise<boolean>} whether it continued an earlier part
 */
async function transfer(url, file, { progress, env }) {
  const { fetch, EnvHttpProxyAgent } = await import('undici');
  const part = `${file}.part`;
  const known = readPart(part, url);
  const dispatcher = new EnvHttpProxyAgent({
    ...proxies(env),
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: SILENCE_TIMEOUT_MS,
    bodyTimeout: SILENCE_TIMEOUT_MS,
  });
  try {
    const headers = { 'accept-encoding': 'identity', ...rangeHeaders(known) };
    const response = await fetch(url, { dispatcher, headers });
    if (response.status === 416) {
      forget(part);
      throw new Error('the server refused to continue the earlier download; starting over');
    }
    if (!response.ok || response.body === null) {
      throw new RefusedError(`can't download ${url}: the server answered ${response.status} ${response.statusText}`);
    }
    const from = response.status === 206 ? startOf(response.headers.get('content-range'), known.bytes) : 0;
    const length = Number(response.headers.get('content-length') ?? Number.NaN);
    const total = from + length;
    if (from === 0) forget(part);
    const validator = response.headers.get('etag') ?? response.headers.get('last-modified') ?? '';
    writeFileSync(`${part}.json`, JSON.stringify({ url, validator }));
    await pipeline(
      Readable.fromWeb(/** @type {import('node:stream/web').ReadableStream} */ (response.body)),
      meter(from, total, path.basename(new URL(url).pathname), progress),
      createWriteStream(part, { flags: from === 0 ? 'w' : 'a' }),
    );
    finish(part, file, total);
    return from > 0;
  } finally {
    progress.done();
    await dispatcher.destroy();
  }
}

/** @param {NodeJS.ProcessEnv} env */
function proxies(env) {
  const http = env.http_proxy || env.HTTP_PROXY || env.all_proxy || env.ALL_PROXY;
  const https = env.https_proxy || env.HTTPS_PROXY || http;
  const none = env.no_proxy || env.NO_PROXY;
  return {
    ...(http ? { httpProxy: http } : {}),
    ...(https ? { httpsProxy: https } : {}),
    ...(none ? { noProxy: none } : {}),
  };
}

/**
 * @param {string} part
 * @param {string} url
 */
function readPart(part, url) {
  try {
    const note = JSON.parse(readFileSync(`${part}.json`, 'utf8'));
    if (note.url === url && typeof note.validator === 'string') {
      return { bytes: statSync(part).size, validator: note.validator };
    }
  } catch {
    // no part, or no readable note about it: start over
  }
  return { bytes: 0, validator: '' };
}

/**
 * If-Range makes the server send the whole file when it is no longer the same one.
 *
 * @param {{ bytes: number, validator: string }} known
 */
function rangeHeaders({ bytes, validator }) {
  // A weak ETag can't vouch for bytes, and without any validator nothing can.
  if (bytes === 0 || validator === '' || validator.startsWith('W/')) return {};
  return { range: `bytes=${bytes}-`, 'if-range': validator };
}

/**
 * @param {string | null} contentRange
 * @param {number} expected
 */
function startOf(contentRange, expected) {
  const start = Number(/^bytes (\d+)-/.exec(contentRange ?? '')?.[1] ?? Number.NaN);
  if (start !== expected) throw new RefusedError(`the server continued at byte ${start}, not ${expected}`);
  return start;
}

/**
 * @param {number} from
 * @param {number} total
 * @param {string} name
 * @param {import('./progress.mjs').Progress} progress
 */
function meter(from, total, name, progress) {
  let bytes = from;
  return new Transform({
    transform(chunk, _encoding, callback) {
      bytes += chunk.length;
      const share = Number.isFinite(total)
        ? `${Math.floor((100 * bytes) / total)}% of ${megabytes(total)}`
        : megabytes(bytes);
      progress.update(`  ${decodeURIComponent(name)}: ${share}`);
      callback(null, chunk);
    },
  });
}

/**
 * @param {string} part
 * @param {string} file
 * @param {number} total
 */
function finish(part, file, total) {
  const size = statSync(part).size;
  if (Number.isFinite(total) && size !== total) {
    if (size > total) forget(part);
    throw new Error(`got ${size} of ${total} bytes`);
  }
  renameSync(part, file);
  rmSync(`${part}.json`, { force: true });
}

/** @param {string} part */
function forget(part) {
  rmSync(part, { force: true });
  rmSync(`${part}.json`, { force: true });
}

/** The SHA-256 of a file, in hex. @param {string} file */
export async function sha256(file) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
