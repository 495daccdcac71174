import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ones, randn } from '../../../ts/index';
import { loadUNet, TorchScriptModel, UNet2DModel } from '../../../ts/models';
import { Fixture, type Ref } from '../../parity/fixture';
import { archive, MODEL, rejects } from './fixtures';
import { predictionOf, tinyUNet } from './tiny-unet';

describe('models/load-unet', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'load-unet-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('finds unet/ of a pipeline, the UNet of a folder of its own, and a file of weights', async () => {
    const x = randn([1, 1, 32, 32]);
    const outputs = [];
    for (const place of [MODEL, join(MODEL, 'unet'), join(MODEL, 'unet/diffusion_pytorch_model.safetensors')]) {
      const unet = await loadUNet(place);
      assert.ok(unet instanceof UNet2DModel);
      assert.deepEqual([unet.dtype, unet.device, unet.config.sampleSize], ['float32', 'cpu', 32]);
      assert.equal(unet.parameterCount, 1_805_121);
      outputs.push((await unet.forward(x, 500)).sample);
      unet.dispose();
    }
    for (const output of outputs) assert.equal(output.sub(outputs[0]!).abs().amax().item(), 0);
  });

  it('runs an archive that is named, or that lies where no weights of diffusers do', async () => {
    await copyFile(archive('tiny-grey'), join(folder, 'unet.pt'));
    for (const place of [folder, join(folder, 'unet.pt')]) {
      const unet = await loadUNet(place, { dtype: 'float64' });
      assert.ok(!(unet instanceof UNet2DModel));
      assert.equal(unet.dtype, 'float64');
    }
    await tinyUNet().savePretrained(folder);
    assert.ok((await loadUNet(folder)) instanceof UNet2DModel);
    await rejects(() => loadUNet(folder, { variant: 'fp16' }), 'ERR_NOT_FOUND', /no variant "fp16"/);
  });

  it('gives what diffusers gives for the embedded model', async () => {
    interface Manifest {
      forwards: { timestep: number | number[]; sample: Ref; output: Ref }[];
    }
    const fixture = new Fixture<Manifest>('pipelines');
    const unet = await loadUNet(MODEL);
    assert.ok(fixture.manifest.forwards.length > 0);
    for (const { timestep, sample, output } of fixture.manifest.forwards) {
      const expected = fixture.tensor(output);
      const got = await unet.forward(fixture.tensor(sample), timestep);
      const error = got.sample.sub(expected).abs().amax().item() / expected.abs().amax().item();
      assert.ok(error < 1e-5, `off by ${error} at ${String(timestep)}`);
    }
    unet.dispose();
  });

  it('has no batch, height or width fixed in the embedded model', async () => {
    const unet = await loadUNet(MODEL);
    const one = (await unet.forward(ones([1, 1, 16, 24]), 10)).sample;
    const many = (await unet.forward(ones([5, 1, 16, 24]), [10, 999, 0, 10, 3])).sample;
    assert.deepEqual(many.shape, [5, 1, 16, 24]);
    for (const i of [0, 3]) assert.ok(many.narrow(0, i, 1).sub(one).abs().amax().item() < 1e-4);
    await rejects(() => unet.forward(ones([1, 1, 30, 32]), 10), 'ERR_SHAPE', /multiples of 4/);
    unet.dispose();
  });

  it('takes the config beside an archive that holds none', async () => {
    await copyFile(archive('probe'), join(folder, 'unet.pt'));
    await rejects(() => loadUNet(folder), 'ERR_CONFIG', /holds no config\.json/);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ in_channels: 2, block_out_channels: [8] }));
    const unet = await loadUNet(folder);
    assert.equal(unet.config.inChannels, 2);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ in_channels: 'two' }));
    await rejects(() => loadUNet(folder), 'ERR_CONFIG', /in_channels/);
  });

  it('frees an archive that its config does not fit', async () => {
    await copyFile(archive('probe'), join(folder, 'unet.pt'));
    const { load } = TorchScriptModel;
    let loaded: TorchScriptModel | undefined;
    TorchScriptModel.load = async (...args) => (loaded = await load.apply(TorchScriptModel, args));
    try {
      await rejects(() => loadUNet(folder), 'ERR_CONFIG', /holds no config\.json/);
    } finally {
      TorchScriptModel.load = load;
    }
    await rejects(() => loaded!.forward(), 'ERR_DISPOSED', /dispose/);
  });

  it('says what it looked for', async () => {
    await mkdir(join(folder, 'unet'));
    await rejects(() => loadUNet(folder), 'ERR_NOT_FOUND', /unet has none of .*diffusion_pytorch_model\.safetensors, .*it holds no weights/);
    await writeFile(join(folder, 'unet/diffusion_pytorch_model.safetensors'), '');
    await rejects(() => loadUNet(folder), 'ERR_NOT_FOUND', /config\.json does not exist/);
    await writeFile(join(folder, 'unet/config.json'), '{}');
    await rejects(() => loadUNet(folder), 'ERR_CHECKPOINT', /diffusion_pytorch_model\.safetensors/);
  });

  it('rejects what is not there and what is unknown', async () => {
    await rejects(() => loadUNet(join(folder, 'gone')), 'ERR_NOT_FOUND', /gone does not exist/);
    await rejects(() => loadUNet(folder, { dtpye: 'float32' } as never), 'ERR_ARGUMENT', /unknown option/);
    await rejects(() => loadUNet(1 as never), 'ERR_ARGUMENT', /folder must be a path/);
    await rejects(() => loadUNet(MODEL, { variant: '../x' }), 'ERR_ARGUMENT', /variant must be a word/);
    await rejects(() => loadUNet(MODEL, { device: 'cuda:77' }), 'ERR_DEVICE', /'cuda:77'/);
  });

  it('an export holds its weights as parameters, not in its graph, and the config and metadata', async () => {
    const model = await TorchScriptModel.load(archive('tiny-grey'));
    const { parameterCount } = await UNet2DModel.fromTorchScript(archive('tiny-grey'));
    assert.deepEqual(model.counts, { parameters: parameterCount, buffers: 0, bytes: 4 * parameterCount });
    assert.deepEqual(Object.keys(model.extraFiles).sort(), ['config.json', 'metadata.json']);
    const metadata = JSON.parse(model.extraFiles['metadata.json']!) as Record<string, unknown>;
    assert.deepEqual([metadata['format'], metadata['baked']], ['node-diffusers-unet', { device: null, dtype: null }]);
  });

  it('the archive’s own forward and the native one of its weights agree', async () => {
    const script = await loadUNet(archive('tiny-grey'));
    const unet = await UNet2DModel.fromTorchScript(archive('tiny-grey'));
    const [a, b] = [await predictionOf(unet), await predictionOf(script as unknown as UNet2DModel)];
    assert.ok(Math.max(...a.map((x, i) => Math.abs(x - b[i]!))) < 1e-5);
  });
});
