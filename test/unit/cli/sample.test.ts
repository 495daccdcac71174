import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, Generator, type UNet2DModel } from '../../../ts/index';
import { GREY, greyUNet } from '../engine/batch-helpers';
import { tinyUNet } from '../models/tiny-unet';
import { runHere } from './run-here';

describe('cli/sample', () => {
  let folder: string;
  let model: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cli-sample-'));
    model = join(folder, 'model');
    await new DDIMPipeline({ unet: greyUNet(), scheduler: new DDIMScheduler({ betaEnd: 0.03 }) }).savePretrained(model);
  });
  after(() => rm(folder, { recursive: true }));

  /** Draws image 0 in three steps and gives its pixels. */
  async function drawn(name: string, ...args: string[]): Promise<number[]> {
    const { status, stderr } = await runHere(['sample', '--model', model, '--count', '1', '--steps', '3', '--out', join(folder, name), ...args]);
    assert.equal(status, 0, stderr);
    return [...(await sharp(join(folder, name, '0.png')).toColourspace('b-w').raw().toBuffer())];
  }
  const seeded = () => ({ numInferenceSteps: 3, generator: new Generator({ seed: 0 }) });
  async function wanted(unet: UNet2DModel): Promise<number[]> {
    const { images } = await new DDIMPipeline({ unet, scheduler: new DDIMScheduler({ betaEnd: 0.03 }) }).run(seeded());
    return [...images[0]!.data];
  }

  it('lays a grid out in as many columns as are asked for', async () => {
    const grid = join(folder, 'grid.png');
    const args = ['sample', '--model', model, '--steps', '1', '--count', '4', '--grid', grid];
    for (const [columns, size] of [[[], [22, 22]], [['--columns', '4'], [42, 12]], [['--columns', '1'], [12, 42]]] as const) {
      assert.equal((await runHere([...args, ...columns])).status, 0);
      const { width, height } = await sharp(grid).metadata();
      assert.deepEqual([width, height], size);
    }
  });

  it('draws with the weights, the dtype and the config that are asked for', async () => {
    const plain = await drawn('plain');
    assert.deepEqual(plain, await wanted(greyUNet()));

    const half = greyUNet();
    await half.to({ dtype: 'bfloat16' });
    const inHalf = await drawn('half', '--dtype', 'bfloat16');
    assert.deepEqual(inHalf, await wanted(half));
    assert.notDeepEqual(inHalf, plain);

    await greyUNet(1).savePretrained(join(model, 'unet'), { variant: 'ema' });
    assert.deepEqual(await drawn('variant', '--variant', 'ema'), await wanted(greyUNet(1)));
  });

  it('turns the scheduler of the folder into the one that is asked for', async () => {
    const pipe = new DDPMPipeline({ unet: greyUNet(), scheduler: new DDPMScheduler({ betaEnd: 0.03 }) });
    const { images } = await pipe.run(seeded());
    assert.deepEqual(await drawn('ddpm', '--scheduler', 'ddpm'), [...images[0]!.data]);
  });

  it('takes the last seed there is, and looks for every image that is there', async () => {
    const out = join(folder, 'last');
    const args = ['sample', '--model', model, '--steps', '1', '--out', out];
    assert.equal((await runHere([...args, '--seed', '18446744073709551615', '--count', '1'])).status, 0);
    const { status, stderr } = await runHere([...args, '--seed', '18446744073709551614', '--count', '2']);
    assert.deepEqual([status, stderr], [1, `node-diffusers: ${join(out, '18446744073709551615.png')} exists already; --overwrite replaces it\n`]);
    assert.deepEqual(await readdir(out), ['18446744073709551615.png']);
  });

  it('asks for the revision of a repository that it was told', async () => {
    const saved = process.env['HF_HUB_OFFLINE'];
    process.env['HF_HUB_OFFLINE'] = '1';
    try {
      const { status, stderr } = await runHere(['sample', '--model', 'someone/no-such-model', '--revision', 'v9', '--grid', join(folder, 'none.png')]);
      assert.equal(status, 1);
      assert.match(stderr, /nor, at revision v9, in the cache/);
    } finally {
      if (saved === undefined) delete process.env['HF_HUB_OFFLINE'];
      else process.env['HF_HUB_OFFLINE'] = saved;
    }
  });

  it('refuses what the model can not do', async () => {
    const few = join(folder, 'few');
    await new DDIMPipeline({ unet: greyUNet(), scheduler: new DDIMScheduler({ numTrainTimesteps: 10 }) }).savePretrained(few);
    const embeddings = join(folder, 'embeddings');
    await cp(join(model, 'scheduler'), join(embeddings, 'scheduler'), { recursive: true });
    await tinyUNet({ ...GREY, classEmbedType: 'identity' }).savePretrained(join(embeddings, 'unet'));
    const file = join(model, 'unet/diffusion_pytorch_model.safetensors');
    assert.equal((await runHere(['sample', '--model', few, '--steps', '10', '--count', '1', '--grid', join(folder, 'ten.png')])).status, 0);
    const failures: [string[], string][] = [
      [['--model', few, '--steps', '11'], '--steps must be an integer in 1 … 10 for this model, got 11'],
      [['--model', few], "--steps must be given: the default 50 is above the model's 10"],
      [['--model', few, '--scheduler', 'ddpm'], "--steps must be given: the default 1000 is above the model's 10"],
      [['--model', embeddings], '--model must not take embeddings for classes: they are for the API to give'],
      [['--model', file, '--variant', 'fp16'], `--variant goes with a folder or repository, got the file ${file}`],
    ];
    for (const [args, message] of failures) {
      const { status, stdout, stderr } = await runHere(['sample', '--grid', join(folder, 'none.png'), ...args]);
      assert.deepEqual([status, stdout, stderr], [2, '', `node-diffusers: ${message}; see --help\n`]);
    }
  });
});
