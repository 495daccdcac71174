import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { readImage } from '../../../ts/image/read-image';
import { rejects } from '../models/fixtures';
import { inFolder } from '../pipelines/helpers';

describe('image/read-image', () => {
  const colours = Uint8Array.of(255, 0, 0, 128, 0, 255, 0, 255); // two pixels of RGBA
  const rgba = () => sharp(colours, { raw: { width: 2, height: 1, channels: 4 } });

  it('reads as many channels as are wanted, whatever the file has', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'a.png');
      await rgba().png().toFile(file);
      assert.deepEqual(Array.from((await readImage(file, 4)).data), [...colours]);
      assert.deepEqual(Array.from((await readImage(file, 3)).data), [255, 0, 0, 0, 255, 0]);
      const grey = await readImage(file, 1);
      assert.deepEqual([grey.width, grey.height, grey.channels, grey.data.length], [2, 1, 1, 2]);
      await sharp(Uint8Array.of(7, 200), { raw: { width: 2, height: 1, channels: 1 } }).toColourspace('b-w').png().toFile(file);
      assert.deepEqual(Array.from((await readImage(file, 1)).data), [7, 200]);
      assert.deepEqual(Array.from((await readImage(file, 3)).data), [7, 7, 7, 200, 200, 200]);
      assert.deepEqual(Array.from((await readImage(file, 4)).data), [7, 7, 7, 255, 200, 200, 200, 255]);
      await sharp(Uint16Array.of(0, 65535), { raw: { width: 2, height: 1, channels: 1 } }).toColourspace('grey16').png().toFile(file);
      assert.deepEqual(Array.from((await readImage(file, 1)).data), [0, 255]);
      for (const format of ['jpeg', 'webp'] as const) {
        await rgba().removeAlpha().toFormat(format).toFile(file);
        assert.equal((await readImage(file, 3)).data.length, 6);
      }
    }));

  it('refuses what is no image of the three formats', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'a.png');
      await rejects(() => readImage(file, 3), 'ERR_NOT_FOUND', /a\.png is no file$/);
      await rejects(() => readImage(folder, 3), 'ERR_NOT_FOUND', /is no file$/);
      await rejects(() => readImage(file, 2), 'ERR_SHAPE', /1, 3 or 4 channels, got 2$/);
      await writeFile(file, 'text');
      await rejects(() => readImage(file, 3), 'ERR_ARGUMENT', /^can't read .*a\.png as one of png, jpeg, webp: /);
      await writeFile(file, '<svg xmlns="http://www.w3.org/2000/svg" width="2" height="2"/>');
      await rejects(() => readImage(file, 3), 'ERR_ARGUMENT', /it is of format "svg"$/);
      await rgba().gif().toFile(file);
      await rejects(() => readImage(file, 3), 'ERR_ARGUMENT', /it is of format "gif"$/);
      const png = await rgba().png().toBuffer();
      await writeFile(file, png.subarray(0, 40));
      await rejects(() => readImage(file, 3), 'ERR_ARGUMENT', /^can't read /);
    }));
});
