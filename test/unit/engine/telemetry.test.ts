import assert from 'node:assert/strict';
import { metrics } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { DDIMScheduler, SamplerEngine, type EngineStats } from '../../../ts/index';
import { tinyUNet } from '../models/tiny-unet';

describe('engine/telemetry', () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  before(() => metrics.setGlobalMeterProvider(provider));
  after(async () => {
    metrics.disable();
    await provider.shutdown();
  });

  /** The last value of each metric, of the engine that came last. */
  async function read(): Promise<Record<string, unknown>> {
    exporter.reset();
    await provider.forceFlush();
    const all = exporter.getMetrics().flatMap((one) => one.scopeMetrics.flatMap((scope) => scope.metrics));
    return Object.fromEntries(all.map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints.at(-1)?.value]));
  }

  it("an engine's figures are metrics until it closes", async () => {
    const engine = new SamplerEngine(tinyUNet());
    const scheduler = new DDIMScheduler();
    await Promise.all([2, 3].map((numInferenceSteps) => engine.sample({ scheduler, numInferenceSteps })));
    const { steps, unetSeconds } = engine.stats();
    const seen = await read();
    assert.equal(seen['node_diffusers.engine.images'], 2);
    assert.equal(seen['node_diffusers.engine.sample_steps'], 5);
    assert.equal(seen['node_diffusers.engine.steps'], steps);
    assert.equal(seen['node_diffusers.engine.queued'], 0);
    assert.equal(seen['node_diffusers.engine.unet_time'], unetSeconds);
    const latency = seen['node_diffusers.engine.latency'] as { count: number; sum: number };
    assert.equal(latency.count, 2);
    assert.ok(latency.sum > 0);
    let asked = 0;
    // Each figure another number, so that each metric is seen to be its own.
    const told = Object.fromEntries(Object.keys(engine.stats()).map((name, i) => [name, 100 + i])) as unknown as EngineStats;
    engine.stats = () => (asked++, told);
    const metric = Object.fromEntries(Object.entries(await read()).map(([name, value]) => [name.split('.').at(-1)!, value]));
    assert.equal(asked, 1);
    const { queued, running, batchLimit, batchOccupancy, sampleSteps, images, failed, loopSeconds } = told;
    assert.deepEqual(
      { ...metric, latency: undefined },
      {
        queued,
        running,
        batch_limit: batchLimit,
        batch_occupancy: batchOccupancy,
        steps: told.steps,
        sample_steps: sampleSteps,
        images,
        failed,
        unet_time: told.unetSeconds,
        loop_time: loopSeconds,
        latency: undefined,
      },
    );
    await engine.close();
    await read();
    assert.equal(asked, 1);
  });
});
