// The package from Node on a GPU: npx tsx scripts/gpu/with-gpu.ts [DEVICE=cuda] [PICTURE.png]. scripts/gpu/check.sh calls it.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DDIMPipeline,
  DDIMScheduler,
  DDPMPipeline,
  DDPMScheduler,
  DiffusersError,
  Generator,
  makeGrid,
  randn,
  runBatch,
  SamplerEngine,
  Tensor,
  tidy,
  TorchScriptModel,
  UNet2DModel,
  zeros,
} from '../../ts/index';

const MODEL = join(__dirname, '../../models/fashion-mnist-ddpm');
const [device = 'cuda', picture] = process.argv.slice(2);

/** ‖a − b‖ / ‖b‖. */
function difference(a: Tensor, b: Tensor): number {
  return tidy(() => {
    const [got, wanted] = [a, b].map((tensor) => tensor.to({ device: 'cpu', dtype: 'float64' })) as [Tensor, Tensor];
    return Math.sqrt(got.sub(wanted).pow(2).sum().item() / wanted.pow(2).sum().item());
  });
}

function expectClose(what: string, a: Tensor, b: Tensor, tolerance: number): string {
  const distance = difference(a, b);
  if (!(distance <= tolerance)) throw new Error(`${what} is ${distance.toExponential(1)} off, ${tolerance} is allowed`);
  return `${what}: ${distance.toExponential(1)}`;
}

async function expectFailure(code: string, work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof DiffusersError && error.code === code) return `${code}: ${error.message.slice(0, 60)}`;
    throw error;
  }
  throw new Error(`${code} was expected, nothing was thrown`);
}

const images = (pipe: DDIMPipeline | DDPMPipeline, steps: number, seed: number) =>
  pipe
    .run({ batchSize: 4, numInferenceSteps: steps, generator: new Generator({ seed }), outputType: 'tensor' })
    .then((output) => output.images);

/** What each came to, or what it throws. */
const CHECKS: Record<string, () => Promise<string | readonly string[]>> = {
  'a forward': async () => {
    const [cpu, gpu] = await Promise.all([UNet2DModel.fromPretrained(MODEL), UNet2DModel.fromPretrained(MODEL, { device })]);
    const x = randn([3, 1, 28, 28], { generator: new Generator({ seed: 1 }) });
    const wanted = await cpu.forward(x, [999, 500, 0]);
    const got = await gpu.forward(x.to({ device }), [999, 500, 0]);
    const half = await UNet2DModel.fromPretrained(MODEL, { device, dtype: 'bfloat16' });
    const rough = await half.forward(x.to({ device, dtype: 'bfloat16' }), [999, 500, 0]);
    return [
      expectClose('float32', got.sample, wanted.sample, 1e-4),
      expectClose('bfloat16', rough.sample, wanted.sample, 3e-2),
    ];
  },

  'scheduler.step': async () => {
    const scheduler = new DDPMScheduler();
    scheduler.setTimesteps(10);
    const [sample, output, varianceNoise] = [1, 2, 3].map((seed) =>
      randn([2, 3, 8, 8], { generator: new Generator({ seed }) }),
    ) as [Tensor, Tensor, Tensor];
    const wanted = scheduler.step(output, [900, 0], sample, { varianceNoise });
    const there = (tensor: Tensor) => tensor.to({ device });
    const got = scheduler.step(there(output), [900, 0], there(sample), { varianceNoise: there(varianceNoise) });
    if (!got.prevSample.device.startsWith(device)) throw new Error(`the sample is on ${got.prevSample.device}`);
    return expectClose('x_s', got.prevSample, wanted.prevSample, 1e-6);
  },

  'pipelines, as on the CPU': async () => {
    const results: string[] = [];
    for (const Pipeline of [DDPMPipeline, DDIMPipeline]) {
      const [cpu, gpu] = await Promise.all([Pipeline.fromPretrained(MODEL), Pipeline.fromPretrained(MODEL, { device })]);
      results.push(expectClose(Pipeline.name, await images(gpu, 8, 5), await images(cpu, 8, 5), 2e-3));
    }
    return results;
  },

  'the engine, as the pipeline on the CPU': async () => {
    const engine = new SamplerEngine(await UNet2DModel.fromPretrained(MODEL, { device }), { maxBatchSize: 8 });
    const cpu = await DDIMPipeline.fromPretrained(MODEL);
    const steps = [4, 7, 5, 9, 6, 8];
    const got = await Promise.all(
      steps.map((numInferenceSteps, seed) =>
        engine.sample({ scheduler: cpu.scheduler, numInferenceSteps, seed, outputType: 'tensor' }),
      ),
    );
    const results: string[] = [];
    for (const [seed, numInferenceSteps] of steps.entries()) {
      const generator = new Generator({ seed });
      const wanted = await cpu.run({ numInferenceSteps, generator, outputType: 'tensor' });
      results.push(expectClose(`${numInferenceSteps} steps`, got[seed] as Tensor, wanted.images.squeeze(0), 2e-3));
    }
    await engine.close();
    return results;
  },

  'an abort and a failure leave the engine working': async () => {
    const engine = new SamplerEngine(await UNet2DModel.fromPretrained(MODEL, { device, dtype: 'bfloat16' }), { maxBatchSize: 4 });
    const scheduler = new DDIMScheduler();
    const ended = new AbortController();
    const aborted = engine.sample({
      scheduler,
      numInferenceSteps: 500,
      seed: 1,
      signal: ended.signal,
      onStep: () => ended.abort(),
    });
    const results = [await expectFailure('ERR_ABORTED', () => aborted)];
    results.push(await expectFailure('ERR_OUT_OF_MEMORY', () => zeros([1 << 20, 1 << 20, 16], { device })));
    const image = await engine.sample({ scheduler, numInferenceSteps: 4, seed: 2, outputType: 'tensor' });
    await engine.close();
    return [...results, `then an image of ${image.shape.join('×')}`];
  },

  'a batch job': async () => {
    const out = mkdtempSync(join(tmpdir(), 'nd-gpu-'));
    try {
      const jobs = [0, 1, 2, 3, 4].map((seed) => ({ id: `r${seed}`, seed, numInferenceSteps: 5 }));
      const unet = await UNet2DModel.fromPretrained(MODEL, { device });
      const { drawn, failed } = await runBatch({ jobs, out, unet, scheduler: new DDIMScheduler() });
      if (drawn !== 5 || failed !== 0 || !existsSync(join(out, 'r4.png'))) throw new Error(`${drawn} drawn, ${failed} failed`);
      return `${drawn} drawn`;
    } finally {
      rmSync(out, { recursive: true });
    }
  },

  'a generator there': async () => {
    const draw = () => randn([1000, 1000], { generator: new Generator({ seed: 1, device }), device });
    const [one, two] = [draw(), draw()];
    if (!(Math.abs(one.std().item() - 1) < 0.01)) throw new Error(`its deviation is ${one.std().item()}`);
    return expectClose('twice the same', two, one, 0);
  },

  TorchScript: async () => {
    const file = join(__dirname, '../../test/fixtures/torchscript/tiny-unet.pt');
    const [cpu, gpu] = await Promise.all([TorchScriptModel.load(file), TorchScriptModel.load(file, { device })]);
    const x = randn([2, 2, 8, 8], { generator: new Generator({ seed: 1 }) });
    const [timesteps, labels] = [Tensor.from(BigInt64Array.of(3n, 500n)), Tensor.from(BigInt64Array.of(0n, 1n))];
    const wanted = (await cpu.forward(x, timesteps, labels)) as Tensor;
    const got = (await gpu.forward(x.to({ device }), timesteps.to({ device }), labels.to({ device }))) as Tensor;
    return expectClose('a forward', got, wanted, 1e-4);
  },

  'images a second': async () => {
    const unet = await UNet2DModel.fromPretrained(MODEL, { device, dtype: 'bfloat16' });
    const engine = new SamplerEngine(unet, { maxBatchSize: 64 });
    await engine.warmup({ batchSizes: [1, 64] });
    const scheduler = (await DDIMPipeline.fromPretrained(MODEL)).scheduler;
    const draw = (count: number) =>
      Promise.all(Array.from({ length: count }, (_, seed) => engine.sample({ scheduler, numInferenceSteps: 50, seed, rng: 'philox' })));
    await draw(64);
    const begin = performance.now();
    const drawn = await draw(device === 'cpu' ? 64 : 512);
    const seconds = (performance.now() - begin) / 1000;
    if (picture !== undefined) await (await makeGrid(drawn.slice(0, 16))).save(picture);
    await engine.close();
    return `${(drawn.length / seconds).toFixed(0)} of DDIM-50, bfloat16, Philox`;
  },
};

async function main(): Promise<void> {
  let failed = 0;
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      process.stdout.write(`${name}: ${[await check()].flat().join(', ')}\n`);
    } catch (error) {
      failed += 1;
      process.stdout.write(`FAILED ${name}: ${String(error)}\n`);
    }
  }
  process.stdout.write(`${Object.keys(CHECKS).length - failed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}
main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
