import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { weightsFile } from './bench-model';
import { summarize, type Summary } from './statistics';
import { formatSeconds, formatTable } from './table';

/** What one process saw (load-once.ts). */
export interface LoadOnce {
  readonly readSeconds: number;
  readonly loadSeconds: number;
  readonly forwardSeconds: number;
  readonly loadBytes: number;
  readonly forwardBytes: number;
}

/** Time and memory of loading one model. */
export interface Loading {
  readonly model: string;
  readonly weightBytes: number;
  readonly read: Summary;
  readonly load: Summary;
  readonly firstForward: Summary;
  /** Peak anonymous memory over what the process had before, while loading, by the weights' bytes. */
  readonly loadPeak: Summary;
  /** The same up to the end of the first forward at batch 1. */
  readonly forwardPeak: Summary;
}

/** Loads the model in `rounds` fresh processes. */
export async function measureLoading(model: string, folder: string, rounds: number): Promise<Loading> {
  const weights = await weightsFile(folder);
  const { size } = await stat(weights);
  const seen: LoadOnce[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const args = ['--import', 'tsx', join(__dirname, 'load-once.ts'), folder, weights];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: join(__dirname, '../..') });
    seen.push(JSON.parse(stdout) as LoadOnce);
  }
  const of = (key: keyof LoadOnce, unit = 1): Summary => summarize(seen.map((one) => one[key] / unit));
  return {
    model,
    weightBytes: size,
    read: of('readSeconds'),
    load: of('loadSeconds'),
    firstForward: of('forwardSeconds'),
    loadPeak: of('loadBytes', size),
    forwardPeak: of('forwardBytes', size),
  };
}

/** The table of a model's loading. */
export function describeLoading({ model, weightBytes, read, load, firstForward, loadPeak, forwardPeak }: Loading): string {
  const times = (value: Summary, digits: number): string => `${value.median.toFixed(digits)}×`;
  const toRead = (value: Summary): string => `${(value.median / read.median).toFixed(2)}× the read`;
  const rows = [
    ['warm read of the weights', formatSeconds(read.median), '', ''],
    ['UNet2DModel.fromPretrained', formatSeconds(load.median), toRead(load), `${times(loadPeak, 2)} the weights`],
    ['first forward', formatSeconds(firstForward.median), '', `${times(forwardPeak, 2)} the weights`],
  ];
  const title = `${model}: loading ${(weightBytes / 1e6).toFixed(1)} MB in a fresh process`;
  return `${title}\n\n${formatTable(['', 'median', 'ratio', 'peak anonymous memory'], rows)}`;
}
