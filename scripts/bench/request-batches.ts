import { cat, Generator, randn, tidy, type DDIMPipeline, type DDIMScheduler, type Tensor } from '../../ts/index';
import { sampleSizeOf } from '../../ts/config/unet-config';
import { toOutput } from '../../ts/pipelines/to-output';
import type { Submit } from './server';
import type { TraceRequest } from './trace';

/**
 * Which of the waiting requests make a batch, oldest first. `equal steps`: those with the oldest one's step count, as one
 * run of a pipeline. `any steps`: all, each at its own timestep; short ones leave when they are done, nobody joins.
 */
export type BatchRule = 'equal steps' | 'any steps';

/** A request that waits, and who waits for it. */
interface Job {
  readonly request: TraceRequest;
  readonly resolve: (image: Tensor) => void;
  readonly reject: (error: unknown) => void;
}

/** The jobs of the next batch, taken out of the queue. */
export function takeBatch<J extends { readonly request: TraceRequest }>(queue: J[], rule: BatchRule, limit: number): J[] {
  const oldest = queue[0]?.request.steps;
  const fits = ({ request }: J): boolean => rule === 'any steps' || request.steps === oldest;
  const batch = queue.filter(fits).slice(0, limit);
  queue.splice(0, queue.length, ...queue.filter((job) => !batch.includes(job)));
  return batch;
}

/**
 * Request-level batching, what one builds around a pipeline: whenever the worker is free it takes up to `limit` waiting
 * requests and runs them as a batch to the end. With a limit of 1: one at a time, first come, first served.
 */
export function requestBatches(pipe: DDIMPipeline, rule: BatchRule, limit: number): Submit {
  const queue: Job[] = [];
  const run = rule === 'any steps' ? runAny : runEqual;
  let working = false;
  const work = async (): Promise<void> => {
    working = true;
    await Promise.resolve(); // so that requests that come at once can share the first batch
    while (queue.length > 0) {
      const batch = takeBatch(queue, rule, limit);
      await run(pipe, batch).catch((error: unknown) => batch.forEach(({ reject }) => reject(error)));
    }
    working = false;
  };
  return (request) =>
    new Promise((resolve, reject) => {
      queue.push({ request, resolve, reject });
      if (!working) void work();
    });
}

/** One run of the pipeline. */
async function runEqual(pipe: DDIMPipeline, jobs: readonly Job[]): Promise<void> {
  const { images } = await pipe.run({
    batchSize: jobs.length,
    generator: jobs.map(({ request }) => new Generator({ seed: request.seed })),
    numInferenceSteps: jobs[0]!.request.steps,
    outputType: 'tensor',
  });
  settle(jobs, images);
}

/** Gives each job its row of the images, and frees the whole. */
function settle(jobs: readonly Job[], images: Tensor): void {
  jobs.forEach(({ resolve }, index) => resolve(images.narrow(0, index, 1)));
  images.dispose();
}

/** The timesteps of a request, and where each of its steps goes. */
interface Schedule {
  readonly timesteps: readonly number[];
  readonly previous: readonly number[];
}

function scheduleOf(scheduler: DDIMScheduler, steps: number): Schedule {
  scheduler.setTimesteps(steps);
  const timesteps = [...scheduler.timesteps];
  return { timesteps, previous: timesteps.map((t) => scheduler.previousTimestep(t)) };
}

/** The pipeline's loop with a timestep for each sample. Longest first, so that those still under way are the first rows. */
async function runAny({ unet, scheduler }: DDIMPipeline, jobs: readonly Job[]): Promise<void> {
  let active = [...jobs].sort((a, b) => b.request.steps - a.request.steps);
  const schedules = active.map(({ request }) => scheduleOf(scheduler, request.steps));
  const shape = [1, unet.config.inChannels, ...sampleSizeOf(unet.config)!];
  let x = tidy(() => cat(active.map(({ request }) => randn(shape, { generator: new Generator({ seed: request.seed }) }))));
  for (let step = 0; active.length > 0; step += 1) {
    const rows = schedules.slice(0, active.length);
    const timesteps = rows.map((row) => row.timesteps[step]!);
    const { sample: out } = await unet.forward(x, timesteps);
    const prevTimestep = rows.map((row) => row.previous[step]!);
    const { prevSample } = scheduler.step(out, timesteps, x, { prevTimestep, returnPredOriginalSample: false });
    [out, x].forEach((one) => one.dispose());
    x = prevSample;
    const left = active.findIndex(({ request }) => request.steps === step + 1);
    if (left < 0) continue;
    settle(active.slice(left), toOutput(x.narrow(0, left, active.length - left), 'tensor'));
    const rest = x.narrow(0, 0, left);
    x.dispose();
    x = rest;
    active = active.slice(0, left);
  }
  x.dispose();
}
