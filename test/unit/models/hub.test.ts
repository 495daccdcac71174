import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DDIMPipeline, UNet2DModel } from '../../../ts/index';
import { FakeHub, type FakeFile } from '../hub/fake-hub';
import { homeOfItsOwn } from '../hub/hub-of-its-own';
import { archive, MODEL, rejects } from './fixtures';
import { predictionOf, readSafetensors, tinyUNet, writeShards } from './tiny-unet';

const NAME = 'someone/a-unet';
const WEIGHTS = 'diffusion_pytorch_model.safetensors';

describe('a UNet of a hub repository', () => {
  const own = homeOfItsOwn();
  let local: string;
  let hub: FakeHub;

  beforeEach(() => {
    local = join(own.home, 'local');
  });
  afterEach(() => hub.stop());

  /** Serves the local folder, and files that must never be asked for. */
  async function serve(): Promise<void> {
    const files: FakeFile[] = ['README.md', 'vae/config.json', 'vae/diffusion_pytorch_model.safetensors', 'x.onnx'].map((path) => ({
      path,
      content: Buffer.from('unwanted'),
    }));
    for (const entry of await readdir(local, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) files.push({ path: path.slice(local.length + 1), content: await readFile(path), lfs: !path.endsWith('json') });
    }
    hub = new FakeHub(NAME, files);
    process.env['HF_ENDPOINT'] = await hub.start();
  }

  it('fetches its config and its safetensors, and no more', async () => {
    await tinyUNet().savePretrained(join(local, 'unet'));
    await tinyUNet({}, 1).savePretrained(join(own.home, 'other'));
    await cp(join(own.home, 'other', WEIGHTS), join(local, 'unet/diffusion_pytorch_model.fp16.safetensors'));
    await cp(join(local, 'unet', WEIGHTS), join(local, 'unet/diffusion_pytorch_model.bin'));
    await cp(archive('tiny-unet'), join(local, 'unet/unet.pt'));
    await serve();
    const unet = await UNet2DModel.fromPretrained(NAME);
    assert.deepEqual(hub.downloads.sort(), ['unet/config.json', `unet/${WEIGHTS}`]);
    assert.deepEqual(await predictionOf(unet), await predictionOf(tinyUNet()));
    await UNet2DModel.fromPretrained(NAME, { subfolder: 'unet', variant: 'fp16' });
    assert.equal(hub.downloads.at(-1), 'unet/diffusion_pytorch_model.fp16.safetensors');
    await rejects(() => UNet2DModel.fromPretrained(NAME, { variant: 'ema' }), 'ERR_NOT_FOUND', /no variant "ema"/);
    process.env['HF_HUB_OFFLINE'] = '1';
    const offline = await UNet2DModel.fromPretrained(NAME, { variant: 'fp16', dtype: 'bfloat16' });
    assert.equal(offline.dtype, 'bfloat16');
  });

  it('fetches the shards of its variant through their index', async () => {
    await tinyUNet().savePretrained(local);
    const tensors = await readSafetensors(join(local, WEIGHTS));
    await rm(join(local, WEIGHTS));
    await writeShards(local, tensors);
    await tinyUNet({}, 1).savePretrained(join(own.home, 'other'));
    await writeShards(local, await readSafetensors(join(own.home, 'other', WEIGHTS)), '.fp16');
    await serve();
    const unet = await UNet2DModel.fromPretrained(NAME);
    assert.deepEqual(await predictionOf(unet), await predictionOf(tinyUNet()));
    const shards = (variant: string) => [1, 2].map((i) => `diffusion_pytorch_model${variant}-0000${i}-of-00002.safetensors`);
    assert.deepEqual(hub.downloads.sort(), [...shards(''), 'config.json', `${WEIGHTS}.index.json`].sort());
    await UNet2DModel.fromPretrained(NAME, { variant: 'fp16' });
    assert.deepEqual(hub.downloads.slice(4).sort(), [...shards('.fp16'), `${WEIGHTS}.index.fp16.json`].sort());
  });

  it('is a .bin where there is no other', async () => {
    await (await UNet2DModel.fromTorchScript(archive('tiny-grey'))).savePretrained(local);
    await rm(join(local, WEIGHTS));
    await cp(archive('tiny-grey').replace('.pt', '-weights.bin'), join(local, 'diffusion_pytorch_model.bin'));
    await serve();
    const unet = await UNet2DModel.fromPretrained(NAME);
    assert.deepEqual(await predictionOf(unet), await predictionOf(await UNet2DModel.fromTorchScript(archive('tiny-grey'))));
    await rejects(() => UNet2DModel.fromPretrained(NAME, { subfolder: 'text' }), 'ERR_NOT_FOUND', /has none of the files of a model/);
  });

  it('a pipeline fetches its configs and that', async () => {
    for (const path of ['scheduler/scheduler_config.json', 'model_index.json']) await cp(join(MODEL, path), join(local, path));
    await tinyUNet({ inChannels: 1, outChannels: 1 }).savePretrained(join(local, 'unet'));
    await cp(archive('tiny-unet'), join(local, 'unet/unet.pt'));
    await serve();
    const pipe = await DDIMPipeline.fromPretrained(NAME);
    assert.ok(pipe.unet instanceof UNet2DModel);
    const wanted = ['model_index.json', 'scheduler/scheduler_config.json', 'unet/config.json', `unet/${WEIGHTS}`, 'vae/config.json'];
    assert.deepEqual(hub.downloads.sort(), wanted);
    await rejects(() => DDIMPipeline.fromPretrained(NAME, { variant: 'fp16' }), 'ERR_NOT_FOUND', /no variant "fp16"/);
    const { images } = await pipe.run({ numInferenceSteps: 2, outputType: 'tensor' });
    assert.deepEqual(images.shape, [1, 8, 8, 1]);
  });
});
