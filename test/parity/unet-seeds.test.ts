import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Generator, UNet2DModel } from '../../ts/index';

interface Manifest {
  cases: { seed: number; config: Record<string, unknown>; sha256: string }[];
}
const { cases } = JSON.parse(
  readFileSync(join(__dirname, '../fixtures/parity/unet-seeds.json'), 'utf8'),
) as Manifest;

/** The sha256 of a safetensors file's data, by the tensors' names. */
function digestOf(file: Buffer): string {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start).toString()) as Record<string, { data_offsets: [number, number] }>;
  const hash = createHash('sha256');
  for (const name of Object.keys(header).filter((key) => key !== '__metadata__').sort()) {
    const [from, to] = header[name]!.data_offsets;
    hash.update(file.subarray(start + from, start + to));
  }
  return hash.digest('hex');
}

describe('UNet2DModel.fromConfig', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'unet-seeds-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  for (const { seed, config, sha256 } of cases) {
    it(`draws Python's weights for a seed: ${(config['down_block_types'] as string[]).join(', ')}`, async () => {
      const unet = UNet2DModel.fromConfig(config, { generator: new Generator({ seed }) });
      await unet.savePretrained(folder);
      unet.dispose();
      assert.equal(digestOf(await readFile(join(folder, 'diffusion_pytorch_model.safetensors'))), sha256);
    });
  }
});
