import { metrics, ValueType, type Histogram } from '@opentelemetry/api';
import type { EngineStats } from '../native/addon-types';

/** What is measured is an engine. */
interface Measured {
  stats(): EngineStats;
}

/** The names of an engine's metrics, with what they are of {@link EngineStats}. */
const OBSERVED = [
  ['node_diffusers.engine.queued', 'requests that have not begun', '{request}', 'gauge', (s) => s.queued],
  ['node_diffusers.engine.running', 'requests that have begun', '{request}', 'gauge', (s) => s.running],
  ['node_diffusers.engine.batch_limit', 'the largest batch now', '{sample}', 'gauge', (s) => s.batchLimit],
  ['node_diffusers.engine.batch_occupancy', 'samples a batch by the largest batch', '1', 'gauge', (s) => s.batchOccupancy],
  ['node_diffusers.engine.steps', 'batches run', '{step}', 'counter', (s) => s.steps],
  ['node_diffusers.engine.sample_steps', 'samples in the batches', '{step}', 'counter', (s) => s.sampleSteps],
  ['node_diffusers.engine.images', 'requests done', '{image}', 'counter', (s) => s.images],
  ['node_diffusers.engine.failed', 'requests that ended in an error', '{request}', 'counter', (s) => s.failed],
  ['node_diffusers.engine.unet_time', 'time in the model', 's', 'counter', (s) => s.unetSeconds],
  ['node_diffusers.engine.loop_time', "time in the engine's loop, waiting left out", 's', 'counter', (s) => s.loopSeconds],
] as const satisfies readonly (readonly [string, string, string, 'gauge' | 'counter', (stats: EngineStats) => number])[];

/**
 * An engine's figures as OpenTelemetry metrics, under the attribute `engine`, a number counting up. Without an OpenTelemetry
 * SDK in the process nothing is done.
 */
export class Telemetry {
  private static engines = 0;
  private readonly attributes = { engine: Telemetry.engines++ };
  private readonly latency: Histogram;
  private readonly stopObserving: () => void;

  constructor(measured: Measured) {
    const meter = metrics.getMeter('node-diffusers');
    const observed = OBSERVED.map(([name, description, unit, kind, read]) => {
      const options = { description, unit, valueType: unit === 's' || unit === '1' ? ValueType.DOUBLE : ValueType.INT };
      const instrument =
        kind === 'gauge' ? meter.createObservableGauge(name, options) : meter.createObservableCounter(name, options);
      return { instrument, read };
    });
    // Held weakly: an engine that nobody has any more is collected, its metrics with it.
    const weak = new WeakRef(measured);
    const callback: Parameters<typeof meter.addBatchObservableCallback>[0] = (result) => {
      const stats = weak.deref()?.stats();
      if (stats === undefined) return this.stopObserving();
      for (const { instrument, read } of observed) result.observe(instrument, read(stats), this.attributes);
    };
    const instruments = observed.map(({ instrument }) => instrument);
    meter.addBatchObservableCallback(callback, instruments);
    this.stopObserving = () => meter.removeBatchObservableCallback(callback, instruments);
    this.latency = meter.createHistogram('node_diffusers.engine.latency', {
      description: 'from submission to the image',
      unit: 'ms',
      valueType: ValueType.DOUBLE,
    });
  }

  /** A request ended; with its milliseconds where it gave an image. */
  ended(milliseconds: number | undefined): void {
    if (milliseconds !== undefined) this.latency.record(milliseconds, this.attributes);
  }

  stop(): void {
    this.stopObserving();
  }
}
