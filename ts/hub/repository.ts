import { join } from 'node:path';
import { showValue } from '../arguments';
import { ArgumentError } from '../errors';

/** A hub repository at a revision, and the folder of the cache that holds it. */
export interface Repository {
  /** `owner/name`, or `name` for the oldest ones. */
  readonly name: string;
  /** A branch, tag or commit. */
  readonly revision: string;
  /** cacheDir/models--owner--name */
  readonly storage: string;
}

/** The largest file that is fetched. What the server sends beyond the size it stated is never written. */
export const MAX_FILE_BYTES = 64 * 1024 ** 3;

/** What the hub allows as a name; nothing that could leave the cache's folder matches. */
const PART = /^(?!.*(--|\.\.))[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;

/** A git commit in full. */
export const COMMIT = /^[0-9a-f]{40}$/;

/** Whether `name` could be a hub repository: `owner/name` or `name`. */
export function isRepositoryName(name: string): boolean {
  const parts = name.split('/');
  return parts.length <= 2 && parts.every((part) => PART.test(part));
}

/** Whether a `/`-separated path stays inside the folder it is joined to, on every platform. */
export function isSafeRelativePath(path: string): boolean {
  return (
    path.length <= 1024 &&
    path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && !UNSAFE_CHARACTERS.test(part))
  );
}

/** Backslashes and colons are separators on Windows; the others are no part of a file's name there, or of a URL. */
// eslint-disable-next-line no-control-regex
const UNSAFE_CHARACTERS = /[\\:<>|"?*#%\u0000-\u001f\u007f]/;

/** @throws ArgumentError for a revision that is no branch, tag or commit. */
export function repositoryAt(name: string, revision: string, cacheDir: string): Repository {
  if (typeof revision !== 'string' || !isSafeRelativePath(revision)) {
    throw new ArgumentError(`revision must be a branch, tag or commit, got ${showValue(revision)}`);
  }
  return { name, revision, storage: join(cacheDir, ['models', ...name.split('/')].join('--')) };
}
