import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CACHE } from './bench-model';
import { PYTHON_BATCHES } from './engine-results';
import { readFloats, type PythonPeers } from './python-peers';
import type { Played, Server } from './server';
import type { Trace } from './trace';

/** Makes a server that takes up to `limit` waiting requests of one step count at a time. */
export type PythonServers = (limit: number) => Server;

/** diffusers' DDIMPipeline, loaded once in Python. @throws LeftOut where there is no Python with diffusers. */
export async function loadPythonServers(
  peers: PythonPeers,
  { folder, scheduler, maxBatch }: { folder: string; scheduler: object; maxBatch: number },
): Promise<PythonServers> {
  const id = peers.newId();
  await peers.ask('load_server', { id, folder, scheduler, limit: maxBatch });
  return (limit) => {
    const serve = (trace: Trace, file?: string): Promise<Record<string, unknown>> =>
      peers.ask('serve', { id, trace, limit, ...(file === undefined ? {} : { file }) });
    return {
      name: PYTHON_BATCHES,
      own: false,
      play: async (trace) => (await serve(trace)) as unknown as Played,
      images: async (trace) => {
        await mkdir(CACHE, { recursive: true });
        const file = join(CACHE, 'images.f32');
        await serve(trace, file);
        const all = await readFloats(file);
        const size = all.length / trace.length;
        return trace.map((_, index) => all.subarray(index * size, (index + 1) * size));
      },
    };
  };
}
