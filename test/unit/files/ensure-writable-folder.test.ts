import assert from 'node:assert/strict';
import { chmod, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureWritableFolder } from '../../../ts/files/ensure-writable-folder';
import { rejects } from '../models/fixtures';
import { inFolder } from '../pipelines/helpers';

describe('files/ensure-writable-folder', () => {
  it('makes folders, and leaves those that are there', () =>
    inFolder(async (folder) => {
      for (let i = 0; i < 2; i++) await ensureWritableFolder(join(folder, 'a/b'));
      assert.ok((await stat(join(folder, 'a/b'))).isDirectory());
    }));

  it('says why there can be none', () =>
    inFolder(async (folder) => {
      await writeFile(join(folder, 'file'), '');
      await rejects(() => ensureWritableFolder(join(folder, 'file/a')), 'ERR_ARGUMENT', /can't write .*file\/a: a part of its path is a file$/);
    }));

  it('refuses one that this user may not write to', function () {
    if (process.getuid?.() === 0) return this.skip();
    return inFolder(async (folder) => {
      await chmod(folder, 0o500);
      await rejects(() => ensureWritableFolder(folder), 'ERR_ARGUMENT', /can't write .*: permission denied$/);
      await chmod(folder, 0o700);
    });
  });
});
