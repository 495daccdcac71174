import { setTimeout as pause } from 'node:timers/promises';
import type { Tensor } from '../../ts/index';
import type { Trace, TraceRequest } from './trace';

/** What playing a trace came to. */
export interface Played {
  /** Seconds from each request's arrival, as the trace states it, to its image. */
  readonly latencies: readonly number[];
  /** From the trace's start to the last image. */
  readonly seconds: number;
  /** By how many seconds this process handed each request over after its arrival: what timers are off. */
  readonly late?: readonly number[];
  /** Where the server counts it: what its own loop took. */
  readonly loop?: LoopTime;
}

/** The engine's thread while it played a trace. */
export interface LoopTime {
  /** Seconds that it was busy. */
  readonly busy: number;
  /** Of these, in the UNet. */
  readonly unet: number;
  /** Runs of the UNet, and the samples in them. */
  readonly steps: number;
  readonly samples: number;
  /** How many samples it let into a batch at the end. */
  readonly limit: number;
}

/** Something that draws images for requests as they come. */
export interface Server {
  readonly name: string;
  /** This project's engine. */
  readonly own: boolean;
  play(trace: Trace): Promise<Played>;
  /** The images of the requests, [h, w, c] in [0, 1], to compare with the reference's. */
  images(trace: Trace): Promise<Float32Array[]>;
}

/** Hands a request over; its image is the caller's to dispose. */
export type Submit = (request: TraceRequest) => Promise<Tensor>;

/** Seconds since `started`, in milliseconds of `performance.now()`. */
const since = (started: number): number => (performance.now() - started) / 1000;

/** Submits each request when it is due and takes the time of every image. */
export async function playTrace(trace: Trace, submit: Submit): Promise<Played> {
  const started = performance.now();
  const late: number[] = [];
  const take = async (request: TraceRequest): Promise<number> => {
    late.push(since(started) - request.arrival);
    const image = await submit(request);
    const finished = since(started);
    image.dispose();
    return finished;
  };
  const pending: Promise<number>[] = [];
  for (const request of trace) {
    // A timer may come early by its rounding to milliseconds. Those that are due already go without a wait between them.
    for (let wait = request.arrival - since(started); wait > 0; wait = request.arrival - since(started)) {
      await pause(wait * 1000);
    }
    const image = take(request);
    image.catch(() => undefined); // a failure is seen below, when all were handed over
    pending.push(image);
  }
  const finished = await Promise.all(pending);
  return { latencies: finished.map((one, index) => one - trace[index]!.arrival), seconds: Math.max(...finished), late };
}

/** A server of this process. */
export function nodeServer(about: Pick<Server, 'name' | 'own'>, submit: Submit): Server {
  return {
    ...about,
    play: (trace) => playTrace(trace, submit),
    images: (trace) =>
      Promise.all(
        trace.map(async (request) => {
          const image = await submit(request);
          try {
            return image.toTypedArray() as Float32Array;
          } finally {
            image.dispose();
          }
        }),
      ),
  };
}
