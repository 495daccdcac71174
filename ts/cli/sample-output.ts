import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ArgumentError } from '../errors';
import { ensureWritableFolder } from '../files/ensure-writable-folder';
import { EXTENSION_OF_FORMAT, gridLayout, makeGrid, MAX_SIDE, type DiffusionImage } from '../image';
import type { SampleOptions } from './sample';
import { UsageError } from './usage';

/** Where the images of a run go. What can fail is tried when it is opened, before any image is drawn. */
export interface SampleOutput {
  /** @throws UsageError if images of that size can't go where they were asked to. */
  checkSize(size: { width: number; height: number }): void;
  /** Takes images `first`, `first + 1`, … of the run. */
  add(images: readonly DiffusionImage[], first: number): Promise<void>;
  /** Writes what is left to write and returns the path. */
  finish(): Promise<string>;
}

/**
 * Opens the grid's file or the folder that the options name.
 *
 * @throws ArgumentError if it can't be written to, or has images of these names already.
 */
export async function openOutput(options: SampleOptions): Promise<SampleOutput> {
  return options.out === undefined ? gridOutput(options) : folderOutput(options, options.out);
}

async function gridOutput({ grid = 'samples.png', columns, count }: SampleOptions): Promise<SampleOutput> {
  await ensureWritableFolder(dirname(grid));
  if ((await stat(grid).catch(() => undefined))?.isDirectory() === true) {
    throw new ArgumentError(`can't write ${grid}: it is a folder`);
  }
  const layout = columns === undefined ? {} : { columns };
  const all: DiffusionImage[] = [];
  return {
    checkSize(size) {
      const { width, height } = gridLayout(count, size, layout);
      if (width > MAX_SIDE || height > MAX_SIDE) {
        throw new UsageError(
          `--count must fit a grid of at most ${MAX_SIDE} pixels a side, got ${count} images and ${width}×${height}; ` +
            '--out writes single images',
        );
      }
    },
    add: async (images) => void all.push(...images),
    async finish() {
      await (await makeGrid(all, layout)).save(grid);
      return grid;
    },
  };
}

async function folderOutput(options: SampleOptions, folder: string): Promise<SampleOutput> {
  const { seed, count, format, overwrite } = options;
  const pathOf = (i: number): string => join(folder, `${seed + BigInt(i)}${EXTENSION_OF_FORMAT[format]}`);
  await ensureWritableFolder(folder);
  for (let i = 0; overwrite !== true && i < count; i++) {
    if ((await stat(pathOf(i)).catch(() => undefined)) !== undefined) {
      throw new ArgumentError(`${pathOf(i)} exists already; --overwrite replaces it`);
    }
  }
  return {
    checkSize: () => undefined,
    async add(images, first) {
      await Promise.all(images.map((image, i) => image.save(pathOf(first + i))));
    },
    finish: async () => folder,
  };
}
