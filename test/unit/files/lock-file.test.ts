import assert from 'node:assert/strict';
import { mkdir, rmdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { lockFile } from '../../../ts/files/lock-file';
import { rejects } from '../models/fixtures';
import { inFolder } from '../pipelines/helpers';

describe('files/lock-file', () => {
  const never = () => assert.fail('lost');

  it('lets one in, and the next after it', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'x');
      const unlock = await lockFile(file, never);
      await rejects(() => lockFile(file, never), 'ERR_ARGUMENT', /x is in use by another run$/);
      await unlock();
      await (await lockFile(file, never))();
      await assert.rejects(stat(`${file}.lock`));
    }));

  it('takes over from one that was killed', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'x');
      await mkdir(`${file}.lock`);
      await utimes(`${file}.lock`, new Date(), new Date(Date.now() - 4000)); // dead for four of five seconds
      await (await lockFile(file, never))();
    }));

  it('tells who lost it', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'x');
      const lost = new Promise<void>((resolve) => void lockFile(file, resolve).then(() => rmdir(`${file}.lock`)));
      await lost;
    }));

  it('has nothing to give back, and says nothing of it, once it is lost', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'x');
      let told = (): void => undefined;
      const lost = new Promise<void>((resolve) => (told = resolve));
      const unlock = await lockFile(file, told);
      await rmdir(`${file}.lock`);
      await lost;
      await unlock();
    }));

  it('says where it can not be made', () =>
    inFolder(async (folder) => {
      await rejects(() => lockFile(join(folder, 'none/x'), never), 'ERR_ARGUMENT', /can't write .*x\.lock: no such file/);
    }));
});
