import assert from 'node:assert/strict';
import { parseSchedulerConfig } from '../../../ts/config/scheduler-config';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler } from '../../../ts/index';

describe('schedulers: fromConfig', () => {
  it('reads what Python runs with: null for a flag, no name of a schedule where the betas are there', () => {
    const read = (config: object) => parseSchedulerConfig('DDPMScheduler', config, 'file').config;
    const nulls = { clip_sample: null, thresholding: null, rescale_betas_zero_snr: null, clip_sample_range: null, sample_max_value: null, dynamic_thresholding_ratio: null, variance_type: null };
    assert.deepEqual(read(nulls), read({ clip_sample: false }));
    assert.deepEqual(read({ sample_max_value: null, dynamic_thresholding_ratio: null }), read({})); // thresholding is off where it is left out
    assert.equal(parseSchedulerConfig('DDIMScheduler', { set_alpha_to_one: null }, 'file').config.setAlphaToOne, false);
    assert.deepEqual(read({ num_train_timesteps: 1, trained_betas: [0.5], beta_schedule: 'trained' }).trainedBetas, [0.5]);
    assert.throws(() => read({ clip_sample: true, clip_sample_range: null }), { code: 'ERR_CONFIG', message: /clip_sample_range/ });
    assert.throws(() => read({ thresholding: true, sample_max_value: null }), { code: 'ERR_CONFIG', message: /sample_max_value/ });
    assert.throws(() => read({ beta_schedule: 'trained' }), { code: 'ERR_CONFIG', message: /beta_schedule/ });
    assert.throws(() => read({ num_train_timesteps: null }), { code: 'ERR_CONFIG', message: /num_train_timesteps/ });
    assert.throws(() => parseSchedulerConfig('DDPMScheduler', { clipSample: null }, 'constructor'), { code: 'ERR_CONFIG' });
  });

  it('takes keys in place of the file’s', () => {
    const file = { _class_name: 'PNDMScheduler', timestep_spacing: 'leading', beta_end: 0.01, skip_prk_steps: true };
    const scheduler = DDIMScheduler.fromConfig(file, { timestepSpacing: 'trailing', clipSample: false });
    const { timestepSpacing, clipSample, betaEnd } = scheduler.config;
    assert.deepEqual([timestepSpacing, clipSample, betaEnd], ['trailing', false, 0.01]);
    assert.equal((scheduler.config as unknown as Record<string, unknown>)['skip_prk_steps'], true);
    assert.equal(DDPMScheduler.fromConfig(scheduler.config, { varianceType: 'fixed_large' }).config.varianceType, 'fixed_large');
    assert.equal(DDIMInverseScheduler.fromConfig(scheduler.config, { stepsOffset: 1 }).config.stepsOffset, 1);
    const betas = { numTrainTimesteps: 1, trainedBetas: [0.5] };
    assert.deepEqual(DDPMScheduler.fromConfig({ beta_schedule: 'trained' }, betas).config.trainedBetas, [0.5]);
    assert.equal(DDIMScheduler.fromConfig(file, { betaEnd: undefined } as never).config.betaEnd, 0.01);
    // Whether the file's null is one of diffusers' is told by what holds then.
    const unbounded = (clip_sample: boolean) => ({ clip_sample, clip_sample_range: null });
    assert.equal(DDIMScheduler.fromConfig(unbounded(true), { clipSample: false }).config.clipSampleRange, 1);
    assert.throws(() => DDIMScheduler.fromConfig(unbounded(false), { clipSample: true }), { code: 'ERR_CONFIG', message: /clip_sample_range/ });
    const wrong = (overrides: unknown) => () => DDIMScheduler.fromConfig(file, overrides as never);
    assert.throws(wrong({ timestep_spacing: 'trailing' }), { code: 'ERR_CONFIG', message: /unknown key "timestep_spacing".*did you mean timestepSpacing\?/ });
    assert.throws(wrong({ timestepSpacing: 'x' }), { code: 'ERR_CONFIG', message: /timestepSpacing must be one of/ });
    assert.throws(wrong('trailing'), { code: 'ERR_CONFIG', message: /overrides the config of DDIMScheduler must be a plain object, got "trailing"/ });
  });
});
