import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DIFFUSERS_VERSION } from '../../../ts/config/scheduler-config';
import { TorchScriptModel, UNet2DModel } from '../../../ts/index';
import { loadUNet } from '../../../ts/models';
import { archive, MODEL, rejects } from './fixtures';

const WEIGHTS = 'diffusion_pytorch_model.safetensors';

/** A safetensors file's tensors by name: dtype, shape and bytes. */
async function tensorsOf(file: string): Promise<Map<string, string>> {
  const bytes = await readFile(file);
  const length = Number(bytes.readBigUInt64LE(0));
  assert.equal(length % 8, 0);
  type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, Entry>;
  delete header['__metadata__'];
  return new Map(
    Object.entries(header).map(([name, { dtype, shape, data_offsets: [start, end] }]) => [
      name,
      `${dtype} [${shape.join()}] ${bytes.subarray(8 + length + start, 8 + length + end).toString('base64')}`,
    ]),
  );
}

describe('savePretrained of a UNet', () => {
  let folder: string;
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'node-diffusers-'))));
  afterEach(() => rm(folder, { recursive: true }));

  it("writes diffusers' weights to the bit, and the config", async () => {
    const unet = await loadUNet(MODEL);
    await unet.savePretrained(folder);
    assert.deepEqual((await readdir(folder)).sort(), ['config.json', WEIGHTS]);
    assert.deepEqual(await tensorsOf(join(folder, WEIGHTS)), await tensorsOf(join(MODEL, 'unet', WEIGHTS)));
    const config = async (path: string) => JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as object;
    const { _diffusers_version, ...rest } = (await config(join(MODEL, 'unet'))) as Record<string, unknown>;
    assert.deepEqual(await config(folder), { ...rest, _diffusers_version: DIFFUSERS_VERSION });
    assert.equal(typeof _diffusers_version, 'string');
  });

  it('of an archive takes the place of old shards, which Python and we would read before it', async () => {
    const index = `${WEIGHTS}.index.json`;
    const shards = [1, 2].map((n) => `diffusion_pytorch_model-0000${n}-of-00002.safetensors`);
    for (const name of [index, ...shards]) await writeFile(join(folder, name), '{}');
    await (await loadUNet(archive('tiny-unet'))).savePretrained(folder);
    assert.deepEqual((await readdir(folder)).sort(), ['config.json', WEIGHTS, 'unet.pt']);
  });

  it('writes an archive beside the weights of one, as they are now', async () => {
    const unet = await (await loadUNet(archive('tiny-grey'))).to({ dtype: 'bfloat16' });
    await unet.savePretrained(folder);
    assert.deepEqual((await readdir(folder)).sort(), ['config.json', WEIGHTS, 'unet.pt']);
    const tensors = await tensorsOf(join(folder, WEIGHTS));
    assert.ok([...tensors.values()].every((tensor) => tensor.startsWith('BF16 ')));
    const native = await UNet2DModel.fromTorchScript(archive('tiny-grey'), { dtype: 'bfloat16' });
    await native.savePretrained(join(folder, 'native'));
    assert.deepEqual(await tensorsOf(join(folder, 'native', WEIGHTS)), tensors);
    assert.equal((await TorchScriptModel.load(join(folder, 'unet.pt'))).dtype, 'bfloat16');
  });

  it('writes no diffusers weights for an archive that the exporter did not make', async () => {
    const model = await TorchScriptModel.load(archive('lookup'));
    await model.saveWeights(join(folder, 'weights', 'lookup.safetensors'));
    assert.equal((await tensorsOf(join(folder, 'weights', 'lookup.safetensors'))).size, 1);
    await rejects(() => model.saveWeights(folder), 'ERR_ARGUMENT', /can't be written/);
    assert.deepEqual(await readdir(folder), ['weights']);
  });
});
