import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DDIMPipeline, DDIMScheduler, UNet2DModel } from '../../ts/index';
import { LeftOut } from './arms';
import { BATCHES, LEAVING, ONE_AT_A_TIME } from './engine-results';
import { engineServer, type EngineServer } from './engine-server';
import type { PythonPeers } from './python-peers';
import { loadPythonServers, type PythonServers } from './python-server';
import { requestBatches, type BatchRule } from './request-batches';
import { nodeServer, type Server } from './server';

/** What takes part, on one model. */
export interface Contenders {
  readonly engine: EngineServer;
  /** Batches of whole requests in this process. */
  batches(name: string, rule: BatchRule, limit: number): Server;
  readonly python: PythonServers | undefined;
  /** Why `python` is not there. */
  readonly leftOut: string | undefined;
  close(): Promise<void>;
}

/** The scheduler's config beside a UNet's folder; DDIM's defaults where there is none. */
async function schedulerConfig(folder: string): Promise<Record<string, unknown>> {
  const file = join(dirname(folder), 'scheduler', 'scheduler_config.json');
  return existsSync(file) ? (JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>) : {};
}

/** Loads the UNet of a folder and warms up every batch size, here and in Python. */
export async function openContenders(
  folder: string,
  { maxBatch, maxQueue }: { maxBatch: number; maxQueue: number },
  peers: PythonPeers,
): Promise<Contenders> {
  const scheduler = await schedulerConfig(folder);
  const unet = await UNet2DModel.fromPretrained(folder);
  const pipe = new DDIMPipeline({ unet, scheduler: DDIMScheduler.fromConfig(scheduler) });
  for (let batch = 1; batch <= maxBatch; batch += 1) {
    (await pipe.run({ batchSize: batch, numInferenceSteps: 1, outputType: 'tensor' })).images.dispose();
  }
  const engine = await engineServer(unet, pipe.scheduler, { maxBatch, maxQueue });
  let leftOut: string | undefined;
  const python = await loadPythonServers(peers, { folder, scheduler, maxBatch }).catch((error: unknown) => {
    if (!(error instanceof LeftOut)) throw error;
    leftOut = error.message;
    return undefined;
  });
  return {
    engine,
    python,
    leftOut,
    batches: (name, rule, limit) => nodeServer({ name, own: false }, requestBatches(pipe, rule, limit)),
    close: async () => {
      await engine.close();
      unet.dispose();
    },
  };
}

/** How many requests the servers that batch whole ones take at most. */
export interface Limits {
  readonly here: number;
  readonly python: number;
}

/** The servers of a table. With equal steps nobody leaves a batch early, so that rule is left out. */
export function serversOf({ engine, batches, python }: Contenders, mixed: boolean, limits: Limits): Server[] {
  return [
    batches(ONE_AT_A_TIME, 'equal steps', 1),
    batches(BATCHES, 'equal steps', limits.here),
    ...(mixed ? [batches(LEAVING, 'any steps', limits.here)] : []),
    engine,
    ...(python === undefined ? [] : [python(limits.python)]),
  ];
}
