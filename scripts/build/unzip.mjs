// @ts-check
import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync } from 'node:fs';
import path from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';
import { SetupError, reasonOf } from './setup-error.mjs';

/**
 * @typedef {object} UnzipOptions
 * @property {(name: string) => boolean} [wanted] which entries to write; default all
 * @property {(name: string) => string | undefined} [expectedSha256] base64url, where it is known
 * @property {number} [maxBytes] of everything written, default 16 GB
 * @property {number} [maxEntries] default 200 000
 * @property {(bytes: number) => void} [onBytes]
 */

/** An archive that is damaged or not what it should be. */
export class ArchiveError extends SetupError {}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;

/**
 * Opens a zip, runs `use` over its entries and closes it. Every failure is an ArchiveError that names the file.
 *
 * @template T
 * @param {string} file
 * @param {(zip: import('yauzl').ZipFile) => Promise<T>} use
 */
async function withZip(file, use) {
  const { default: yauzl } = await import('yauzl');
  /** @type {import('yauzl').ZipFile | undefined} */
  let zip;
  try {
    zip = await yauzl.openPromise(file, { strictFileNames: true, validateEntrySizes: true, autoClose: false });
    return await use(zip);
  } catch (error) {
    const code = /** @type {{ code?: string }} */ (error).code;
    if (code === 'ENOSPC')
      throw new SetupError('the disk is full; free some space and run it again.', { cause: error });
    throw new ArchiveError(`${path.basename(file)} is damaged or not a zip archive: ${reasonOf(error)}`, {
      cause: error,
    });
  } finally {
    zip?.close();
  }
}

/**
 * Refuses a name that leaves the folder; yauzl refuses '..', absolute paths and backslashes, this holds without it
 * too.
 *
 * @param {string} folder
 * @param {string} name
 */
function insideOf(folder, name) {
  const target = path.resolve(folder, name);
  if (target !== folder && !target.startsWith(folder + path.sep))
    throw new Error(`the entry ${name} leaves the folder`);
  return target;
}

/**
 * Only plain files and folders; a link could lead a later entry out of the folder.
 *
 * @param {import('yauzl').Entry} entry
 */
function requirePlain(entry) {
  const type = (entry.externalFileAttributes >>> 16) & S_IFMT;
  if (type !== 0 && type !== S_IFREG && type !== S_IFDIR) {
    throw new Error(`the entry ${entry.fileName} is a link or a special file`);
  }
  if (entry.isEncrypted()) throw new Error(`the entry ${entry.fileName} is encrypted`);
}

/**
 * Unpacks `file` into `folder`: plain files inside it only, CRC and size of each checked, its SHA-256 too where known.
 *
 * @param {string} file
 * @param {string} folder
 * @param {UnzipOptions} [options]
 * @returns {Promise<number>} how many files were written
 */
export async function unzip(file, folder, options = {}) {
  const { wanted = () => true, maxBytes = 16e9, maxEntries = 200_000 } = options;
  const root = path.resolve(folder);
  return withZip(file, async (zip) => {
    if (zip.entryCount > maxEntries) throw new Error(`${zip.entryCount} entries are more than ${maxEntries}`);
    let bytes = 0;
    let files = 0;
    for await (const entry of zip.eachEntry()) {
      if (!wanted(entry.fileName)) continue;
      requirePlain(entry);
      const target = insideOf(root, entry.fileName);
      if (entry.fileName.endsWith('/')) {
        mkdirSync(target, { recursive: true });
        continue;
      }
      bytes += entry.uncompressedSize;
      if (bytes > maxBytes) throw new Error(`unpacked it is larger than ${maxBytes} bytes`);
      mkdirSync(path.dirname(target), { recursive: true });
      await writeEntry(zip, entry, target, options.expectedSha256?.(entry.fileName));
      files += 1;
      options.onBytes?.(bytes);
    }
    return files;
  });
}

/**
 * @param {import('yauzl').ZipFile} zip
 * @param {import('yauzl').Entry} entry
 * @param {string} target
 * @param {string | undefined} sha256
 */
async function writeEntry(zip, entry, target, sha256) {
  let crc = 0;
  const hash = sha256 === undefined ? undefined : createHash('sha256');
  const check = new Transform({
    transform(chunk, _encoding, callback) {
      crc = crc32(chunk, crc);
      hash?.update(chunk);
      callback(null, chunk);
    },
  });
  const mode = (entry.externalFileAttributes >>> 16) & 0o111 ? 0o755 : 0o644;
  await pipeline(await zip.openReadStreamPromise(entry), check, createWriteStream(target, { flags: 'wx', mode }));
  if (crc !== entry.crc32) throw new Error(`the checksum of ${entry.fileName} does not fit`);
  if (hash !== undefined && hash.digest('base64url') !== sha256) {
    throw new Error(`${entry.fileName} is not what the archive's RECORD says`);
  }
}

/**
 * The text of the entries that `wanted` names, bounded.
 *
 * @param {string} file
 * @param {(name: string) => boolean} wanted
 * @param {number} [maxBytes] of one entry, default 16 MB
 * @returns {Promise<Map<string, string>>}
 */
export async function readZipTexts(file, wanted, maxBytes = 16e6) {
  return withZip(file, async (zip) => {
    /** @type {Map<string, string>} */
    const texts = new Map();
    for await (const entry of zip.eachEntry()) {
      if (!wanted(entry.fileName)) continue;
      if (entry.uncompressedSize > maxBytes) throw new Error(`${entry.fileName} is larger than ${maxBytes} bytes`);
      /** @type {Buffer[]} */
      const chunks = [];
      for await (const chunk of await zip.openReadStreamPromise(entry)) chunks.push(chunk);
      const whole = Buffer.concat(chunks);
      if (crc32(whole) !== entry.crc32) throw new Error(`the checksum of ${entry.fileName} does not fit`);
      texts.set(entry.fileName, whole.toString('utf8'));
    }
    return texts;
  });
}
