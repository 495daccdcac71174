import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Generator, randn, Tensor, UNet2DModel, type UNet2DConfigInput } from '../../../ts/index';

/** A UNet of a few thousand parameters; every kind of layer but classes. */
export const TINY: UNet2DConfigInput = {
  sampleSize: 8,
  inChannels: 2,
  outChannels: 2,
  blockOutChannels: [8, 16],
  downBlockTypes: ['DownBlock2D', 'AttnDownBlock2D'],
  upBlockTypes: ['AttnUpBlock2D', 'UpBlock2D'],
  layersPerBlock: 1,
  normNumGroups: 4,
  attentionHeadDim: 8,
};

export const tinyUNet = (config: UNet2DConfigInput = {}, seed = 0): UNet2DModel =>
  UNet2DModel.fromConfig({ ...TINY, ...config }, { generator: new Generator({ seed }) });

export const noise = (shape: number[], seed = 1): Tensor => randn(shape, { generator: new Generator({ seed }) });

/** What a model predicts for a fixed input of two samples at their own timesteps. */
export async function predictionOf(unet: Pick<UNet2DModel, 'forward' | 'config'>): Promise<number[]> {
  const { inChannels, sampleSize } = unet.config;
  const size = typeof sampleSize === 'number' ? sampleSize : 8;
  const { sample } = await unet.forward(noise([2, inChannels, size, size]), [999, 3]);
  return Array.from(sample.to({ dtype: 'float32' }).toTypedArray(), Number);
}

/** One tensor of a safetensors file. */
export interface StoredTensor {
  dtype: string;
  shape: number[];
  bytes: Buffer;
}

export async function readSafetensors(file: string): Promise<Map<string, StoredTensor>> {
  const all = await readFile(file);
  const length = Number(all.readBigUInt64LE(0));
  type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
  const header = JSON.parse(all.toString('utf8', 8, 8 + length)) as Record<string, Entry>;
  delete header['__metadata__'];
  return new Map(
    Object.entries(header).map(([name, { dtype, shape, data_offsets: [start, end] }]) => [
      name,
      { dtype, shape, bytes: all.subarray(8 + length + start, 8 + length + end) },
    ]),
  );
}

export async function writeSafetensors(file: string, tensors: ReadonlyMap<string, StoredTensor>): Promise<void> {
  let offset = 0;
  const entries: [string, unknown][] = [...tensors].map(([name, { dtype, shape, bytes }]) => {
    const start = offset;
    offset += bytes.length;
    return [name, { dtype, shape, data_offsets: [start, offset] }];
  });
  const text = JSON.stringify({ __metadata__: { format: 'pt' }, ...Object.fromEntries(entries) });
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  await writeFile(file, Buffer.concat([length, header, ...[...tensors.values()].map(({ bytes }) => bytes)]));
}

/** Writes a folder's weights in two shards with an index, as diffusers does above its size limit. */
export async function writeShards(folder: string, tensors: ReadonlyMap<string, StoredTensor>, variant = ''): Promise<void> {
  await mkdir(folder, { recursive: true });
  const names = [...tensors.keys()];
  const half = Math.ceil(names.length / 2);
  const map: Record<string, string> = {};
  for (const [i, part] of [names.slice(0, half), names.slice(half)].entries()) {
    const file = `diffusion_pytorch_model${variant}-0000${i + 1}-of-00002.safetensors`;
    for (const name of part) map[name] = file;
    await writeSafetensors(join(folder, file), new Map(part.map((name) => [name, tensors.get(name)!])));
  }
  const index = { metadata: { total_size: 0 }, weight_map: map };
  await writeFile(join(folder, `diffusion_pytorch_model.safetensors.index${variant}.json`), JSON.stringify(index));
}
