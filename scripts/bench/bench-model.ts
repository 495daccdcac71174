import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { Generator, randn, UNet2DModel, type UNet2DConfigInput } from '../../ts/index';
import type { UNetCase } from './arms';

const ROOT = resolve(__dirname, '../..');

/** Checkpoints, exported programs and results: not under version control. */
export const CACHE = join(ROOT, 'build', 'bench');

/** The model in this repository. */
export const EMBEDDED = join(ROOT, 'models', 'fashion-mnist-ddpm');

/** The topology of google/ddpm-cifar10-32. */
const CIFAR10: UNet2DConfigInput = {
  sample_size: 32,
  in_channels: 3,
  out_channels: 3,
  block_out_channels: [128, 256, 256, 256],
  down_block_types: ['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
  up_block_types: ['UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
  layers_per_block: 2,
  downsample_padding: 0,
  flip_sin_to_cos: false,
  freq_shift: 1,
  norm_eps: 1e-6,
  attention_head_dim: null,
} as UNet2DConfigInput;

/** The folder of a model: `cifar10` (random weights, written once), `embedded`, or a folder of one's own. */
export async function modelFolder(name: string): Promise<{ model: string; folder: string }> {
  if (name === 'embedded') return { model: basename(EMBEDDED), folder: join(EMBEDDED, 'unet') };
  if (name !== 'cifar10') return { model: basename(resolve(name)), folder: unetIn(resolve(name)) };
  const folder = join(CACHE, 'cifar10');
  if (!existsSync(folder)) {
    const unfinished = `${folder}.${process.pid}`;
    const unet = UNet2DModel.fromConfig(CIFAR10, { generator: new Generator({ seed: 0 }) });
    await unet.savePretrained(unfinished).finally(() => unet.dispose());
    await rename(unfinished, folder).catch(() => rm(unfinished, { recursive: true }));
  }
  return { model: 'cifar10', folder };
}

const unetIn = (folder: string): string =>
  existsSync(join(folder, 'unet', 'config.json')) ? join(folder, 'unet') : folder;

/** The input that every arm gets. */
export async function makeCase(name: string, batch: number, threads: number): Promise<UNetCase> {
  const { model, folder } = await modelFolder(name);
  const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as {
    in_channels: number;
    sample_size: number | [number, number];
  };
  const size = config.sample_size;
  const [height, width] = Array.isArray(size) ? size : [size, size];
  const shape = [batch, config.in_channels, height, width] as const;
  const sample = randn([...shape], { generator: new Generator({ seed: 0 }) }).toTypedArray() as Float32Array;
  const place = createHash('sha256').update(folder).digest('hex').slice(0, 8);
  const cachePrefix = join(CACHE, `${model}-${place}`);
  await mkdir(CACHE, { recursive: true });
  const sampleFile = `${cachePrefix}-b${batch}.f32`;
  await writeFile(sampleFile, sample);
  return { model, folder, shape, sample, sampleFile, cachePrefix, threads };
}

/** The weights of a UNet's folder. */
export async function weightsFile(folder: string): Promise<string> {
  const names = await readdir(folder);
  const name = names.find((one) => one.endsWith('.safetensors')) ?? names.find((one) => one.endsWith('.bin'));
  if (name === undefined) throw new Error(`${folder} has no weights`);
  return join(folder, name);
}

/** Whether `file` was exported after the weights were written. */
export async function isFresh(file: string, folder: string): Promise<boolean> {
  if (!existsSync(file)) return false;
  const [exported, weights] = await Promise.all([stat(file), stat(await weightsFile(folder))]);
  return exported.mtimeMs >= weights.mtimeMs;
}
