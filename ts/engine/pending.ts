import { abortError, ClosedError } from '../errors';
import { onAbort } from '../models/abortable';
import type { EngineEvent, EngineRequest, TensorHandle } from '../native/addon-types';
import type { ReadRequest } from './read-request';
import type { EngineProgress, SampleRequest } from './request';
import { toSample } from './sample-output';

type SampleEvent = Extract<EngineEvent, { kind: 'step' | 'done' | 'failed' }>;

/** A request from its call to its end, which comes once: from the engine, the signal, or a throw of `onStep`. */
export class PendingSample {
  readonly promise: Promise<unknown>;
  readonly native: EngineRequest;
  /** The engine's, once it has taken the request. */
  id: number | undefined;
  private end!: { resolve(value: unknown): void; reject(reason: unknown): void };
  private over = false;
  private readonly forgetSignal: (() => void) | undefined;

  /** @param giveUp told once where the request ends before the engine ends it */
  constructor(
    private readonly read: ReadRequest,
    private readonly request: SampleRequest,
    private readonly giveUp: (request: PendingSample) => void,
  ) {
    this.native = read.native;
    this.promise = new Promise((resolve, reject) => (this.end = { resolve, reject }));
    const { signal } = request;
    this.forgetSignal = signal && onAbort(signal, () => this.abandon(abortError(signal)));
  }

  /** @returns milliseconds to the end where it is a good one. */
  settle(event: SampleEvent): number | undefined {
    if (this.over) {
      if (event.kind === 'done') event.output.dispose();
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
    this.end.resolve(toSample(event.output, this.read.outputType));
    return event.milliseconds;
  }

  reject(reason: unknown): void {
    this.finish();
    this.end.reject(reason);
  }

  private report({ step, totalSteps, timestep, preview }: Extract<EngineEvent, { kind: 'step' }>): void {
    const progress: EngineProgress = { step, totalSteps, timestep };
    if (preview !== undefined) progress.preview = toSample(preview as TensorHandle, this.read.outputType);
    try {
      this.request.onStep?.(progress);
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
    this.forgetSignal?.();
    for (const tensor of this.read.tensors) tensor.dispose();
  }
}

export const closedError = (): ClosedError => new ClosedError('this engine was closed');
