import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Generator, Tensor, ones, randn, zeros } from '../../../ts/index';
import { TorchScriptModel, loadUNet, type UNetLike } from '../../../ts/models';
import { Fixture, type Ref } from '../../parity/fixture';
import { freedBy } from '../tensor/freed';
import { archive, rejects } from './fixtures';

const CONFIG = { inChannels: 2, outChannels: 2, sampleSize: 4 };

/** What the probe saw: its timesteps, and whether they were int64. */
async function seen(unet: UNetLike, batch: number, timestep: Parameters<UNetLike['forward']>[1]) {
  const { sample } = await unet.forward(ones([batch, 2, 1, 1]), timestep);
  const rows = sample.reshape([batch, 2]).tolist() as number[][];
  return { timesteps: rows.map(([t]) => t), int64: rows.every(([, flag]) => flag === 1) };
}

describe('models/torchscript-unet', () => {
  let probe: UNetLike;
  let tiny: UNetLike;
  before(async () => {
    probe = (await TorchScriptModel.load(archive('probe'))).asUNet(CONFIG);
    tiny = await loadUNet(archive('tiny-unet'));
  });

  it('gives what diffusers gives, per sample and for fractional timesteps', async () => {
    interface Manifest {
      forwards: Record<'sample' | 'timestep' | 'classLabels' | 'output', Ref>[];
    }
    const fixture = new Fixture<Manifest>('../torchscript/tiny-unet');
    for (const { sample, timestep, classLabels, output } of fixture.manifest.forwards) {
      const got = await tiny.forward(fixture.tensor(sample), fixture.tensor(timestep), {
        classLabels: fixture.tensor(classLabels),
      });
      const expected = fixture.tensor(output);
      const error = got.sample.sub(expected).abs().amax().item() / expected.abs().amax().item();
      assert.ok(error < 1e-5, `off by ${error}`);
    }
  });

  it('reads its config out of the archive', () => {
    const { inChannels, sampleSize, numClassEmbeds } = tiny.config;
    assert.deepEqual({ inChannels, sampleSize, numClassEmbeds }, { inChannels: 2, sampleSize: 8, numClassEmbeds: 3 });
    assert.deepEqual(probe.config, CONFIG, 'a given config keeps what was given');
    assert.ok(Object.isFrozen(probe.config) && Object.isFrozen(tiny.config));
  });

  it('passes whole timesteps as int64 and fractional ones as float32, one for the batch or one a sample', async () => {
    assert.deepEqual(await seen(probe, 2, 7), { timesteps: [7, 7], int64: true });
    assert.deepEqual(await seen(probe, 2, 7.5), { timesteps: [7.5, 7.5], int64: false });
    assert.deepEqual(await seen(probe, 2, [3, 4]), { timesteps: [3, 4], int64: true });
    assert.deepEqual(await seen(probe, 2, [3, 4.5]), { timesteps: [3, 4.5], int64: false });
    assert.deepEqual(await seen(probe, 2, Int32Array.of(5, 6)), { timesteps: [5, 6], int64: true });
    assert.deepEqual(await seen(probe, 2, Tensor.from([8n])), { timesteps: [8, 8], int64: true });
    assert.deepEqual(await seen(probe, 2, Tensor.from(Float64Array.of(1, 2))), { timesteps: [1, 2], int64: false });
  });

  it('casts the sample to its dtype, and its output is of that', async () => {
    const unet = await loadUNet(archive('tiny-unet'), { dtype: 'bfloat16' });
    assert.equal(unet.dtype, 'bfloat16');
    const x = randn([2, 2, 8, 8]);
    const options = { classLabels: [0, 2] };
    const half = (await unet.forward(x, 5, options)).sample;
    assert.equal(half.dtype, 'bfloat16');
    const full = (await tiny.forward(x, 5, options)).sample;
    assert.ok(half.to({ dtype: 'float32' }).sub(full).abs().amax().item() < 0.1);
    assert.equal(x.dtype, 'float32');
    assert.equal(await unet.to({ dtype: 'float64' }), unet);
    assert.equal((await unet.forward(x, 5, options)).sample.dtype, 'float64');
  });

  it('checks the sample before any work', async () => {
    const shapes: [number[], RegExp][] = [
      [[2, 1, 8, 8], /sample must have shape \[B, 2, H, W\], got \[2, 1, 8, 8\]/],
      [[2, 8, 8], /got \[2, 8, 8\]/],
      [[0, 2, 8, 8], /got \[0, 2, 8, 8\]/],
    ];
    for (const [shape, message] of shapes) {
      await rejects(() => tiny.forward(zeros(shape), 1, { classLabels: [0] }), 'ERR_SHAPE', message);
    }
    await rejects(() => tiny.forward(zeros([1, 2, 8, 8], { dtype: 'int64' }), 1), 'ERR_DTYPE', /floating/);
    await rejects(() => tiny.forward([] as never, 1), 'ERR_ARGUMENT', /sample must be a Tensor/);
    await rejects(
      () => tiny.forward(zeros([1, 2, 8, 8]), 1, { labels: [0] } as never),
      'ERR_ARGUMENT',
      /unknown option/,
    );
  });

  it('wants heights and widths that its blocks can halve', async () => {
    const config = { ...CONFIG, blockOutChannels: [8, 16, 16] };
    const unet = (await TorchScriptModel.load(archive('probe'))).asUNet(config);
    await rejects(() => unet.forward(zeros([1, 2, 6, 8]), 1), 'ERR_SHAPE', /multiples of 4, got \[1, 2, 6, 8\]/);
    assert.deepEqual((await unet.forward(zeros([1, 2, 4, 12]), 1)).sample.shape, [1, 2, 4, 12]);
  });

  it('checks timesteps and class labels', async () => {
    const x = zeros([2, 2, 8, 8]);
    const labels = { classLabels: [0, 1] };
    await rejects(() => tiny.forward(x, [1, 2, 3], labels), 'ERR_ARGUMENT', /one number or 2 \(one a sample\), got 3/);
    await rejects(() => tiny.forward(x, [], labels), 'ERR_ARGUMENT', /timestep must be/);
    await rejects(() => tiny.forward(x, Number.NaN, labels), 'ERR_TIMESTEP', /finite number, got NaN/);
    await rejects(() => tiny.forward(x, ['3', 4] as never, labels), 'ERR_TIMESTEP', /got "3"/);
    await rejects(() => tiny.forward(x, zeros([2, 1]), labels), 'ERR_SHAPE', /timestep must have shape/);
    await rejects(() => tiny.forward(x, 1), 'ERR_ARGUMENT', /classLabels is missing/);
    await rejects(() => tiny.forward(x, 1, { classLabels: [0] }), 'ERR_ARGUMENT', /classLabels must be 2, one a sample, got 1/);
    await rejects(() => tiny.forward(x, 1, { classLabels: [0, 3] }), 'ERR_ARGUMENT', /0 … 2, got 3/);
    await rejects(() => tiny.forward(x, 1, { classLabels: Tensor.from([-1n, 0n]) }), 'ERR_ARGUMENT', /got -1/);
    await rejects(() => tiny.forward(x, 1, { classLabels: [0.5, 1] }), 'ERR_ARGUMENT', /integers/);
    await rejects(() => tiny.forward(x, 1, { classLabels: zeros([2]) }), 'ERR_DTYPE', /2 integers, got float32/);
    await rejects(() => probe.forward(x, 1, labels), 'ERR_ARGUMENT', /takes no classes/);
  });

  it('frees the tensors that it makes of its inputs, and no other', async () => {
    const [x, timestep, classLabels] = [zeros([1, 2, 8, 8]), Tensor.from([1n]), Tensor.from([0n])];
    assert.equal((await freedBy(() => tiny.forward(x, 1, { classLabels: [0] }))).length, 4); // a handle on x, timesteps, the list, labels
    const freed = await freedBy(() => tiny.forward(x, timestep, { classLabels }));
    assert.equal(freed.length, 4);
    assert.ok(![x, timestep, classLabels].some((given) => freed.includes(given)));
  });

  it('aborts through its signal', async () => {
    const options = { classLabels: [0], signal: AbortSignal.abort() };
    await rejects(() => tiny.forward(zeros([1, 2, 8, 8]), 1, options), 'ERR_ABORTED', /aborted/);
    const controller = new AbortController();
    const begun = tiny.forward(zeros([1, 2, 8, 8]), 1, { classLabels: [0], signal: controller.signal });
    controller.abort();
    await rejects(() => begun, 'ERR_ABORTED', /aborted/);
  });

  it('refuses an archive that is no UNet, and one without a config', async () => {
    const lookup = await TorchScriptModel.load(archive('lookup'));
    assert.throws(() => lookup.asUNet(CONFIG), { code: 'ERR_CHECKPOINT', message: /forward takes \(x: Tensor\)/ });
    assert.throws(() => lookup.asUNet(), { code: 'ERR_CONFIG', message: /holds no config\.json/ });
    assert.throws(() => lookup.asUNet({ inChannels: 1 } as never), {
      code: 'ERR_CONFIG',
      message: /outChannels is missing/,
    });
    assert.throws(() => lookup.asUNet({ ...CONFIG, inChannels: -1 }), { code: 'ERR_CONFIG', message: /inChannels/ });
  });

  it('says which file it is whose config is damaged', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'torchscript-unet-'));
    try {
      const file = join(folder, 'odd.pt');
      await (await TorchScriptModel.load(archive('tiny-grey'))).save(file, { 'config.json': '{' });
      await rejects(() => loadUNet(file), 'ERR_CHECKPOINT', /config\.json in .*odd\.pt is not valid JSON$/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('saves a folder that it loads from, in the dtype it has', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'torchscript-unet-'));
    try {
      const unet = await loadUNet(archive('tiny-unet'), { dtype: 'float64' });
      await rejects(() => unet.savePretrained(folder, { variant: 'fp16' }), 'ERR_ARGUMENT', /variant goes with a UNet2DModel/);
      await unet.savePretrained(join(folder, 'unet'));
      assert.deepEqual((await readdir(join(folder, 'unet'))).sort(), ['config.json', 'diffusion_pytorch_model.safetensors', 'unet.pt']);
      const onDisk = JSON.parse(await readFile(join(folder, 'unet/config.json'), 'utf8')) as Record<string, unknown>;
      assert.deepEqual([onDisk['_class_name'], onDisk['num_class_embeds']], ['UNet2DModel', 3]);
      const again = await loadUNet(folder, { dtype: 'float32' });
      const model = await TorchScriptModel.load(join(folder, 'unet/unet.pt'));
      assert.equal((JSON.parse(model.extraFiles['metadata.json']!) as { dtype: string }).dtype, 'float64');
      // What is loaded again is the native UNet2DModel, the other one the program: they agree as parity's bound has it.
      const x = randn([1, 2, 8, 8], { generator: new Generator({ seed: 0 }) });
      const [a, b] = await Promise.all([again, tiny].map((one) => one.forward(x, 9, { classLabels: [1] })));
      assert.ok(a!.sample.sub(b!.sample).abs().amax().item() < 1e-5 * b!.sample.abs().amax().item());
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('frees its model', async () => {
    const unet = await loadUNet(archive('tiny-unet'));
    unet.dispose();
    unet.dispose();
    await rejects(() => unet.forward(zeros([1, 2, 8, 8]), 1, { classLabels: [0] }), 'ERR_DISPOSED', /disposed/);
  });
});
