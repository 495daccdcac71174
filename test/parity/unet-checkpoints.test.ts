import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randn, UNet2DModel } from '../../ts/index';
import { FIXTURES, numbersOf } from './fixture';
import { caseNamed, TOLERANCE, withUNet } from './unet-checks';
import {
  CheckpointFolders,
  drawInputs,
  drawWeights,
  runForward,
  SAVED_BY_NODE,
  type SavedByNodeManifest,
  type Weights,
} from './unet-recordings';

describe('parity/unet: checkpoints', function () {
  this.timeout(60_000);
  const folders = new CheckpointFolders();
  after(() => folders.remove());

  const OLD_NAMES = { to_q: 'query', to_k: 'key', to_v: 'value', 'to_out.0': 'proj_attn' };
  const oldName = (name: string): string =>
    name.replace(/(attentions\.\d+)\.(to_[qkv]|to_out\.0)\./, (_all, at: string, part: keyof typeof OLD_NAMES) =>
      `${at}.${OLD_NAMES[part]}.`,
    ); // prettier-ignore

  it("the old attention names load the same: bit for bit the new ones' output", async () => {
    const recorded = caseNamed('blocks attention');
    const weights: Weights = new Map([...drawWeights(recorded)].map(([name, value]) => [oldName(name), value]));
    const renamed = [...weights.keys()].filter((name) => name.includes('.proj_attn.'));
    assert.equal(renamed.length, 2 * 7); // weight and bias of 2 + 1 + 4 attentions
    const run = (folder: string): Promise<number[]> =>
      withUNet(folder, 'float32', async (unet) =>
        numbersOf(await runForward(unet, drawInputs(recorded, recorded.forwards[0]!))),
      );
    assert.deepEqual(await run(folders.write(recorded, weights)), await run(folders.of(recorded)));
  });

  it('savePretrained writes the weights to the bit, and a config that says the same', async () => {
    for (const name of ['ddpm-cifar10-32 shrunk', 'ncsnpp shrunk', 'class timestep, learned']) {
      const recorded = caseNamed(name);
      const [from, to] = [folders.of(recorded), folders.empty()];
      await withUNet(from, 'float32', (unet) => unet.savePretrained(to));
      const config = JSON.parse(readFileSync(join(to, 'config.json'), 'utf8')) as Record<string, unknown>;
      for (const [key, value] of Object.entries(recorded.config)) {
        if (!key.startsWith('_')) assert.deepEqual(config[key], value, `${name}: ${key}`);
      }
      assert.equal(config['_class_name'], 'UNet2DModel');
      assert.deepEqual(readTensors(to), readTensors(from));
    }
  });

  it('savePretrained still writes the very files that real diffusers loaded and ran', async () => {
    const file = join(FIXTURES, 'saved-by-node.json');
    const { folders: checked } = JSON.parse(readFileSync(file, 'utf8')) as SavedByNodeManifest;
    assert.deepEqual(
      checked.map(({ name, dtype }) => `${name} ${dtype}`).sort(),
      SAVED_BY_NODE.map(({ name, dtype }) => `${name} ${dtype}`).sort(),
    );
    for (const { name, dtype, config, weights_sha256, relative_error } of checked) {
      const to = folders.empty();
      await withUNet(folders.of(caseNamed(name)), dtype, (unet) => unet.savePretrained(to));
      const weights = readFileSync(join(to, 'diffusion_pytorch_model.safetensors'));
      assert.equal(createHash('sha256').update(weights).digest('hex'), weights_sha256, name);
      assert.deepEqual(JSON.parse(readFileSync(join(to, 'config.json'), 'utf8')), config, name);
      assert.ok(relative_error <= TOLERANCE[dtype], `${name}: Python's relative error was ${relative_error}`);
    }
  });

  it('every missing, unexpected and misshapen tensor is listed in one error', async () => {
    const recorded = caseNamed('blocks plain and attention');
    const weights = drawWeights(recorded);
    weights.delete('conv_in.bias');
    weights.delete('mid_block.resnets.0.norm1.weight');
    weights.set('conv_out.bias', randn([4]));
    weights.set('surplus', randn([1]));
    const parts = ['conv_in.bias', 'mid_block.resnets.0.norm1.weight', 'conv_out.bias', 'surplus'];
    const folder = folders.write(recorded, weights);
    await assert.rejects(UNet2DModel.fromPretrained(folder), (error: Error & { code: string }) => {
      assert.equal(error.code, 'ERR_CHECKPOINT');
      for (const part of parts) assert.ok(error.message.includes(part), `${part} in ${error.message}`);
      return true;
    });
  });
});

/** A safetensors file's tensors by name: dtype, shape and bytes. */
function readTensors(folder: string): Map<string, [string, number[], string]> {
  const file = readFileSync(join(folder, 'diffusion_pytorch_model.safetensors'));
  const length = Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__');
  return new Map(
    entries
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
        const bytes = file.subarray(8 + length + from, 8 + length + to).toString('base64');
        return [name, [dtype, shape, bytes]];
      }),
  );
}
