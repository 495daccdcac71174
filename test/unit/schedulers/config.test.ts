import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler } from '../../../ts/index';
import { FIXTURES } from '../../parity/fixture';
import { rejectsCode, throwsCode } from './helpers';

const CLASSES = { DDPMScheduler, DDIMScheduler, DDIMInverseScheduler };
type Name = keyof typeof CLASSES;
const CONFIGS = join(FIXTURES, 'configs');
const { folders } = JSON.parse(readFileSync(join(CONFIGS, 'configs.json'), 'utf8')) as { folders: string[] };
const read = (folder: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(folder, 'scheduler_config.json'), 'utf8')) as Record<string, unknown>;

describe('schedulers: config', () => {
  let scratch: string;
  before(() => void (scratch = mkdtempSync(join(tmpdir(), 'scheduler-config-'))));
  after(() => rmSync(scratch, { recursive: true, force: true }));

  it("has diffusers' default values, key for key", () => {
    for (const [folder, name] of [
      ['ddpm-default', 'DDPMScheduler'],
      ['ddim-default', 'DDIMScheduler'],
      ['ddim-inverse-default', 'DDIMInverseScheduler'],
    ] as const) {
      const want = read(join(CONFIGS, folder));
      const got = new CLASSES[name]().config as unknown as Record<string, unknown>;
      for (const [key, value] of Object.entries(want)) {
        if (key.startsWith('_')) continue;
        const camel = key.replace(/_(.)/g, (_, c: string) => c.toUpperCase());
        assert.deepEqual(got[camel], value, `${name}.${camel}`);
      }
      const extra = Object.keys(got).filter((key) => !(key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`) in want));
      assert.deepEqual(extra, name === 'DDIMScheduler' ? ['previousTimestepRule'] : []);
    }
  });

  for (const folder of folders.filter((f) => !f.includes('-as-'))) {
    it(`${folder}: what Python saved loads, and is saved with the same keys and values`, async () => {
      const want = read(join(CONFIGS, folder));
      const Class = CLASSES[want['_class_name'] as Name];
      const scheduler = await Class.fromPretrained(join(CONFIGS, folder));
      assert.ok(scheduler instanceof Class);
      const target = join(scratch, folder);
      await scheduler.savePretrained(target);
      assert.deepEqual(read(target), want);
      const again = await Class.fromPretrained(target);
      assert.deepEqual(again.config, scheduler.config);
      assert.deepEqual(again.alphasCumprod, scheduler.alphasCumprod);
    });
  }

  for (const folder of folders.filter((f) => f.includes('-as-'))) {
    const [source, name] = folder.split('-as-') as [string, Name];
    it(`${name} from ${source} is saved as Python saves it`, async () => {
      const Class = CLASSES[name];
      if (name === 'DDIMInverseScheduler' && source === 'ddim-odd') {
        // diffusers fails at set_timesteps: DDIMInverse has no linspace.
        await rejectsCode(
          () => Class.fromPretrained(join(CONFIGS, source)),
          'ERR_CONFIG',
          /timestep_spacing.*linspace/,
        );
        return;
      }
      const scheduler = await Class.fromPretrained(join(CONFIGS, source));
      const target = join(scratch, folder);
      await scheduler.savePretrained(target);
      assert.deepEqual(read(target), read(join(CONFIGS, folder)));
    });
  }

  it('fromConfig takes either spelling, and another scheduler itself as JSON', () => {
    const snake = DDIMScheduler.fromConfig({ beta_schedule: 'scaled_linear', clip_sample: false });
    const camel = DDIMScheduler.fromConfig({ betaSchedule: 'scaled_linear', clipSample: false });
    assert.deepEqual(snake.config, camel.config);
    assert.deepEqual(snake.config, new DDIMScheduler({ betaSchedule: 'scaled_linear', clipSample: false }).config);
    const ddpm = new DDPMScheduler({ betaEnd: 0.03, varianceType: 'fixed_large', predictionType: 'v_prediction' });
    const ddim = DDIMScheduler.fromConfig(ddpm.config);
    assert.equal(ddim.config.betaEnd, 0.03);
    assert.equal(ddim.config.predictionType, 'v_prediction');
    const back = DDPMScheduler.fromConfig(DDIMScheduler.fromConfig(JSON.parse(JSON.stringify(ddpm.config))).config);
    assert.equal(back.config.betaEnd, 0.03);
    const inverse = DDIMInverseScheduler.fromConfig(ddim.config);
    assert.equal(inverse.config.predictionType, 'v_prediction');
  });

  it('both spellings of a key must agree', () => {
    throwsCode(
      () => DDIMScheduler.fromConfig({ beta_start: 0.1, betaStart: 0.2 }),
      'ERR_CONFIG',
      /betaStart.*beta_start|beta_start.*betaStart/,
    );
    assert.equal(DDIMScheduler.fromConfig({ beta_start: 0.001, betaStart: 0.001 }).config.betaStart, 0.001);
  });

  it('unknown keys throw in a constructor, and are kept and ignored from a file', async () => {
    for (const Class of Object.values(CLASSES)) {
      throwsCode(() => new Class({ betaStrt: 1 } as never), 'ERR_CONFIG', /betaStrt.*betaStart/);
      throwsCode(() => new Class({ beta_start: 0.1 } as never), 'ERR_CONFIG', /beta_start.*betaStart/);
    }
    throwsCode(
      () => new DDPMScheduler({ previousTimestepRule: 'stride' } as never),
      'ERR_CONFIG',
      /previousTimestepRule/,
    );
    throwsCode(() => new DDIMScheduler({ varianceType: 'learned' } as never), 'ERR_CONFIG', /varianceType/);
    const scheduler = DDIMScheduler.fromConfig({ beta_end: 0.03, interpolation: 'odd', skip_prk_steps: true });
    // As in Python, the config shows what it keeps.
    assert.equal((scheduler.config as unknown as Record<string, unknown>)['interpolation'], 'odd');
    const target = join(scratch, 'kept');
    await scheduler.savePretrained(target);
    const saved = read(target);
    assert.equal(saved['interpolation'], 'odd');
    assert.equal(saved['skip_prk_steps'], true);
    assert.equal(saved['_class_name'], 'DDIMScheduler');
  });

  it('the config can not be changed, nor through the object it came from', () => {
    const given = { numTrainTimesteps: 2, trainedBetas: [0.1, 0.2] };
    const scheduler = new DDIMScheduler(given);
    given.trainedBetas[0] = 0.5;
    assert.deepEqual(scheduler.config.trainedBetas, [0.1, 0.2]);
    assert.throws(() => {
      (scheduler.config as { betaStart: number }).betaStart = 0.5;
    }, TypeError);
  });

  it('previousTimestepRule and quadratic survive a round trip', async () => {
    const target = join(scratch, 'own');
    await new DDIMScheduler({ previousTimestepRule: 'schedule', timestepSpacing: 'quadratic' }).savePretrained(target);
    const { config } = await DDIMScheduler.fromPretrained(target);
    assert.equal(config.previousTimestepRule, 'schedule');
    assert.equal(config.timestepSpacing, 'quadratic');
  });

  it('reads a subfolder, and a pipeline folder of the embedded model', async () => {
    const model = join(__dirname, '..', '..', '..', 'models', 'fashion-mnist-ddpm');
    const ddim = await DDIMScheduler.fromPretrained(model, { subfolder: 'scheduler' });
    assert.equal(ddim.length, 1000);
    assert.deepEqual((await DDPMScheduler.fromPretrained(join(model, 'scheduler'))).alphasCumprod, ddim.alphasCumprod);
    for (const [name, Class] of Object.entries(CLASSES)) {
      await new Class({ betaEnd: 0.03 }).savePretrained(join(scratch, 'below', name));
      await new Class({ betaEnd: 0.04 }).savePretrained(join(scratch, 'below', name, 'scheduler')); // not asked for
      const { config } = await Class.fromPretrained(join(scratch, 'below'), { subfolder: name });
      assert.equal(config.betaEnd, 0.03, name);
    }
  });

  it('a folder that is missing, a broken file and wrong arguments reject, never throw', async () => {
    await rejectsCode(() => DDIMScheduler.fromPretrained(join(scratch, 'nowhere')), 'ERR_NOT_FOUND', /nowhere/);
    const broken = join(scratch, 'broken');
    mkdirSync(broken);
    writeFileSync(join(broken, 'scheduler_config.json'), '{"beta_start": ');
    await rejectsCode(() => DDIMScheduler.fromPretrained(broken), 'ERR_CHECKPOINT', /scheduler_config\.json.*JSON/);
    writeFileSync(join(broken, 'scheduler_config.json'), '{"beta_start": "x"}');
    await rejectsCode(() => DDIMScheduler.fromPretrained(broken), 'ERR_CONFIG', /beta_start.*"x"/);
    writeFileSync(join(broken, 'scheduler_config.json'), '[1, 2]');
    await rejectsCode(() => DDIMScheduler.fromPretrained(broken), 'ERR_CHECKPOINT', /object/);
    await rejectsCode(() => DDIMScheduler.fromPretrained(undefined as never), 'ERR_ARGUMENT', /folder/);
    await rejectsCode(
      () => DDIMScheduler.fromPretrained(broken, { subfoldr: 'x' } as never),
      'ERR_ARGUMENT',
      /^fromPretrained: unknown option "subfoldr"; did you mean subfolder\?$/,
    );
    await rejectsCode(() => new DDIMScheduler().savePretrained(7 as never), 'ERR_ARGUMENT', /folder/);
  });
});
