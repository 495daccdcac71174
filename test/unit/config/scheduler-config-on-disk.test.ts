import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { readJsonFile } from '../../../ts/config/json-file';
import { parseSchedulerConfig, toDiskConfig, type SchedulerKind } from '../../../ts/config/scheduler-config';
import { construct, KINDS, load, refuses } from './scheduler-configs';

/** Files that diffusers wrote, and what it wrote after another class had read them. */
const RECORDED = join(__dirname, '../../fixtures/parity/configs');

describe('config/scheduler-config: toDiskConfig', () => {
  it("writes diffusers' keys in order, without the key Python doesn't know", () => {
    const { config, extra } = load({ variance_type: 'learned', zeta: 1 });
    const onDisk = toDiskConfig('DDIMScheduler', config, extra);
    const keys = Object.keys(onDisk);
    assert.deepEqual(keys, [...keys].sort());
    assert.equal(onDisk['_class_name'], 'DDIMScheduler');
    assert.equal(onDisk['_diffusers_version'], '0.40.0');
    assert.equal(onDisk['variance_type'], 'learned');
    assert.equal(onDisk['zeta'], 1);
    assert.ok(!keys.includes('previous_timestep_rule'));
    const scheduled = construct({ previousTimestepRule: 'schedule' });
    assert.equal(toDiskConfig('DDIMScheduler', scheduled.config, {})['previous_timestep_rule'], 'schedule');
  });

  it("spells another class's key Python's way when it came in camelCase", () => {
    const ddpm = construct({ varianceType: 'fixed_large' }, 'DDPMScheduler');
    const { config, extra } = load(ddpm.config);
    assert.equal(toDiskConfig('DDIMScheduler', config, extra)['variance_type'], 'fixed_large');
    const back = load(construct({}, 'DDIMScheduler').config, 'DDPMScheduler');
    assert.ok(!('previous_timestep_rule' in toDiskConfig('DDPMScheduler', back.config, back.extra)));
  });

  // diffusers takes linspace into its DDIMInverseScheduler and fails later, at set_timesteps; here it throws at once.
  const unlike = 'ddim-odd-as-DDIMInverseScheduler';
  it('refuses the spacing of a file that diffusers takes and then fails on', async () => {
    const written = await readJsonFile(join(RECORDED, 'ddim-odd/scheduler_config.json'));
    refuses(() => load(written, 'DDIMInverseScheduler'), /^timestep_spacing must be one of .*got "linspace"$/);
    const kept = await readJsonFile(join(RECORDED, unlike, 'scheduler_config.json'));
    assert.equal(kept['timestep_spacing'], 'linspace');
  });

  for (const folder of readdirSync(RECORDED).filter((name) => name !== 'configs.json' && name !== unlike)) {
    const [source, kind] = folder.split('-as-') as [string, SchedulerKind?];
    it(`saves ${source} as diffusers saves it${kind === undefined ? '' : ` after ${kind}.from_pretrained`}`, async () => {
      const written = await readJsonFile(join(RECORDED, source, 'scheduler_config.json'));
      const wanted = await readJsonFile(join(RECORDED, folder, 'scheduler_config.json'));
      const target = kind ?? (written['_class_name'] as SchedulerKind);
      const { config, extra } = parseSchedulerConfig(target, written, 'file');
      assert.equal(JSON.stringify(toDiskConfig(target, config, extra)), JSON.stringify(wanted));
    });
  }

  for (const kind of KINDS) {
    it(`reads back what it writes for ${kind}`, () => {
      const { config, extra } = parseSchedulerConfig(kind, { beta_end: 0.5, other: [1] }, 'file');
      const again = parseSchedulerConfig(kind, JSON.parse(JSON.stringify(toDiskConfig(kind, config, extra))), 'file');
      assert.deepEqual(again, { config, extra });
    });
  }
});
