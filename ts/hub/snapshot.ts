import { createHash, randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { downloadFile, listFiles, modelInfo, type ListFileEntry } from '@huggingface/hub';
import { CheckpointError, NetworkError } from '../errors';
import { isFolder } from '../files/is-folder';
import { writeFileAtomic } from '../files/atomic-write';
import { COMMIT, isSafeRelativePath, MAX_FILE_BYTES, type Repository } from './repository';
import type { ChooseFiles, HubProgress } from './resolve-model-folder';

/** The most files of a repository that are looked at. */
const MAX_FILES = 100_000;

/** How often a broken connection is taken up again, at the byte where it broke. */
const ATTEMPTS = 3;

const OID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** How to reach the hub. */
export interface HubAccess {
  readonly endpoint: string;
  readonly fetch: typeof fetch;
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
}

/** A file of the repository; everything in it has been checked, for it comes from the server. */
interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** Names the blob in the cache, as Python's huggingface_hub names it. */
  readonly etag: string;
  /** What the content's hash must be. */
  readonly hash: { readonly algorithm: 'sha256' | 'git-sha1'; readonly value: string } | null;
}

/**
 * The folder of the cache that holds `repository`, if it does. A branch or tag is looked up where the last download
 * wrote it down.
 */
export async function cachedSnapshot({ storage, revision }: Repository): Promise<string | undefined> {
  const commit = COMMIT.test(revision) ? revision : await readRef(join(storage, 'refs', revision));
  if (commit === undefined) return undefined;
  const folder = join(storage, 'snapshots', commit);
  return (await isFolder(folder)) ? folder : undefined;
}

/** The commit that the hub has at a revision. @throws NetworkError if the answer is none; the client's errors as is. */
export async function commitOf({ name, revision }: Repository, access: HubAccess): Promise<string> {
  if (COMMIT.test(revision)) return revision;
  const { endpoint: hubUrl, fetch } = access;
  const { sha } = await modelInfo({ name, revision, hubUrl, fetch, additionalFields: ['sha'] });
  if (typeof sha === 'string' && COMMIT.test(sha)) return sha;
  throw new NetworkError(`${hubUrl} must name the commit of ${name}, got ${JSON.stringify(sha)}`);
}

/**
 * Fetches the files that `choose` picks into the standard cache (blobs, snapshots, refs), one after the other, those
 * that are there excepted. The ref is written last: it never names a snapshot that was interrupted.
 *
 * `@huggingface/hub` has `snapshotDownload`, which takes all files and trusts the server's file names, hashes and
 * sizes; this one picks files, and checks.
 */
export async function downloadSnapshot(
  repository: Repository,
  commit: string,
  choose: ChooseFiles,
  access: HubAccess,
): Promise<{ folder: string; files: number }> {
  const { name, revision, storage } = repository;
  const folder = join(storage, 'snapshots', commit);
  const entries = new Map<string, ListFileEntry>();
  let seen = 0;
  const { endpoint: hubUrl, fetch } = access;
  for await (const entry of listFiles({
    repo: { type: 'model', name },
    recursive: true,
    revision: commit,
    hubUrl,
    fetch,
  })) {
    if (++seen > MAX_FILES) throw new CheckpointError(`${name} must have at most ${MAX_FILES} files`);
    if (entry?.type === 'file' && typeof entry.path === 'string') entries.set(entry.path, entry);
  }
  const files = choose([...entries.keys()]).map((path) => checked(name, entries.get(path)!));
  for (const file of files) await ensureFile(repository, commit, file, access);
  if (files.length > 0 && revision !== commit) await writeFileAtomic(join(storage, 'refs', revision), commit);
  return { folder, files: files.length };
}

function checked(name: string, { path, size, oid, lfs, xetHash }: ListFileEntry): RemoteFile {
  const shown = `${name}: ${JSON.stringify(path.slice(0, 200))}`;
  if (!isSafeRelativePath(path)) throw new CheckpointError(`${shown} is no path inside the repository`);
  const bytes = lfs?.size ?? size;
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > MAX_FILE_BYTES) {
    throw new CheckpointError(`${shown} must have 0 … ${MAX_FILE_BYTES} bytes, got ${String(bytes)}`);
  }
  const etag = lfs?.oid ?? xetHash ?? oid;
  if (typeof etag !== 'string' || !OID.test(etag)) {
    throw new CheckpointError(`${shown} must have a hash in hexadecimal, got ${JSON.stringify(etag)?.slice(0, 200)}`);
  }
  const sha256 = lfs?.oid;
  // Without LFS the oid is git's: the SHA-1 of a header and the content. A xet hash can't be had from the content.
  const hash =
    sha256 !== undefined
      ? { algorithm: 'sha256' as const, value: sha256 }
      : xetHash === undefined && etag.length === 40
        ? { algorithm: 'git-sha1' as const, value: etag }
        : null;
  return { path, size: bytes, etag, hash };
}

async function ensureFile(repository: Repository, commit: string, file: RemoteFile, access: HubAccess): Promise<void> {
  const pointer = join(repository.storage, 'snapshots', commit, file.path);
  if ((await sizeOf(pointer)) === file.size) return;
  const blob = join(repository.storage, 'blobs', file.etag);
  if ((await sizeOf(blob)) !== file.size) await downloadBlob(repository.name, commit, file, blob, access);
  await link(blob, pointer);
}

async function downloadBlob(
  name: string,
  revision: string,
  file: RemoteFile,
  blob: string,
  { endpoint: hubUrl, fetch, onProgress }: HubAccess,
): Promise<void> {
  const { path, size, hash } = file;
  await mkdir(dirname(blob), { recursive: true });
  // A name of its own: two processes may fetch the same file at once, and the last one's rename wins.
  const incomplete = `${blob}.${randomBytes(4).toString('hex')}.incomplete`;
  const handle = await open(incomplete, 'wx');
  try {
    const digest = createHash(hash?.algorithm === 'git-sha1' ? 'sha1' : 'sha256');
    if (hash?.algorithm === 'git-sha1') digest.update(`blob ${size}\0`);
    let received = 0;
    for (let attempt = 1; received < size; attempt++) {
      try {
        const remote = await downloadFile({ repo: { type: 'model', name }, path, revision, hubUrl, fetch, xet: false });
        if (remote === null || remote.size !== size) {
          throw new NetworkError(`${name}: ${path} must have ${size} bytes, got ${remote?.size ?? 'no such file'}`);
        }
        const rest = received === 0 ? remote : remote.slice(received);
        for await (const chunk of rest.stream() as unknown as AsyncIterable<Uint8Array>) {
          if (received + chunk.length > size) throw new NetworkError(`${name}: ${path} is longer than ${size} bytes`);
          digest.update(chunk);
          await handle.write(chunk);
          received += chunk.length;
          onProgress?.({ path, received, total: size });
        }
        if (received < size) throw new Error(`the connection ended after ${received} of ${size} bytes`);
      } catch (error) {
        if (attempt >= ATTEMPTS || isFinal(error)) throw error;
      }
    }
    if (hash !== null && digest.digest('hex') !== hash.value) {
      throw new NetworkError(`${name}: ${path} must have the hash ${hash.value}, got other bytes; try again`);
    }
    await handle.close();
    await rename(incomplete, blob);
  } finally {
    await handle.close().catch(() => undefined);
    await rm(incomplete, { force: true });
  }
}

/** Whether trying again can't help: the caller gave up, the disk is full, or the server said no or something wrong. */
function isFinal(error: unknown): boolean {
  const { name, statusCode, code } = (error ?? {}) as { name?: string; statusCode?: number; code?: string };
  const isDisk = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EIO' || code === 'EFBIG';
  return name === 'AbortError' || error instanceof NetworkError || isDisk || (statusCode ?? 500) < 500;
}

/** A relative link, so that the cache can be moved; a copy where links aren't allowed (Windows). */
async function link(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  const temporary = `${pointer}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await symlink(relative(dirname(pointer), blob), temporary).catch(() => copyFile(blob, temporary));
    await rename(temporary, pointer);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function readRef(file: string): Promise<string | undefined> {
  if (((await sizeOf(file)) ?? Infinity) > 256) return undefined;
  const commit = (await readFile(file, 'utf8').catch(() => '')).trim();
  return COMMIT.test(commit) ? commit : undefined;
}

async function sizeOf(file: string): Promise<number | undefined> {
  const stats = await stat(file).catch(() => undefined);
  return stats?.isFile() === true ? stats.size : undefined;
}
