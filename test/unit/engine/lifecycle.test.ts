import assert from 'node:assert/strict';
import { DDIMScheduler, getNumThreads, SamplerEngine, setNumThreads, UNet2DModel, type EngineProgress } from '../../../ts/index';
import { rejects } from '../models/fixtures';
import { noise, tinyUNet } from '../models/tiny-unet';

const scheduler = new DDIMScheduler();
const LONG = { scheduler, numInferenceSteps: 1000 } as const;
const SHORT = { scheduler, numInferenceSteps: 2, seed: 1 } as const;

/** Resolves at a request's first step, with what stops waiting for more. */
const begun = (): { onStep: () => void; first: Promise<void> } => {
  let onStep!: () => void;
  const first = new Promise<void>((resolve) => (onStep = resolve));
  return { onStep: () => onStep(), first };
};

describe('engine/lifecycle', () => {
  let unet: UNet2DModel;
  const engines: SamplerEngine[] = [];
  const make = (options = {}): SamplerEngine => {
    engines.push(new SamplerEngine(unet, options));
    return engines.at(-1)!;
  };
  before(() => (unet = tinyUNet()));
  afterEach(() => Promise.all(engines.splice(0).map((engine) => engine.close())));
  after(() => unet.dispose());

  it('a signal rejects at once and frees the place', async () => {
    const engine = make({ maxBatchSize: 1 });
    const controller = new AbortController();
    const { onStep, first } = begun();
    const long = engine.sample({ ...LONG, signal: controller.signal, onStep });
    const queued = new AbortController();
    const other = engine.sample({ ...LONG, signal: queued.signal });
    await first;
    const reason = new Error('enough');
    queued.abort();
    controller.abort(reason);
    const error = await rejects(() => long, 'ERR_ABORTED', /aborted/);
    assert.equal(error.name, 'AbortError');
    assert.equal(error.cause, reason);
    await rejects(() => other, 'ERR_ABORTED', /aborted/);
    await engine.sample(SHORT);
    await engine.drain();
    assert.deepEqual([engine.stats().running, engine.stats().queued, engine.stats().failed], [0, 0, 2]);
    await rejects(() => engine.sample({ ...SHORT, signal: AbortSignal.abort() }), 'ERR_ABORTED', /aborted/);
    assert.equal(engine.stats().failed, 2, 'one that was aborted before never reaches the engine');
  });

  it('a full queue refuses, or makes wait, in order', async () => {
    const engine = make({ maxBatchSize: 1, maxQueue: 2 });
    const { onStep, first } = begun();
    const controller = new AbortController();
    const ended: number[] = [];
    const { signal } = controller;
    const running = engine.sample({ ...LONG, onStep, signal }).catch(() => ended.push(-1));
    await first;
    const draws = [0, 1, 2, 3, 4, 5].map((i) => engine.sample({ ...SHORT, wait: true }).then(() => ended.push(i)));
    await rejects(() => engine.sample(SHORT), 'ERR_QUEUE_FULL', /maxQueue = 2/);
    const impatient = engine.sample({ ...SHORT, wait: true, signal: AbortSignal.timeout(5) });
    await rejects(() => impatient, 'ERR_ABORTED', /aborted/);
    controller.abort();
    await Promise.all([running, ...draws]);
    assert.deepEqual(ended, [-1, 0, 1, 2, 3, 4, 5]);
  });

  it('a higher priority goes first', async () => {
    const engine = make({ maxBatchSize: 1 });
    const { onStep, first } = begun();
    const ended: string[] = [];
    const controller = new AbortController();
    const running = engine.sample({ ...LONG, onStep, signal: controller.signal, priority: 9 });
    await first;
    const draws = [
      engine.sample({ ...SHORT, priority: -1 }).then(() => ended.push('low')),
      engine.sample(SHORT).then(() => ended.push('first')),
      engine.sample(SHORT).then(() => ended.push('second')),
      engine.sample({ ...SHORT, priority: 3 }).then(() => ended.push('high')),
    ];
    controller.abort();
    await running.catch(() => undefined);
    await Promise.all(draws);
    assert.deepEqual(ended, ['high', 'first', 'second', 'low']);
  });

  it('a deadline fails what is late, and nothing else', async () => {
    const engine = make();
    const [late, dated, ample] = await Promise.allSettled([
      engine.sample({ ...LONG, deadline: 5 }),
      engine.sample({ ...LONG, deadline: new Date(Date.now() - 1000) }),
      engine.sample({ ...SHORT, deadline: 60_000 }),
    ]);
    assert.equal(late.status === 'rejected' && late.reason.code, 'ERR_DEADLINE');
    assert.equal(dated.status === 'rejected' && dated.reason.code, 'ERR_DEADLINE');
    assert.equal(ample.status, 'fulfilled');
  });

  it('a deadline counts while waiting for a place', async () => {
    const engine = make({ maxBatchSize: 1, maxQueue: 1 });
    const { onStep, first } = begun();
    const controller = new AbortController();
    const running = engine.sample({ ...LONG, onStep, signal: controller.signal });
    await first;
    const queued = engine.sample(SHORT);
    await rejects(() => engine.sample({ ...SHORT, wait: true, deadline: 20 }), 'ERR_DEADLINE', /deadline/);
    assert.equal(engine.stats().images, 0);
    controller.abort();
    await Promise.allSettled([running]);
    await queued;
  });

  it('whoever waits goes first: one that does not wait is refused meanwhile', async () => {
    const engine = make({ maxBatchSize: 1, maxQueue: 1 });
    const { onStep, first } = begun();
    const controller = new AbortController();
    const running = engine.sample({ ...LONG, onStep, signal: controller.signal });
    await first;
    const [queued, waiting] = [engine.sample(SHORT), engine.sample({ ...SHORT, wait: true })];
    await rejects(() => engine.sample(SHORT), 'ERR_QUEUE_FULL', /maxQueue = 1 requests, and 1 more wait/);
    controller.abort();
    await Promise.allSettled([running]);
    await Promise.all([queued, waiting]);
  });

  it('a closing engine ends its warm-up with ERR_CLOSED', async () => {
    const engine = make();
    const [warmup, sample] = [engine.warmup(), engine.sample(LONG)];
    const outcomes = Promise.allSettled([warmup, sample]);
    await engine.close();
    for (const outcome of await outcomes) assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'ERR_CLOSED');
  });

  it('a rejection of an async onStep rejects its request', async () => {
    const engine = make();
    const oops = new Error('oops');
    await assert.rejects(engine.sample({ ...LONG, onStep: (() => Promise.reject(oops)) as () => void }), (error) => error === oops);
  });

  it('a forward of its own goes on beside a saturated engine on one thread', async () => {
    const threads = getNumThreads();
    setNumThreads(1);
    try {
      const engine = make({ maxBatchSize: 4 });
      const controller = new AbortController();
      const { onStep, first } = begun();
      const long = engine.sample({ ...LONG, onStep, signal: controller.signal });
      await first;
      for (let t = 0; t < 3; t++) await unet.forward(noise([1, 2, 8, 8]), t);
      controller.abort();
      await Promise.allSettled([long]);
    } finally {
      setNumThreads(threads);
    }
  });

  it('tells of every step, with previews where they are asked for', async () => {
    const engine = make();
    const seen: EngineProgress<'tensor'>[] = [];
    const onStep = (progress: EngineProgress<'tensor'>) => void seen.push(progress);
    const options = { scheduler, numInferenceSteps: 5, seed: 1, outputType: 'tensor' } as const;
    await engine.sample({ ...options, onStep, previewEvery: 2 });
    assert.deepEqual(seen.map(({ step, totalSteps, timestep }) => [step, totalSteps, timestep]), [
      [1, 5, 800], [2, 5, 600], [3, 5, 400], [4, 5, 200], [5, 5, 0],
    ]); // prettier-ignore
    assert.deepEqual(seen.map(({ preview }) => preview?.shape), [undefined, [8, 8, 2], undefined, [8, 8, 2], undefined]);
  });

  it('a throw in onStep rejects its request alone', async () => {
    const engine = make();
    const oops = new Error('oops');
    const onStep = () => {
      throw oops;
    };
    const bad = engine.sample({ ...LONG, onStep });
    const good = engine.sample(SHORT);
    await assert.rejects(bad, (error) => error === oops);
    await good;
    await engine.drain();
    assert.equal(engine.stats().running, 0);
  });

  it('drain waits for all, those waiting for a place too', async () => {
    const engine = make({ maxBatchSize: 2, maxQueue: 1 });
    await engine.drain();
    let done = 0;
    const draws = Array.from({ length: 7 }, () => engine.sample({ ...SHORT, wait: true }).then(() => done++));
    await engine.drain();
    await Promise.all(draws);
    assert.equal(done, 7);
    await engine.sample(SHORT);
  });

  it('close rejects what is under way, whether running, queued or waiting, and refuses more', async () => {
    const engine = make({ maxBatchSize: 1, maxQueue: 1 });
    const { onStep, first } = begun();
    const running = engine.sample({ ...LONG, onStep });
    await first;
    const draws = [running, engine.sample(SHORT), engine.sample({ ...SHORT, wait: true })];
    const outcomes = Promise.allSettled(draws);
    const closing = engine.close();
    assert.equal(engine.close(), closing);
    await rejects(() => engine.sample(SHORT), 'ERR_CLOSED', /closed/);
    await closing;
    for (const outcome of await outcomes) assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'ERR_CLOSED');
    await rejects(() => engine.sample(SHORT), 'ERR_CLOSED', /closed/);
    await rejects(() => engine.warmup(), 'ERR_CLOSED', /closed/);
    await engine.drain();
    assert.equal(engine.stats().failed, 2);
  });

  it('measures batch sizes', async () => {
    const engine = make({ maxBatchSize: 6 });
    assert.equal(engine.stats().batchLimit, 6);
    await engine.warmup();
    const { batchLimit, steps, images } = engine.stats();
    assert.ok(batchLimit >= 1 && batchLimit <= 6);
    assert.deepEqual([steps, images], [0, 0]);
    await rejects(() => engine.warmup({ batchSizes: [7] }), 'ERR_ARGUMENT', /batchSizes must be an integer in 1 … 6, got 7/);
  });

  it('counts', async () => {
    const engine = make({ maxBatchSize: 4 });
    await Promise.all(Array.from({ length: 8 }, () => engine.sample({ scheduler, numInferenceSteps: 10 })));
    const stats = engine.stats();
    assert.equal(stats.images, 8);
    assert.equal(stats.sampleSteps, 80);
    assert.ok(stats.steps >= 20 && stats.steps < 80, `${stats.steps} batches`);
    assert.ok(stats.batchOccupancy > 0.2 && stats.batchOccupancy <= 1);
    assert.ok(stats.stepsPerSecond > 0 && stats.imagesPerSecond > 0);
    assert.ok(stats.latency.p50 > 0 && stats.latency.p99 >= stats.latency.p95 && stats.latency.p95 >= stats.latency.p50);
    assert.ok(stats.unetSeconds > 0 && stats.loopSeconds >= stats.unetSeconds);
  });
});
