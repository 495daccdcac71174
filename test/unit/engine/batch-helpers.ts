import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  DDIMScheduler,
  runBatch,
  type BatchFailureRecord,
  type BatchImageRecord,
  type BatchJob,
  type BatchOptions,
  type BatchRecord,
  type BatchRunRecord,
  type BatchSummary,
  type UNet2DModel,
} from '../../../ts/index';
import { tinyUNet } from '../models/tiny-unet';

export { inFolder, largestDifference } from '../pipelines/helpers';
export { rejects } from '../models/fixtures';

/** One channel of 8×8, so that its images can be encoded; a step takes less than a millisecond. */
export const GREY = { inChannels: 1, outChannels: 1, blockOutChannels: [8], downBlockTypes: ['DownBlock2D'], upBlockTypes: ['UpBlock2D'], addAttention: false } as const;

export const greyUNet = (seed = 0): UNet2DModel => tinyUNet(GREY, seed);

/** `count` jobs r1, r2, … of a few steps, of both samplers. */
export const jobsOf = (count: number): BatchJob[] =>
  Array.from({ length: count }, (_, i) => ({
    id: `r${i + 1}`,
    seed: i + 1,
    numInferenceSteps: 1 + (i % 3),
    scheduler: i % 4 === 3 ? ('ddpm' as const) : ('ddim' as const),
  }));

export const toJsonl = (jobs: readonly unknown[]): string => jobs.map((job) => `${JSON.stringify(job)}\n`).join('');

/** Runs a batch on a tiny model, unless told otherwise. */
export async function batch(options: Pick<BatchOptions, 'jobs' | 'out'> & Partial<BatchOptions>): Promise<BatchSummary> {
  const unet = options.unet ?? greyUNet();
  try {
    return await runBatch({ unet, scheduler: new DDIMScheduler(), ...options });
  } finally {
    if (options.unet === undefined) unet.dispose();
  }
}

export const counts = ({ drawn, kept, failed }: BatchSummary): number[] => [drawn, kept, failed];

export async function records(manifest: string): Promise<BatchRecord[]> {
  const text = await readFile(manifest, 'utf8');
  return text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as BatchRecord); // prettier-ignore
}

/** A manifest's records by kind. */
export async function recordsOf(manifest: string): Promise<{ runs: BatchRunRecord[]; images: BatchImageRecord[]; failures: BatchFailureRecord[] }> {
  const all = await records(manifest);
  return {
    runs: all.filter((one) => one.record === 'run'),
    images: all.filter((one) => one.record === 'image'),
    failures: all.filter((one) => one.record === 'failure'),
  };
}

/** The names of a folder's images, sorted. */
export const imagesIn = async (folder: string): Promise<string[]> => (await readdir(folder)).filter((name) => name.endsWith('.png')).sort();

/** The bytes of every image of a folder by its name. */
export async function bytesOf(folder: string): Promise<Map<string, Buffer>> {
  const all = new Map<string, Buffer>();
  for (const name of await imagesIn(folder)) all.set(name, await readFile(join(folder, name)));
  return all;
}
