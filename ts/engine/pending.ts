import { abortError, ClosedError, DeadlineError } from '../errors';
import { onAbort } from '../models/abortable';
import type { EngineEvent, EngineRequest } from '../native/addon-types';
import type { ReadRequest } from './read-request';
import type { EngineProgress, SampleRequest } from './request';
import { toSample } from './sample-output';

type SampleEvent = Extract<EngineEvent, { kind: 'step' | 'done' | 'failed' }>;

/** A request from its call to its end, which comes once: from the engine, the signal, or a throw of `onStep`. */
export class PendingSample {
  readonly promise: Promise<unknown>;
  /** The engine's, once it has taken the request. */
  id: number | undefined;
  private end!: { resolve(value: unknown): void; reject(reason: unknown): void };
  private over = false;
  private readonly forgetSignal: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;

  /** @param giveUp told once where the request ends before the engine ends it */
  constructor(
    private readonly read: ReadRequest,
    private readonly request: SampleRequest,
    private readonly giveUp: (request: PendingSample) => void,
  ) {
    this.promise = new Promise((resolve, reject) => (this.end = { resolve, reject }));
    const { signal } = request;
    this.forgetSignal = signal && onAbort(signal, () => this.abandon(abortError(signal)));
  }

  /** What the engine takes: its deadline counts from now. */
  native(): EngineRequest {
    clearTimeout(this.timer);
    const { native, due } = this.read;
    return due === undefined ? native : { ...native, milliseconds: Math.max(0, due - performance.now()) };
  }

  /** While it waits for a place nobody else looks at its deadline. */
  wait(): void {
    const { due } = this.read;
    if (due === undefined) return;
    const late = (): void => this.abandon(new DeadlineError('the request was not done by its deadline'));
    this.timer = setTimeout(late, Math.max(0, due - performance.now())).unref();
  }

  /** @returns milliseconds to the end where it is a good one. */
  settle(event: SampleEvent): number | undefined {
    if (this.over) {
      if (event.kind === 'done') event.output.dispose();
      if (event.kind === 'step') event.preview?.dispose();
      return undefined;
    }
    if (event.kind === 'step') {
      this.report(event);
      return undefined;
    }
    if (event.kind === 'failed') {
      this.reject(event.error);
      return undefined;
    }
    this.finish();
    try {
      this.end.resolve(toSample(event.output, this.read.outputType));
    } catch (error) {
      this.end.reject(error); // out of memory
      return undefined;
    }
    return event.milliseconds;
  }

  reject(reason: unknown): void {
    this.finish();
    this.end.reject(reason);
  }

  private report({ step, totalSteps, timestep, preview }: Extract<EngineEvent, { kind: 'step' }>): void {
    try {
      const progress: EngineProgress = { step, totalSteps, timestep };
      if (preview !== undefined) progress.preview = toSample(preview, this.read.outputType);
      const returned: unknown = this.request.onStep?.(progress);
      if (returned instanceof Promise) returned.catch((error: unknown) => this.abandon(error));
    } catch (error) {
      this.abandon(error);
    }
  }

  private abandon(reason: unknown): void {
    if (this.over) return;
    this.reject(reason);
    this.giveUp(this);
  }

  private finish(): void {
    this.over = true;
    clearTimeout(this.timer);
    this.forgetSignal?.();
    for (const tensor of this.read.tensors) tensor.dispose();
  }
}

export const closedError = (): ClosedError => new ClosedError('this engine was closed');
