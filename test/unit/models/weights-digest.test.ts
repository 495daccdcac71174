import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TorchScriptModel, UNet2DModel } from '../../../ts/index';
import { digestWeights } from '../../../ts/models/weights-digest';
import { inFolder } from '../pipelines/helpers';
import { archive, MODEL, rejects } from './fixtures';
import { readSafetensors, tinyUNet, writeShards } from './tiny-unet';

const sha256 = async (...files: string[]): Promise<string> => {
  const hash = createHash('sha256');
  for (const file of files) hash.update(await readFile(file));
  return hash.digest('hex');
};

describe('models/weights-digest', () => {
  it('is that of the file a model was read from, which the model names', () =>
    inFolder(async (folder) => {
      const name = 'diffusion_pytorch_model.safetensors';
      const embedded = await UNet2DModel.fromPretrained(MODEL, { dtype: 'bfloat16' });
      assert.equal(embedded.file, join(MODEL, 'unet', name));
      assert.deepEqual(await digestWeights(embedded.file!), { file: name, sha256: await sha256(join(MODEL, 'unet', name)) });
      const script = (await TorchScriptModel.load(archive('tiny-grey'))).asUNet();
      assert.deepEqual(await digestWeights(script.file!), { file: 'tiny-grey.pt', sha256: await sha256(archive('tiny-grey')) });
      assert.equal((await UNet2DModel.fromTorchScript(archive('tiny-grey'))).file, archive('tiny-grey'));
      const made = tinyUNet();
      assert.equal(made.file, null);

      await made.savePretrained(folder);
      await writeShards(join(folder, 'shards'), await readSafetensors(join(folder, name)));
      await writeFile(join(folder, 'shards/config.json'), await readFile(join(folder, 'config.json')));
      const sharded = await UNet2DModel.fromPretrained(join(folder, 'shards'));
      const shards = [1, 2].map((i) => join(folder, `shards/diffusion_pytorch_model-0000${i}-of-00002.safetensors`));
      const digest = { file: `${name}.index.json`, sha256: await sha256(...shards) };
      assert.deepEqual(await digestWeights(sharded.file!), digest);
      // Whatever order the index has them in.
      const { weight_map: map } = JSON.parse(await readFile(sharded.file!, 'utf8')) as { weight_map: Record<string, string> };
      const turned = Object.fromEntries(Object.entries(map).sort(([, a], [, b]) => (a < b ? 1 : -1)));
      await writeFile(sharded.file!, JSON.stringify({ weight_map: turned }));
      assert.deepEqual(await digestWeights(sharded.file!), digest);
    }));

  it('refuses an index that names files elsewhere, and what is not there', () =>
    inFolder(async (folder) => {
      const index = join(folder, 'x.index.json');
      await writeFile(index, JSON.stringify({ weight_map: { a: '../x.safetensors' } }));
      await rejects(() => digestWeights(index), 'ERR_CHECKPOINT', /weight_map must name files beside it, got "\.\.\/x\.safetensors"$/);
      await writeFile(index, '{}');
      await rejects(() => digestWeights(index), 'ERR_CHECKPOINT', /must have a weight_map/);
      await rejects(() => digestWeights(join(folder, 'none.safetensors')), 'ERR_CHECKPOINT', /can't read .*: no such file/);
    }));

  it('ends with its signal', async () => {
    await rejects(() => digestWeights(archive('tiny-grey'), AbortSignal.abort()), 'ERR_ABORTED', /aborted/);
  });
});
