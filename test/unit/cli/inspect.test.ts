import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EMBEDDED_MODEL } from '../../../ts/models/embedded-model';
import { inspect } from '../../../ts/cli/inspect-run';
import { makeZip } from '../build/make-zip';
import { timesOpen } from '../files/open-files';
import { archive } from '../models/fixtures';
import { readSafetensors, tinyUNet, writeShards } from '../models/tiny-unet';

/** A safetensors file of a header and so many bytes of data. */
const safetensors = (header: unknown, dataBytes: number): Buffer => {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
};

const EMBEDDED_PARAMETERS = 1_805_121;

describe('cli/inspect', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'inspect-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('tells what the embedded model holds', async () => {
    const report = await inspect(EMBEDDED_MODEL);
    assert.equal(report.kind, 'pipeline');
    assert.equal(report.className, 'DDPMPipeline');
    assert.equal(report.parameters, EMBEDDED_PARAMETERS);
    assert.deepEqual(
      report.components.map(({ name, className }) => [name, className]),
      [
        ['scheduler', 'DDPMScheduler'],
        ['unet', 'UNet2DModel'],
      ],
    );
    const unet = report.components[1]!;
    assert.equal(unet.config!['sample_size'], 32);
    assert.equal(unet.weights.length, 1, 'one copy of the weights');
    const { format, tensors, parameters, dtypes, bytes } = unet.weights[0]!;
    assert.deepEqual([format, tensors, parameters, dtypes], ['safetensors', 184, EMBEDDED_PARAMETERS, ['float32']]);
    assert.equal(report.bytes, bytes);
  });

  it("reads a component's own folder, a flat pipeline and a config alone", async () => {
    const unet = await inspect(join(EMBEDDED_MODEL, 'unet'));
    assert.deepEqual([unet.kind, unet.className, unet.parameters], ['component', 'UNet2DModel', EMBEDDED_PARAMETERS]);
    await cp(join(EMBEDDED_MODEL, 'unet/config.json'), join(folder, 'config.json'));
    await cp(join(EMBEDDED_MODEL, 'model_index.json'), join(folder, 'model_index.json'));
    const flat = await inspect(folder);
    assert.deepEqual(
      [flat.kind, flat.className, flat.components.length, flat.parameters],
      ['pipeline', 'DDPMPipeline', 1, null],
    );
    const file = await inspect(join(EMBEDDED_MODEL, 'scheduler/scheduler_config.json'));
    assert.deepEqual([file.kind, file.className, file.bytes], ['file', 'DDPMScheduler', 0]);
  });

  it('sums the tensors of a safetensors file, scalars and empty ones too', async () => {
    const file = join(folder, 'w.safetensors');
    await writeFile(
      file,
      safetensors(
        {
          __metadata__: { format: 'pt' },
          b: { dtype: 'F32', shape: [], data_offsets: [12, 16] },
          a: { dtype: 'F16', shape: [2, 3], data_offsets: [0, 12] },
          c: { dtype: 'F32', shape: [0, 5], data_offsets: [16, 16] },
        },
        16,
      ),
    );
    const { parameters, components } = await inspect(file);
    assert.equal(parameters, 7);
    assert.deepEqual(components[0]!.weights[0]!.dtypes, ['float16', 'float32']);
  });

  it('sums shards, and counts a second copy of the weights once', async () => {
    const one = safetensors({ a: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }, 16);
    const shards = ['m-00001-of-00002', 'm-00002-of-00002', 'n'];
    for (const name of shards) await writeFile(join(folder, `${name}.safetensors`), one);
    const { parameters, bytes } = await inspect(folder);
    assert.deepEqual([parameters, bytes], [8, 3 * one.length]);
  });

  it('counts the tensors of a .bin, a .pt, and the shards of an index', async () => {
    const bin = await inspect(archive('tiny-grey').replace('.pt', '-weights.bin'));
    const pt = await inspect(archive('tiny-grey'));
    assert.deepEqual([bin.components[0]!.weights[0]!.format, pt.components[0]!.weights[0]!.format], ['bin', 'torchscript']);
    const facts = ({ components }: typeof bin) => components[0]!.weights.map(({ tensors, parameters, dtypes }) => [tensors, parameters, dtypes]);
    assert.deepEqual(facts(bin), [[64, 10_289, ['float32']]]);
    assert.deepEqual(facts(pt), facts(bin));

    const unet = tinyUNet();
    await unet.savePretrained(folder);
    const whole = await inspect(folder);
    const weights = join(folder, 'diffusion_pytorch_model.safetensors');
    await writeShards(folder, await readSafetensors(weights));
    await rm(weights);
    const index = join(folder, 'diffusion_pytorch_model.safetensors.index.json');
    for (const place of [index, folder]) {
      const shards = await inspect(place);
      assert.equal(shards.components[0]!.weights.length, 2);
      assert.deepEqual([shards.parameters, whole.parameters], [unet.parameterCount, unet.parameterCount]);
    }
    await writeFile(index, JSON.stringify({ weight_map: { a: '../secret.safetensors' } }));
    await assert.rejects(inspect(index), { code: 'ERR_CHECKPOINT', message: /weight_map must name files beside it/ });
    await writeFile(index, JSON.stringify({ weight_map: { a: 'gone.safetensors' } }));
    await assert.rejects(inspect(index), { code: 'ERR_NOT_FOUND', message: /gone\.safetensors does not exist/ });
    await writeFile(join(folder, 'bad.bin'), 'hello');
    await assert.rejects(inspect(join(folder, 'bad.bin')), { code: 'ERR_CHECKPOINT' });
  });

  const tensor = { dtype: 'F32', shape: [4], data_offsets: [0, 16] };
  const damaged: [string, Buffer, RegExp][] = [
    ['no bytes', Buffer.alloc(0), /is truncated: it has 0 bytes$/],
    ['seven bytes', Buffer.alloc(7), /is truncated/],
    [
      'a header longer than the file',
      safetensors({ a: tensor }, 16).subarray(0, 20),
      /is truncated or no safetensors file: a header of/,
    ],
    [
      'a header of 2^63 bytes',
      Buffer.concat([Buffer.alloc(7), Buffer.from([0x80]), Buffer.alloc(8)]),
      /a header of \d{19} bytes in 16$/,
    ],
    ['a header that is no JSON', safetensors('{"a":', 0), /its header is not JSON$/],
    ['a header that is a list', safetensors([], 0), /its header is no JSON object$/],
    ['a tensor that is no object', safetensors({ a: 1 }, 0), /tensor "a" is no object$/],
    [
      'an unknown dtype',
      safetensors({ a: { ...tensor, dtype: 'constructor' } }, 16),
      /has an unknown dtype "constructor"$/,
    ],
    ['a negative side', safetensors({ a: { ...tensor, shape: [-4] } }, 16), /has no proper shape$/],
    [
      'sides beyond numbers',
      safetensors({ a: { ...tensor, shape: [2 ** 52, 2 ** 52] } }, 16),
      /does not fit its data$/,
    ],
    ['offsets past the end', safetensors({ a: tensor }, 12), /does not fit its data$/],
    [
      'offsets of another length',
      safetensors({ a: { ...tensor, data_offsets: [0, 8] } }, 16),
      /does not fit its data$/,
    ],
    ['offsets that are none', safetensors({ a: { ...tensor, data_offsets: '0' } }, 16), /has no proper data_offsets$/],
  ];
  for (const [what, bytes, message] of damaged) {
    it(`refuses a safetensors file with ${what}`, async () => {
      const file = join(folder, 'bad.safetensors');
      await writeFile(file, bytes);
      await assert.rejects(inspect(file), { code: 'ERR_CHECKPOINT', message });
    });
  }

  it('does not wait for the writer of a named pipe', async function () {
    if (process.platform === 'win32') this.skip();
    const pipe = join(folder, 'pipe.safetensors');
    execFileSync('mkfifo', [pipe]);
    const writer = await open(pipe, 'r+'); // so that it would not wait for ever where it does
    await assert.rejects(inspect(pipe), { code: 'ERR_CHECKPOINT', message: /pipe\.safetensors is no file$/ });
    await writer.close();
  });

  it('refuses a .pt that is truncated, no archive, or holds no program', async () => {
    const file = join(folder, 'bad.pt');
    await cp(archive('tiny-unet'), file);
    await truncate(file, 1000);
    await assert.rejects(inspect(file), { code: 'ERR_CHECKPOINT', message: /bad\.pt is no TorchScript archive: / });
    await writeFile(file, 'hello');
    await assert.rejects(inspect(file), { code: 'ERR_CHECKPOINT', message: /is no TorchScript archive: / });
    // The smallest zip there is: no records at all.
    await writeFile(file, Buffer.concat([Buffer.from('PK\x05\x06', 'latin1'), Buffer.alloc(18)]));
    await assert.rejects(inspect(file), {
      code: 'ERR_CHECKPOINT',
      message: /holds no program: it is a torch\.save file/,
    });
  });

  it('reads no record of a .pt that is larger than any config, or is none', async () => {
    const file = join(folder, 'large.pt');
    const records = (config: string) => [{ name: 'm/code/m.py' }, { name: 'm/extra/config.json', data: config }];
    await writeFile(file, makeZip(records('{}'.padEnd(1024 * 1024))));
    assert.equal((await inspect(file)).components[0]!.weights.length, 1);
    for (const [config, message] of [['[1]', /config\.json must hold a JSON object$/], ['{', /config\.json is not valid JSON$/]] as const) {
      await writeFile(file, makeZip(records(config)));
      await assert.rejects(inspect(file), { code: 'ERR_CHECKPOINT', message });
    }
    await writeFile(file, makeZip(records('{}'.padEnd(1024 * 1024 + 1))));
    await assert.rejects(inspect(file), { code: 'ERR_CHECKPOINT', message: /extra\/config\.json must be at most 1 MiB$/ });
  });

  it('holds no file open', async function () {
    if (process.platform !== 'linux') this.skip();
    await tinyUNet().savePretrained(folder);
    const weights = join(folder, 'diffusion_pytorch_model.safetensors');
    for (const file of [weights, archive('tiny-grey'), archive('tiny-grey').replace('.pt', '-weights.bin')]) {
      await inspect(file);
      for (let i = 0; i < 100 && timesOpen(file) > 0; i++) await sleep(10); // yauzl closes its own a little later
      assert.equal(timesOpen(file), 0, file);
    }
    await truncate(weights, 20);
    await assert.rejects(inspect(weights), { code: 'ERR_CHECKPOINT' });
    assert.equal(timesOpen(weights), 0);
  });

  it('says what it reads', async () => {
    await assert.rejects(inspect(join(folder, 'none')), {
      code: 'ERR_NOT_FOUND',
      message: /is neither a file nor a folder$/,
    });
    await assert.rejects(inspect(folder), { code: 'ERR_CHECKPOINT', message: /holds no model: no model_index\.json/ });
    await writeFile(join(folder, 'x.txt'), '');
    await assert.rejects(inspect(join(folder, 'x.txt')), {
      code: 'ERR_ARGUMENT',
      message: /^inspect reads a folder, \.safetensors/,
    });
    await writeFile(join(folder, 'model_index.json'), '{');
    await assert.rejects(inspect(folder), { code: 'ERR_CHECKPOINT', message: /model_index\.json is not valid JSON/ });
  });

  it('does not follow component names out of the folder', async () => {
    await mkdir(join(folder, 'model'));
    await cp(join(EMBEDDED_MODEL, 'unet/config.json'), join(folder, 'config.json'));
    const index = { _class_name: 'P', '..': ['diffusers', 'UNet2DModel'], '../x': ['a', 'b'] };
    await writeFile(join(folder, 'model/model_index.json'), JSON.stringify(index));
    const report = await inspect(join(folder, 'model'));
    assert.deepEqual(report.components, []);
    assert.equal(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'))._class_name, 'UNet2DModel');
  });
});
