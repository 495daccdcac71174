// A user's program in ESM: it must compile as it stands. It is compiled, never run.
import {
  DDIMInverseScheduler,
  DDIMPipeline,
  DDIMScheduler,
  DDPMPipeline,
  DDPMScheduler,
  DiffusersError,
  DiffusionPipeline,
  Generator,
  LibtorchError,
  runBatch,
  SamplerEngine,
  Tensor,
  TorchScriptModel,
  UNet2DModel,
  arange,
  cat,
  full,
  getFloat32MatmulPrecision,
  getNumThreads,
  lerp,
  linspace,
  manualSeed,
  ones,
  ops,
  randn,
  setFloat32MatmulPrecision,
  setNumThreads,
  slerp,
  stack,
  tidy,
  zeros,
  type DDIMStepOptions,
  type DDPMSchedulerConfig,
  type DType,
  type DiffusionImage,
  type BatchJob,
  type BatchRecord,
  type EngineStats,
  type ErrorCode,
  type UNet2DConfig,
  type UNetLike,
} from 'node-diffusers';

/** Fails to compile unless both are one type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => {};

const dtypes: DType[] = ['float32', 'float64', 'float16', 'bfloat16', 'int64', 'int32', 'uint8', 'bool'];

function tensors(): Tensor {
  const x = Tensor.from(new Float32Array(6), [2, 3]);
  const y = Tensor.from(
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    undefined,
    { dtype: 'float64', device: 'cpu' },
  );
  const half = Tensor.from({ data: new Uint16Array(4), shape: [2, 2], dtype: 'float16' });
  const onnx = Tensor.from({ data: new Float32Array(4), dims: [2, 2], type: 'float32' });
  const shape: readonly number[] = x.shape;
  const numbers: number[] = [x.numel, x.item(), ...shape];
  const moved = x.to({ dtype: 'float16', memoryFormat: 'channelsLast' });
  const z = x.add(1).sub(y).mul(2).div(x).neg().abs().sqrt().exp().clamp(-1, 1).pow(2);
  const sums = [z.mean(), z.sum(0), z.std([0, 1], { keepdim: true, correction: 0 }), z.amin(1), z.amax()];
  const views = z.reshape([3, 2]).permute([1, 0]).transpose(0, 1).unsqueeze(0).squeeze().expand([2, 3]);
  const parts = [
    ...views.chunk(2, 0),
    ...views.split([1, 1]),
    views.slice(0, 0, 1),
    views.narrow(1, 0, 1),
    views.flip(0),
  ];
  parts.forEach((part) => part.contiguous().clone().dispose());
  const made = [zeros([1]), ones([1], { dtype: 'int64' }), full([2], 3), arange(0, 3, 1), linspace(0, 1, 5)];
  const joined = [cat(made), stack(made, 0), lerp(x, y, 0.5), slerp(x, y, 0.5), half, onnx, moved, ...sums];
  const kept = tidy(() => joined.map((t) => t.clone()));
  same<typeof kept, Tensor[]>(true);
  const pair = tidy(() => ({ map: new Map([['x', x]]), n: 1 as number | undefined }));
  same<typeof pair, { map: Map<string, Tensor>; n: number | undefined }>(true);
  tidy(() => {
    x.dispose();
  });
  const anything = tidy(() => JSON.parse('1'));
  same<typeof anything, any>(true);
  joined.push(randn([1], { dtype: 'bfloat16' }));
  const silu: unknown = ops.aten['silu']?.(x);
  return numbers.length > 0 ? z : (silu as Tensor);
}

function schedulers(x: Tensor): Tensor {
  const generator = new Generator({ seed: 2n ** 60n, device: 'cpu' }).manualSeed(0);
  const config: Partial<DDPMSchedulerConfig> = { betaSchedule: 'squaredcos_cap_v2', varianceType: 'learned_range' };
  const ddpm = new DDPMScheduler(config);
  const ddim = DDIMScheduler.fromConfig(ddpm.config);
  const inverse = new DDIMInverseScheduler({ timestepSpacing: 'trailing' });
  ddim.setTimesteps(50);
  ddim.setTimesteps({ timesteps: new Int32Array([999, 499]) });
  ddpm.setTimesteps({ numInferenceSteps: 10 });
  const options: DDIMStepOptions = {
    eta: [0, 1],
    generator: [generator, generator],
    prevTimestep: new Int32Array([1, 2]),
  };
  const generators: readonly Generator[] = [generator, generator];
  ddpm.step(x, 999, x, { generator: generators });
  const { prevSample, predOriginalSample } = ddim.step(x, [999, 499], x, options);
  ddpm.step(x, 999, x, { generator });
  inverse.step(x, 1, x, { sourceTimestep: 0 });
  const noisy = ddim.addNoise(x, randn(x.shape, { generator }), Tensor.from([1, 2]));
  const velocity = ddim.getVelocity(x, noisy, 10);
  const { mean, variance } = ddim.posterior(x, noisy, 10, 5);
  same<typeof variance, number | Float32Array>(true);
  const tables: Float32Array[] = [ddim.betas, ddim.alphas, ddim.alphasCumprod];
  const steps: Int32Array = ddim.timesteps;
  const count: number | null = ddim.numInferenceSteps;
  const order: 1 = ddim.order;
  return (
    [prevSample, predOriginalSample, velocity, mean, ddim.scaleModelInput(x, order)][
      steps.length + (count ?? 0) + tables.length
    ] ?? x
  );
}

async function pipelines(signal: AbortSignal): Promise<void> {
  const pipe = await DDIMPipeline.fromPretrained('folder', { dtype: 'bfloat16', device: 'cuda:0' });
  const { images } = await pipe.run();
  same<typeof images, DiffusionImage[]>(true);
  const { images: tensor } = await pipe.run({
    batchSize: 2,
    eta: 0.5,
    numInferenceSteps: 20,
    outputType: 'tensor',
    signal,
  });
  same<typeof tensor, Tensor>(true);
  const { images: bytes } = await new DDPMPipeline({ unet: pipe.unet, scheduler: new DDPMScheduler() }).run({
    outputType: 'uint8',
    generator: [manualSeed(0)],
    callbackOnStepEnd: async ({ latents, step }) => (step > 0 ? { latents: latents.mul(1) } : undefined),
    onProgress: ({ step, totalSteps }) => void (step / totalSteps),
  });
  same<typeof bytes, Tensor>(true);
  const fixed: readonly Generator[] = Object.freeze([manualSeed(0)]);
  await pipe.run({ generator: fixed });
  const png: Uint8Array = (await images[0]?.toBuffer('png')) ?? new Uint8Array();
  await images[0]?.save(`out-${png.length}.webp`);
  const unet: UNetLike = (await DiffusionPipeline.fromPretrained('folder')).unet;
  await unet.forward(tensor, [1, 2], { classLabels: [0, 1], signal });
  const model = await TorchScriptModel.load('file.pt', { device: 'cpu' });
  const output: unknown = await model.forward(tensor, 1, true, 'text', null, [tensor], { key: tensor });
  void output;
}

async function models(signal: AbortSignal): Promise<void> {
  const unet = await UNet2DModel.fromPretrained('google/ddpm-cifar10-32', {
    subfolder: 'unet',
    variant: 'fp16',
    useSafetensors: true,
    dtype: 'bfloat16',
    device: 'cuda:0',
    revision: 'main',
    signal,
  });
  const block: UNet2DConfig['downBlockTypes'] = ['DownBlock2D', 'AttnSkipDownBlock2D'];
  const made = UNet2DModel.fromConfig(
    { sampleSize: [8, 16], downBlockTypes: block, actFn: 'gelu', classEmbedType: null, midBlockType: null },
    { generator: new Generator({ seed: 1 }), dtype: 'float16' },
  );
  UNet2DModel.fromConfig(made.config);
  UNet2DModel.fromConfig({ _class_name: 'UNet2DModel', sample_size: 32, down_block_types: ['DownBlock2D'] });
  UNet2DModel.fromConfig(JSON.parse('{}'));
  await UNet2DModel.fromTorchScript('unet.pt', { config: made.config, dtype: 'float32' });
  const { sample } = await unet.forward(randn([2, 3, 8, 8]), new Int32Array([1, 2]), { classLabels: [0, 1], signal });
  same<typeof sample, Tensor>(true);
  await (await made.to({ dtype: 'float32', device: 'cpu' })).savePretrained('folder');
  const like: UNetLike = made;
  const pipe = new DDIMPipeline({ unet: like, scheduler: new DDIMScheduler() });
  await pipe.run({ classLabels: [1], guidanceScale: 4, nullClassLabel: 10 });
  await pipe.run({ classLabels: sample, guidanceScale: 4, nullClassLabel: sample });
  setNumThreads(getNumThreads());
  setFloat32MatmulPrecision(getFloat32MatmulPrecision());
  made.dispose();
}

try {
  await models(AbortSignal.timeout(1000));
  await pipelines(AbortSignal.timeout(1000));
  schedulers(tensors());
} catch (error) {
  if (error instanceof LibtorchError) throw error;
  if (error instanceof DiffusersError) {
    const code: ErrorCode = error.code;
    same<Extract<ErrorCode, 'ERR_SHAPE'>, 'ERR_SHAPE'>(true);
    void [code, dtypes];
  }
}

async function engine(unet: UNetLike, generator: Generator): Promise<void> {
  const engine = new SamplerEngine(unet, { maxBatchSize: 8, maxQueue: 16, padBatches: true, shape: [1, 32, 32] });
  const scheduler = new DDIMScheduler();
  const image = await engine.sample({ scheduler, numInferenceSteps: 20, eta: 0.5, seed: 1n, priority: 2, wait: true });
  same<typeof image, DiffusionImage>(true);
  const tensor = await engine.sample({
    scheduler: { _class_name: 'DDPMScheduler', num_train_timesteps: 1000 },
    timesteps: Int32Array.of(999, 499),
    generator,
    outputType: 'tensor',
    deadline: new Date(),
    signal: AbortSignal.timeout(1000),
    previewEvery: 2,
    onStep: ({ step, totalSteps, timestep, preview }) => {
      same<typeof preview, Tensor | undefined>(true);
      return void [step, totalSteps, timestep];
    },
  });
  same<typeof tensor, Tensor>(true);
  const latent: Tensor = await engine.sample({ scheduler, image, strength: 0.5, rng: 'philox', seed: 1, outputType: 'latent' });
  const again: DiffusionImage = await engine.sample({ scheduler: scheduler.config, latents: latent, classLabel: 3, guidanceScale: 4 });
  const { latency, batchOccupancy, queued }: EngineStats = engine.stats();
  await engine.warmup({ batchSizes: [1, 8], guided: true });
  await engine.drain();
  await engine.close();
  void [again, latency.p95, batchOccupancy, queued];
}
void engine;

async function batch(unet: UNetLike, engine: SamplerEngine, bytes: import('node:stream').Readable): Promise<void> {
  const jobs: BatchJob[] = [{ id: 'a' }, { id: 'b', seed: '18446744073709551615', timesteps: [999, 0], classLabel: null, rng: 'philox' }];
  const scheduler = new DDIMScheduler();
  const { manifest, drawn, kept, failed, seconds } = await runBatch({ jobs, out: 'images', unet, scheduler });
  for (const source of ['jobs.jsonl', bytes, new Set(jobs)]) {
    await runBatch({
      jobs: source,
      out: 'images',
      unet,
      engine,
      scheduler,
      defaults: { numInferenceSteps: 20, eta: 0.5 },
      batchSize: 32,
      shard: { index: 1, count: 4 },
      format: 'webp',
      images: 'starts',
      signal: AbortSignal.timeout(1000),
      onProgress: ({ total }) => void same<typeof total, number | null>(true),
      onFailure: ({ id, line, error }) => void [id, line, error.code],
    });
  }
  const record = JSON.parse('{}') as BatchRecord;
  const text: string = record.record === 'image' ? record.sha256 : record.time;
  void [manifest, drawn + kept + failed, seconds, text];
}
void batch;
