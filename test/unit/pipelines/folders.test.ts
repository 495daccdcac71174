import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, DiffusionPipeline, type UNet2DModel, type UNetLike } from '../../../ts/index';
import { predictionOf, tinyUNet } from '../models/tiny-unet';
import { assertSame, fresh, inFolder, MODEL, rejects, TinyUNet } from './helpers';

type AnyPipeline = DDIMPipeline | DDPMPipeline;
type Json = Record<string, unknown>;

const WEIGHTS = 'diffusion_pytorch_model.safetensors';

const readJson = async (...path: string[]) => JSON.parse(await readFile(join(...path), 'utf8')) as Json;

const draw = async (pipe: AnyPipeline) =>
  (await pipe.run({ timesteps: [999, 500, 0], generator: fresh(1), outputType: 'tensor' })).images;

/** A pipeline's folder around the embedded model's UNet. */
async function makeFolder(folder: string, index: Json | string | null, scheduler: Json | null = {}): Promise<string> {
  await mkdir(join(folder, 'scheduler'), { recursive: true });
  await symlink(join(MODEL, 'unet'), join(folder, 'unet'));
  const text = typeof index === 'string' ? index : JSON.stringify(index);
  if (index !== null) await writeFile(join(folder, 'model_index.json'), text);
  if (scheduler !== null) await writeFile(join(folder, 'scheduler/scheduler_config.json'), JSON.stringify(scheduler));
  return folder;
}

describe('pipelines: fromPretrained', () => {
  let shared: DDPMPipeline;
  let unet: UNetLike;
  before(async () => {
    shared = await DDPMPipeline.fromPretrained(MODEL);
    ({ unet } = shared);
  });
  after(() => shared.dispose());

  it('reads a DDPM checkpoint into either class', async () => {
    assert.ok(shared.scheduler instanceof DDPMScheduler);
    assert.deepEqual([unet.dtype, unet.device, unet.config.sampleSize], ['float32', 'cpu', 32]);
    const ddim = await DDIMPipeline.fromPretrained(MODEL);
    assert.ok(ddim.scheduler instanceof DDIMScheduler);
    const { betaEnd, clipSample, setAlphaToOne } = ddim.scheduler.config;
    assert.deepEqual([betaEnd, clipSample, setAlphaToOne], [0.02, true, true]);
    ddim.dispose();
  });

  it('takes a dtype, and parts instead of the folder’s', async () => {
    const half = await DDIMPipeline.fromPretrained(MODEL, { dtype: 'bfloat16', device: 'cpu' });
    assert.equal(half.unet.dtype, 'bfloat16');
    half.dispose();
    const scheduler = new DDIMScheduler({ timestepSpacing: 'trailing' });
    const pipe = await DDIMPipeline.fromPretrained(MODEL, { unet, scheduler });
    assert.deepEqual([pipe.unet === unet, pipe.scheduler === scheduler], [true, true]);
    await inFolder(async (folder) => {
      await makeFolder(folder, { _class_name: 'DDIMPipeline' }, null);
      assert.equal((await DDIMPipeline.fromPretrained(folder, { unet, scheduler })).scheduler, scheduler);
      const wrong = (parts: object) => () => DDIMPipeline.fromPretrained(`${folder}/gone`, parts); // before it looks
      await rejects(wrong({ unet: {} }), 'ERR_ARGUMENT', /unet must be a model with config and forward/);
      await rejects(wrong({ scheduler: {} }), 'ERR_ARGUMENT', /scheduler must be a DDPMScheduler or a DDIMScheduler/);
      await rejects(() => DDIMPipeline.fromPretrained(folder, { unet }), 'ERR_NOT_FOUND', /holds no scheduler_config\.json/);
    });
  });

  it('DiffusionPipeline gives the class that model_index.json names', async () => {
    const given = await DiffusionPipeline.fromPretrained(MODEL, { unet });
    assert.ok(given instanceof DDPMPipeline);
    for (const [name, Pipeline, schedulerClass, Scheduler] of [
      ['DDPMPipeline', DDPMPipeline, 'DDPMScheduler', DDPMScheduler],
      ['DDPMPipeline', DDPMPipeline, 'DDIMScheduler', DDIMScheduler],
      ['DDIMPipeline', DDIMPipeline, 'DDIMScheduler', DDIMScheduler],
      ['DDIMPipeline', DDIMPipeline, 'DDPMScheduler', DDIMScheduler],
    ] as const) {
      await inFolder(async (folder) => {
        await makeFolder(folder, { _class_name: name }, { _class_name: schedulerClass, beta_end: 0.03 });
        const pipe = await DiffusionPipeline.fromPretrained(folder, { unet });
        assert.ok(pipe instanceof Pipeline && pipe.scheduler instanceof Scheduler, `${name} with ${schedulerClass}`);
        assert.equal(pipe.scheduler.config.betaEnd, 0.03);
      });
    }
  });

  it('a folder without model_index.json is a DDPM of its parts, in their folders or all in one', async () => {
    await inFolder(async (folder) => {
      await makeFolder(folder, null, { beta_end: 0.01 });
      for (const pipe of [
        await DiffusionPipeline.fromPretrained(folder, { unet }),
        await DDPMPipeline.fromPretrained(folder, { unet }),
      ]) {
        assert.ok(pipe instanceof DDPMPipeline && pipe.scheduler instanceof DDPMScheduler);
        assert.equal(pipe.scheduler.config.betaEnd, 0.01);
      }
      assert.equal((await DDIMPipeline.fromPretrained(folder, { unet })).scheduler.config.betaEnd, 0.01);
    });
    await inFolder(async (folder) => {
      for (const name of [WEIGHTS, 'config.json']) await symlink(join(MODEL, 'unet', name), join(folder, name));
      await cp(join(MODEL, 'scheduler/scheduler_config.json'), join(folder, 'scheduler_config.json'));
      const pipe = await DDPMPipeline.fromPretrained(folder);
      assertSame(await draw(pipe), await draw(shared));
      pipe.dispose();
    });
  });

  it('a subfolder holds the pipeline', async () => {
    await inFolder(async (folder) => {
      await makeFolder(join(folder, 'a/b'), { _class_name: 'DDIMPipeline' });
      const pipe = await DiffusionPipeline.fromPretrained(folder, { subfolder: 'a/b', unet });
      assert.ok(pipe instanceof DDIMPipeline);
      await rejects(() => DDIMPipeline.fromPretrained(folder, { subfolder: 'c' }), 'ERR_NOT_FOUND', /has no folder c/);
      await rejects(() => DDIMPipeline.fromPretrained(folder, { subfolder: '../c' }), 'ERR_ARGUMENT', /subfolder must be/);
    });
  });

  it('a variant of the weights, in a subfolder', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'a/b');
      await mkdir(join(path, 'scheduler'), { recursive: true });
      await writeFile(join(path, 'scheduler/scheduler_config.json'), '{}');
      const config = { inChannels: 1, outChannels: 1 };
      const [plain, averaged] = [tinyUNet(config), tinyUNet(config, 1)];
      await averaged.savePretrained(join(path, 'unet'));
      await rename(join(path, 'unet', WEIGHTS), join(path, 'unet', WEIGHTS.replace('.', '.ema.')));
      await plain.savePretrained(join(path, 'unet'));
      for (const [expected, variant] of [[plain, {}], [averaged, { variant: 'ema' }]] as const) {
        const pipe = await DDIMPipeline.fromPretrained(folder, { subfolder: 'a/b', ...variant });
        assert.deepEqual(await predictionOf(pipe.unet as UNet2DModel), await predictionOf(expected));
      }
      await rejects(() => DDIMPipeline.fromPretrained(path, { variant: 'fp16' }), 'ERR_NOT_FOUND', /no variant "fp16"/);
    });
  });

  const loaders = { DDIMPipeline, DDPMPipeline, DiffusionPipeline };
  for (const [name, loader] of Object.entries(loaders)) {
    it(`${name} says what is wrong with a folder`, async () => {
      const load = (folder: string) => loader.fromPretrained(folder);
      await inFolder(async (folder) => {
        const gone = join(folder, 'gone');
        await rejects(() => load(gone), 'ERR_NOT_FOUND', /gone is neither a folder .* nor the name of a hub repository/);
        await rejects(() => load(''), 'ERR_ARGUMENT', /a model must be named by a folder or a hub repository, got ""/);
        await rejects(() => load(7 as never), 'ERR_ARGUMENT', /got 7/);
        await rejects(() => load(folder), 'ERR_NOT_FOUND', /holds no scheduler_config\.json/);
        const file = join(folder, 'file');
        await writeFile(file, '');
        await rejects(() => load(file), 'ERR_ARGUMENT', /file must be a folder or a hub repository, got a file/);
      });
      const broken: [Json | string | null, Json | null, string, RegExp][] = [
        ['{ "_class_name":', {}, 'ERR_CHECKPOINT', /model_index\.json is not valid JSON/],
        ['[]', {}, 'ERR_CHECKPOINT', /model_index\.json must hold a JSON object/],
        [{ _class_name: 'DDPMPipeline' }, { beta_schedule: 'cosine' }, 'ERR_CONFIG', /beta_schedule/],
        [{ _class_name: 'DDPMPipeline' }, null, 'ERR_NOT_FOUND', /holds no scheduler_config\.json/],
      ];
      for (const [index, scheduler, code, message] of broken) {
        await inFolder(async (folder) => {
          await makeFolder(folder, index, scheduler);
          await rejects(() => load(folder), code, message);
        });
      }
      await inFolder(async (folder) => {
        await mkdir(join(folder, 'unet'));
        await writeFile(join(folder, 'scheduler_config.json'), '{}');
        await rejects(() => load(folder), 'ERR_NOT_FOUND', /unet has none of .*diffusion_pytorch_model\.safetensors,/);
      });
    });

    it(`${name} takes the scheduler's class from model_index.json, else from its config`, async () => {
      const load = async (index: Json | null, scheduler: Json) => {
        let read: unknown;
        await inFolder(async (folder) => {
          read = (await loader.fromPretrained(await makeFolder(folder, index, scheduler), { unet })).scheduler;
        });
        return read;
      };
      const named = (scheduler: string) => ({ _class_name: 'DDPMPipeline', scheduler: ['diffusers', scheduler] });
      const other = name === 'DDIMPipeline' ? DDIMScheduler : DDPMScheduler;
      assert.ok((await load(named('DDIMScheduler'), { _class_name: 'DDPMScheduler' })) instanceof DDIMScheduler);
      assert.ok((await load(named('DDIMScheduler'), {})) instanceof DDIMScheduler);
      assert.ok((await load(named('DDPMScheduler'), { _class_name: 'DDIMScheduler' })) instanceof other);
      assert.ok((await load({ _class_name: 'DDPMPipeline' }, { _class_name: 'DDIMScheduler' })) instanceof DDIMScheduler);
      assert.ok((await load(null, {})) instanceof other);
      for (const [index, config] of [[named('PNDMScheduler'), {}], [null, { _class_name: 'PNDMScheduler' }]] as const) {
        if (name === 'DDIMPipeline') {
          const read = await load(index, { ...config, beta_end: 0.01 });
          assert.ok(read instanceof DDIMScheduler && read.config.betaEnd === 0.01);
        } else {
          await rejects(() => load(index, config), 'ERR_CHECKPOINT', /has a scheduler of class "PNDMScheduler"; there are DDPMScheduler/);
        }
      }
    });

    it(`${name} of a folder with another pipeline's name`, async () => {
      for (const index of [{ _class_name: 'MyPipeline' }, {}, { _class_name: ['DDIMPipeline'] }]) {
        await inFolder(async (folder) => {
          const load = async () => loader.fromPretrained(await makeFolder(folder, index), { unet });
          if (name !== 'DiffusionPipeline') assert.equal((await load()).unet, unet);
          else await rejects(load, 'ERR_CHECKPOINT', /model_index\.json: _class_name must be one of DDPMPipeline, DDIMPipeline, got (?:"MyPipeline"|undefined|\[)/);
        });
      }
    });

    it(`${name} refuses unknown options and parts that are none`, async () => {
      const load = (options: unknown) => loader.fromPretrained(MODEL, options as never);
      await rejects(() => load({ dtpye: 'float16' }), 'ERR_ARGUMENT', /fromPretrained: unknown option "dtpye"; did you mean dtype/);
      await rejects(() => load({ torch_dtype: 'float16' }), 'ERR_ARGUMENT', /unknown option "torch_dtype"/);
      await rejects(() => load('float16'), 'ERR_ARGUMENT', /fromPretrained: options must be an object, got "float16"/);
      await rejects(() => load({ unet: 'unet.pt' }), 'ERR_ARGUMENT', /unet must be a model .* got "unet\.pt"/);
      await rejects(() => load({ scheduler: 'ddim' }), 'ERR_ARGUMENT', /scheduler must be .* got "ddim"/);
      await rejects(() => load({ dtype: 'half' }), 'ERR_DTYPE', /half/);
      await rejects(() => load({ device: 'cuda:77' }), 'ERR_DEVICE', /cuda:77/);
      await rejects(() => load({ signal: AbortSignal.abort('why') }), 'ERR_ABORTED', /aborted/);
    });
  }
});

describe('pipelines: savePretrained', () => {
  it('writes a folder in diffusers’ format that gives the same pixels', async () => {
    const ddpm = await DDPMPipeline.fromPretrained(MODEL);
    const ddim = new DDIMPipeline({ unet: ddpm.unet, scheduler: new DDIMScheduler({ timestepSpacing: 'trailing' }) });
    const mixed = new DDPMPipeline({ unet: ddpm.unet, scheduler: new DDIMScheduler({ clipSampleRange: 1.5 }) });
    for (const pipe of [ddpm, ddim, mixed]) {
      await inFolder(async (root) => {
        const folder = join(root, 'new/pipeline');
        assert.equal(await pipe.savePretrained(folder), undefined);
        assert.deepEqual((await readdir(folder)).sort(), ['model_index.json', 'scheduler', 'unet']);
        const { _class_name, scheduler, unet, _diffusers_version, ...rest } = await readJson(folder, 'model_index.json');
        const schedulerClass = pipe.scheduler instanceof DDIMScheduler ? 'DDIMScheduler' : 'DDPMScheduler';
        assert.equal(_class_name, pipe instanceof DDIMPipeline ? 'DDIMPipeline' : 'DDPMPipeline');
        assert.deepEqual([scheduler, unet, rest], [['diffusers', schedulerClass], ['diffusers', 'UNet2DModel'], {}]);
        assert.match(String(_diffusers_version), /^\d+\.\d+\.\d+$/);
        const onDisk = await readJson(folder, 'scheduler/scheduler_config.json');
        assert.deepEqual([onDisk['_class_name'], onDisk['num_train_timesteps']], [schedulerClass, 1000]);
        assert.equal((await readJson(folder, 'unet/config.json'))['_class_name'], 'UNet2DModel');

        const again = await DiffusionPipeline.fromPretrained(folder);
        assert.equal(again.constructor, pipe.constructor);
        assert.deepEqual(again.scheduler.config, pipe.scheduler.config);
        assertSame(await draw(again), await draw(pipe));
        await again.savePretrained(folder);
        assertSame(await draw(await DiffusionPipeline.fromPretrained(folder)), await draw(pipe), 'saved over itself');
        again.dispose();
      });
    }
    ddpm.dispose();
  });

  it('leaves timesteps of the scheduler alone and writes under the class’s own name, also of a subclass', async () => {
    class Mine extends DDIMPipeline {}
    const scheduler = new DDIMScheduler({ previousTimestepRule: 'schedule' });
    scheduler.setTimesteps(7);
    await inFolder(async (folder) => {
      await new Mine({ unet: new TinyUNet(), scheduler }).savePretrained(folder);
      assert.equal((await readJson(folder, 'model_index.json'))['_class_name'], 'DDIMPipeline');
      const onDisk = await readJson(folder, 'scheduler/scheduler_config.json');
      assert.equal(onDisk['previous_timestep_rule'], 'schedule');
      assert.equal(scheduler.timesteps.length, 7);
    });
  });

  it('says where it can’t write', async () => {
    const pipe = new DDIMPipeline({ unet: new TinyUNet(), scheduler: new DDIMScheduler() });
    await rejects(() => pipe.savePretrained(''), 'ERR_ARGUMENT', /folder must be a path, got ""/);
    await rejects(() => pipe.savePretrained(undefined as never), 'ERR_ARGUMENT', /folder must be a path, got undefined/);
    await inFolder(async (folder) => {
      const file = join(folder, 'file');
      await writeFile(file, '');
      await rejects(() => pipe.savePretrained(file), 'ERR_ARGUMENT', /can't write .*file.scheduler.*: a part of its path is a file/);
      await rejects(() => pipe.savePretrained(join(file, 'x')), 'ERR_ARGUMENT', /can't write .*file.x.scheduler.*: a part of its path is a file/);
      const embedded = await DDIMPipeline.fromPretrained(MODEL);
      await rejects(() => embedded.savePretrained(file), 'ERR_ARGUMENT', /can't write .*file/);
      embedded.dispose();
      await rejects(() => embedded.savePretrained(join(folder, 'new')), 'ERR_DISPOSED', /disposed/);
      assert.deepEqual(await readdir(folder), ['file']);
    });
  });
});
