import { SamplerEngine, type DDIMScheduler, type UNet2DModel } from '../../ts/index';
import { ENGINE } from './engine-results';
import { nodeServer, type Played, type Server } from './server';

/** The engine behind a server. */
export interface EngineServer extends Server {
  close(): Promise<void>;
}

/** This project's engine, warmed up. */
export async function engineServer(
  unet: UNet2DModel,
  scheduler: DDIMScheduler,
  { maxBatch, maxQueue }: { maxBatch: number; maxQueue: number },
): Promise<EngineServer> {
  const engine = new SamplerEngine(unet, { maxBatchSize: maxBatch, maxQueue });
  await engine.warmup();
  const server = nodeServer({ name: ENGINE, own: true }, ({ steps, seed }) =>
    engine.sample({ scheduler, numInferenceSteps: steps, seed, outputType: 'tensor' }),
  );
  return {
    ...server,
    play: async (trace): Promise<Played> => {
      const before = engine.stats();
      const played = await server.play(trace);
      const after = engine.stats();
      const loop = {
        busy: after.loopSeconds - before.loopSeconds,
        unet: after.unetSeconds - before.unetSeconds,
        steps: after.steps - before.steps,
        samples: after.sampleSteps - before.sampleSteps,
        limit: after.batchLimit,
      };
      return { ...played, loop };
    },
    close: () => engine.close(),
  };
}
