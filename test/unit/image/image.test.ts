import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { DiffusionImage, imageFormatOf, makeGrid, toImages } from '../../../ts/image';

/** An image whose pixel values all differ, as far as a byte allows. */
const ramp = (width: number, height: number, channels: number, start = 0): DiffusionImage =>
  new DiffusionImage(
    Uint8Array.from({ length: width * height * channels }, (_, i) => (start + i * 7) % 256),
    { width, height, channels },
  );

describe('image', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'image-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  for (const channels of [1, 3, 4]) {
    it(`keeps every pixel of ${channels} channels in a png`, async () => {
      const image = ramp(5, 4, channels);
      const png = await image.toBuffer('png');
      const { width, height, channels: stored } = await sharp(png).metadata();
      assert.deepEqual([width, height, stored], [5, 4, channels]);
      // sharp's raw output is RGB unless told to stay grey.
      const data = await sharp(png)
        .toColourspace(channels === 1 ? 'b-w' : 'srgb')
        .raw()
        .toBuffer();
      assert.deepEqual(new Uint8Array(data), image.data);
    });
  }

  for (const format of ['png', 'jpeg', 'webp'] as const) {
    it(`encodes ${format}`, async () => {
      const metadata = await sharp(await ramp(16, 8, 3).toBuffer(format)).metadata();
      assert.deepEqual([metadata.format, metadata.width, metadata.height], [format, 16, 8]);
    });
  }

  it('encodes jpeg smaller at a lower quality', async () => {
    const image = ramp(64, 64, 3);
    const [low, high] = await Promise.all([5, 95].map((quality) => image.toBuffer('jpeg', { quality })));
    assert.ok(low!.length < high!.length);
  });

  it('refuses unknown options and missing arguments', async () => {
    const image = ramp(2, 2, 3);
    const rejects = (promise: Promise<unknown>, message: RegExp): Promise<void> =>
      assert.rejects(promise, { code: 'ERR_ARGUMENT', message });
    await rejects((image.save as () => Promise<void>).call(image), /path must be a string, got undefined/);
    await rejects(image.toBuffer('png', null as never), /toBuffer: options must be an object, got null/);
    await rejects(image.toBuffer('jpeg', { qualty: 5 } as never), /unknown option "qualty"; did you mean quality/);
    await rejects((makeGrid as () => Promise<unknown>)(), /images of a grid must be an array, got undefined/);
    await rejects(makeGrid([image, {} as never]), /DiffusionImages, got an object at index 1/);
    await rejects(makeGrid([image], { colums: 2 } as never), /unknown option "colums"; did you mean columns/);
    await rejects(makeGrid([image], null as never), /makeGrid: options must be an object, got null/);
    const Untyped = DiffusionImage as unknown as new (...args: unknown[]) => unknown;
    const wrong = { code: 'ERR_ARGUMENT', message: /^(size of an image|DiffusionImage: options)/ };
    assert.throws(() => new Untyped(), wrong);
    assert.throws(() => new Untyped(image.data, null), wrong);
  });

  it('says which channels, formats and qualities it takes', async () => {
    await assert.rejects(ramp(2, 2, 2).toBuffer('png'), {
      code: 'ERR_SHAPE',
      message: /must have 1, 3 or 4 channels, got 2/,
    });
    await assert.rejects(ramp(2, 2, 5).toBuffer('webp'), { code: 'ERR_SHAPE', message: /got 5/ });
    await assert.rejects(ramp(2, 2, 4).toBuffer('jpeg'), {
      code: 'ERR_SHAPE',
      message: /jpeg must have 1 or 3 channels, got 4/,
    });
    await assert.rejects(ramp(2, 2, 1).toBuffer('gif' as 'png'), {
      code: 'ERR_ARGUMENT',
      message: 'format must be one of png, jpeg, webp, got "gif"',
    });
    for (const quality of [0, 101, 1.5, NaN]) {
      await assert.rejects(ramp(2, 2, 1).toBuffer('jpeg', { quality }), {
        code: 'ERR_ARGUMENT',
        message: `quality must be an integer in 1 … 100, got ${quality}`,
      });
    }
    for (const format of ['jpeg', 'webp'] as const) {
      const plain = await ramp(32, 32, 3).toBuffer(format);
      assert.ok(plain.equals(await ramp(32, 32, 3).toBuffer(format, { quality: 95 })), format);
      assert.ok(!plain.equals(await ramp(32, 32, 3).toBuffer(format, { quality: 90 })), format);
    }
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const { width, height } = await sharp(await ramp(16383, 2, 1).toBuffer(format)).metadata();
      assert.deepEqual([width, height], [16383, 2]);
    }
    for (const [width, height] of [[16384, 1], [1, 16384]] as const) {
      await assert.rejects(ramp(width, height, 1).toBuffer('webp'), {
        code: 'ERR_SHAPE',
        message: new RegExp(`at most 16383 pixels a side, got ${width}×${height}$`),
      });
    }
  });

  it('takes data of the right length only', () => {
    assert.throws(() => new DiffusionImage(new Uint8Array(5), { width: 2, height: 3, channels: 1 }), {
      code: 'ERR_SHAPE',
      message: 'data of a 2×3 image with 1 channels must be a Uint8Array of 6 entries, got 5',
    });
    assert.throws(() => new DiffusionImage(new Uint8Array(0), { width: 0, height: 3, channels: 1 }), {
      code: 'ERR_SHAPE',
      message: 'width of an image must be an integer from 1 up, got 0',
    });
  });

  it('tells the format from the extension', () => {
    assert.equal(imageFormatOf('/a/b.PNG'), 'png');
    assert.equal(imageFormatOf('b.jpg'), 'jpeg');
    assert.throws(() => imageFormatOf('b'), {
      code: 'ERR_ARGUMENT',
      message: `an image's path must end in one of .png, .jpg, .jpeg, .webp, got "b"`,
    });
  });

  describe('save', () => {
    it('makes missing folders, replaces a file and leaves no other', async () => {
      const path = join(folder, 'new/image.png');
      await ramp(3, 3, 3).save(path);
      await ramp(2, 2, 1).save(path);
      assert.equal((await sharp(path).metadata()).width, 2);
      assert.deepEqual(await readdir(join(folder, 'new')), ['image.png']);
    });

    it('leaves an existing file as it was when it fails', async () => {
      const path = join(folder, 'image.png');
      await writeFile(path, 'before');
      await assert.rejects(ramp(2, 2, 2).save(path), { code: 'ERR_SHAPE' });
      assert.equal(await readFile(path, 'utf8'), 'before');
      assert.deepEqual(await readdir(folder), ['image.png']);
    });

    it('says why it can not write', async () => {
      const path = join(folder, 'image.png');
      await mkdir(path);
      await assert.rejects(ramp(2, 2, 1).save(path), { code: 'ERR_ARGUMENT', message: /^can't write .*image\.png: / });
      assert.deepEqual(await readdir(folder), ['image.png']);
    });

    it('says when the folder is closed to it', async function () {
      if (process.getuid?.() === 0) return this.skip();
      await chmod(folder, 0o500);
      await assert.rejects(ramp(2, 2, 1).save(join(folder, 'a.png')), {
        code: 'ERR_ARGUMENT',
        message: /permission denied/,
      });
      await chmod(folder, 0o700);
    });
  });

  describe('toImages', () => {
    it('splits a batch into images of their own', () => {
      const data = Uint8Array.from({ length: 12 }, (_, i) => i);
      const images = toImages({ data, n: 2, h: 1, w: 2, c: 3 });
      assert.deepEqual(
        images.map(({ data }) => [...data]),
        [
          [0, 1, 2, 3, 4, 5],
          [6, 7, 8, 9, 10, 11],
        ],
      );
      data[0] = 99;
      assert.equal(images[0]!.data[0], 0);
      assert.deepEqual([images[0]!.width, images[0]!.height, images[0]!.channels], [2, 1, 3]);
    });

    it('refuses data of another length', () => {
      assert.throws(() => toImages({ data: new Uint8Array(3), n: 2, h: 1, w: 1, c: 1 }), {
        code: 'ERR_SHAPE',
        message: 'data of 2 images of 1×1×1 must have 2 entries, got 3',
      });
    });
  });

  describe('makeGrid', () => {
    const dot = (value: number, channels = 1) =>
      new DiffusionImage(new Uint8Array(channels).fill(value), { width: 1, height: 1, channels });

    it('lays images out in rows, near a square', async () => {
      const grid = await makeGrid(
        [1, 2, 3, 4, 5].map((value) => dot(value)),
        { padding: 0, background: 9 },
      );
      assert.deepEqual([grid.width, grid.height], [3, 2]);
      assert.deepEqual([...grid.data], [1, 2, 3, 4, 5, 9]);
    });

    it('pads between and around', async () => {
      const grid = await makeGrid([dot(1), dot(2)], { padding: 1, background: 0 });
      assert.deepEqual([grid.width, grid.height], [5, 3]);
      assert.deepEqual([...grid.data], [0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0]);
      const column = await makeGrid([dot(1), dot(2)], { columns: 1, padding: 0 });
      assert.deepEqual([column.width, column.height], [1, 2]);
      const row = await makeGrid([dot(1), dot(2)], { columns: 50, padding: 0 });
      assert.deepEqual([row.width, row.height], [2, 1]);
    });

    it('keeps the padding of images with alpha opaque', async () => {
      const grid = await makeGrid([dot(7, 4)], { padding: 1, background: 0 });
      assert.deepEqual([...grid.data.subarray(0, 4)], [0, 0, 0, 255]);
      assert.deepEqual([...grid.data.subarray(16, 20)], [7, 7, 7, 7]);
    });

    it('refuses no images, unlike ones and options out of range', async () => {
      await assert.rejects(makeGrid([]), {
        code: 'ERR_ARGUMENT',
        message: 'images of a grid must be 1 or more, got 0',
      });
      await assert.rejects(makeGrid([dot(1), dot(1), ramp(2, 1, 1)]), {
        code: 'ERR_SHAPE',
        message: 'images of a grid must be of one size, got 1×1×1 and, at index 2, 2×1×1',
      });
      await assert.rejects(makeGrid([dot(1)], { columns: 0 }), {
        code: 'ERR_ARGUMENT',
        message: 'columns of a grid must be an integer in 1 … 1000000, got 0',
      });
      await assert.rejects(makeGrid([dot(1)], { padding: -1 }), { code: 'ERR_ARGUMENT' });
      await assert.rejects(makeGrid([dot(1)], { background: 256 }), { code: 'ERR_ARGUMENT' });
    });
  });
});
