import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseSchedulerConfig } from '../../../ts/config/scheduler-config';
import { SCHEDULER_FIELDS } from '../../../ts/config/scheduler-config-schema';
import { DiffusersError } from '../../../ts/errors';
import { construct, KINDS, load, refuses } from './scheduler-configs';

const COMMON_DEFAULTS = {
  numTrainTimesteps: 1000,
  betaStart: 0.0001,
  betaEnd: 0.02,
  betaSchedule: 'linear',
  trainedBetas: null,
  clipSample: true,
  clipSampleRange: 1,
  predictionType: 'epsilon',
  stepsOffset: 0,
  rescaleBetasZeroSnr: false,
  timestepSpacing: 'leading',
};
const THRESHOLDING_DEFAULTS = { thresholding: false, dynamicThresholdingRatio: 0.995, sampleMaxValue: 1 };

describe('config/scheduler-config', () => {
  it("has diffusers' keys and defaults", () => {
    assert.deepEqual(construct({}, 'DDPMScheduler').config, {
      ...COMMON_DEFAULTS,
      ...THRESHOLDING_DEFAULTS,
      varianceType: 'fixed_small',
    });
    assert.deepEqual(construct({}, 'DDIMScheduler').config, {
      ...COMMON_DEFAULTS,
      ...THRESHOLDING_DEFAULTS,
      setAlphaToOne: true,
      previousTimestepRule: 'stride',
    });
    assert.deepEqual(construct(undefined, 'DDIMInverseScheduler').config, { ...COMMON_DEFAULTS, setAlphaToOne: true });
  });

  it('freezes a copy and leaves the input alone', () => {
    const input = { trainedBetas: [0.1, 0.2], numTrainTimesteps: 2 };
    const { config } = construct(input);
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.trainedBetas));
    assert.ok(!Object.isFrozen(input.trainedBetas));
    input.trainedBetas[0] = 0.9;
    assert.deepEqual(config.trainedBetas, [0.1, 0.2]);
  });

  it('takes undefined as a missing key and typed arrays as betas', () => {
    assert.equal(construct({ betaStart: undefined }).config.betaStart, 0.0001);
    assert.deepEqual(
      construct({ numTrainTimesteps: 2, trainedBetas: Float64Array.of(0.1, 1) }).config.trainedBetas,
      [0.1, 1],
    );
  });

  describe('a constructor', () => {
    it('refuses an unknown key and names the nearest', () => {
      refuses(
        () => construct({ betaStrt: 1 }),
        'unknown key "betaStrt" in the config of DDIMScheduler: did you mean betaStart?',
      );
      refuses(
        () => construct({ beta_start: 1 }),
        'unknown key "beta_start" in the config of DDIMScheduler: did you mean betaStart?',
      );
      refuses(
        () => construct({ varianceType: 'learned' }),
        /^unknown key "varianceType" in the config of DDIMScheduler/,
      );
      refuses(() => construct({ zzzzzzz: 1 }), /^unknown key "zzzzzzz".*it wants numTrainTimesteps, betaStart/);
      refuses(() => construct({ setAlphaToZero: true }), /^unknown key "setAlphaToZero"/);
      refuses(
        () => construct({ previousTimestepRule: 'stride' }, 'DDPMScheduler'),
        /^unknown key "previousTimestepRule"/,
      );
    });

    it('refuses what is no plain object', () => {
      refuses(() => construct(null), 'the config of DDIMScheduler must be a plain object, got null');
      refuses(() => construct([]), 'the config of DDIMScheduler must be a plain object, got []');
      refuses(() => construct(new Map()), 'the config of DDIMScheduler must be a plain object, got an instance of Map');
      refuses(() => construct('x'), 'the config of DDIMScheduler must be a plain object, got "x"');
      refuses(() => load(undefined), 'the config of DDIMScheduler must be a plain object, got undefined');
    });

    const bad: [Record<string, unknown>, string][] = [
      [{ numTrainTimesteps: 0 }, 'numTrainTimesteps must be an integer in 1 … 1000000, got 0'],
      [{ numTrainTimesteps: 1_000_001 }, 'numTrainTimesteps must be an integer in 1 … 1000000, got 1000001'],
      [{ numTrainTimesteps: 1.5 }, 'numTrainTimesteps must be an integer in 1 … 1000000, got 1.5'],
      [{ numTrainTimesteps: '1000' }, 'numTrainTimesteps must be an integer in 1 … 1000000, got "1000"'],
      [{ betaStart: NaN }, 'betaStart must be a number in 0 … 1, got NaN'],
      [{ betaStart: -0.1 }, 'betaStart must be a number in 0 … 1, got -0.1'],
      [{ betaEnd: 1.1 }, 'betaEnd must be a number in 0 … 1, got 1.1'],
      [{ betaEnd: Infinity }, 'betaEnd must be a number in 0 … 1, got Infinity'],
      [{ betaEnd: null }, 'betaEnd must be a number in 0 … 1, got null'],
      [
        { betaSchedule: 'cosine' },
        "betaSchedule must be one of 'linear', 'scaled_linear', 'squaredcos_cap_v2', got \"cosine\"",
      ],
      [{ predictionType: 'eps' }, "predictionType must be one of 'epsilon', 'sample', 'v_prediction', got \"eps\""],
      [
        { timestepSpacing: 'even' },
        "timestepSpacing must be one of 'linspace', 'leading', 'trailing', 'quadratic', got \"even\"",
      ],
      [{ previousTimestepRule: 'next' }, "previousTimestepRule must be one of 'stride', 'schedule', got \"next\""],
      [{ clipSample: 1 }, 'clipSample must be true or false, got 1'],
      [{ clipSampleRange: 0 }, 'clipSampleRange must be a finite number above 0, got 0'],
      [{ clipSampleRange: Infinity }, 'clipSampleRange must be a finite number above 0, got Infinity'],
      [{ sampleMaxValue: -1 }, 'sampleMaxValue must be a finite number above 0, got -1'],
      [{ dynamicThresholdingRatio: 1.01 }, 'dynamicThresholdingRatio must be a number in 0 … 1, got 1.01'],
      [{ stepsOffset: -1 }, 'stepsOffset must be an integer from 0 up, got -1'],
      [{ stepsOffset: 0.5 }, 'stepsOffset must be an integer from 0 up, got 0.5'],
      [{ trainedBetas: [0.1] }, 'trainedBetas must have numTrainTimesteps = 1000 entries, got 1'],
      [
        { numTrainTimesteps: 3, trainedBetas: [0.1, 0, 0.2] },
        'trainedBetas must be null or an array of numTrainTimesteps numbers above 0 and up to 1, got [0.1, 0, 0.2] (at index 1)',
      ],
      [
        { trainedBetas: 'x' },
        'trainedBetas must be null or an array of numTrainTimesteps numbers above 0 and up to 1, got "x"',
      ],
      [
        { rescaleBetasZeroSnr: true, numTrainTimesteps: 1 },
        'rescaleBetasZeroSnr must be false when numTrainTimesteps is 1, got true',
      ],
    ];
    for (const [input, message] of bad) it(`refuses ${message}`, () => refuses(() => construct(input), message));
  });

  describe('a file', () => {
    const ddpmFile = {
      _class_name: 'DDPMScheduler',
      _diffusers_version: '0.21.4',
      beta_start: 0.001,
      beta_schedule: 'squaredcos_cap_v2',
      variance_type: 'fixed_large',
      predict_epsilon: true,
    };

    it('takes either spelling and names the one that was written', () => {
      assert.equal(load({ beta_start: 0.5 }).config.betaStart, 0.5);
      assert.equal(load({ betaStart: 0.5 }).config.betaStart, 0.5);
      assert.equal(load({ betaStart: 0.5, beta_start: 0.5 }).config.betaStart, 0.5);
      refuses(() => load({ betaStart: 0.5, beta_start: 0.4 }), /betaStart and beta_start are two spellings/);
      refuses(() => load({ beta_start: 'x' }), 'beta_start must be a number in 0 … 1, got "x"');
      refuses(
        () => load({ num_train_timesteps: 2, trained_betas: [0.1] }),
        /^trained_betas must have num_train_timesteps = 2/,
      );
    });

    it("reads another class's file and keeps what it doesn't know", () => {
      const { config, extra } = load(ddpmFile);
      assert.equal(config.betaSchedule, 'squaredcos_cap_v2');
      assert.deepEqual(extra, { variance_type: 'fixed_large', predict_epsilon: true });
      assert.ok(Object.isFrozen(extra));
      assert.equal(parseSchedulerConfig('DDPMScheduler', ddpmFile, 'file').config.varianceType, 'fixed_large');
    });

    it("refuses another class's value that this one can't honour", () => {
      refuses(() => load({ beta_schedule: 'sigmoid' }), /^beta_schedule must be one of .*got "sigmoid"$/);
      refuses(
        () => load({ timestep_spacing: 'linspace' }, 'DDIMInverseScheduler'),
        /^timestep_spacing must be one of 'leading', 'trailing'/,
      );
      refuses(() => load({ timestep_spacing: 'quadratic' }, 'DDPMScheduler'), /^timestep_spacing/);
      for (const betaSchedule of ['sigmoid', 'laplace'] as const) {
        assert.equal(parseSchedulerConfig('DDPMScheduler', { betaSchedule }, 'file').config.betaSchedule, betaSchedule);
      }
    });

    it('freezes copies of what it keeps', () => {
      const nested = { list: [{ a: 1 }] };
      const { extra } = load({ nested });
      nested.list[0]!.a = 2;
      assert.deepEqual(extra, { nested: { list: [{ a: 1 }] } });
      assert.ok(Object.isFrozen((extra['nested'] as typeof nested).list[0]));
    });

    it('is not fooled by keys that reach a prototype', () => {
      const { config, extra } = load(
        JSON.parse('{"__proto__": {"betaStart": 0.9}, "constructor": {"x": 1}, "deep": {"__proto__": {"y": 1}}}'),
      );
      assert.equal(config.betaStart, 0.0001);
      assert.deepEqual(extra, { deep: {} });
      assert.equal(({} as Record<string, unknown>)['y'], undefined);
    });

    it('refuses a cyclic extra', () => {
      const cyclic: Record<string, unknown> = {};
      cyclic['self'] = cyclic;
      refuses(() => load({ cyclic }), 'cyclic must nest at most 64 deep');
    });

    it('leaves keys that a live Python config marks as defaulted to this class', () => {
      const dumped = { _use_default_values: ['timestep_spacing'], timestep_spacing: 'linspace', beta_end: 0.03 };
      const { config, extra } = load(dumped, 'DDIMInverseScheduler');
      assert.equal(config.timestepSpacing, 'leading');
      assert.equal(config.betaEnd, 0.03);
      assert.deepEqual(extra, {});
    });
  });

  it('lets setAlphaToZero override setAlphaToOne on DDIMInverseScheduler, unless null', () => {
    const kind = 'DDIMInverseScheduler';
    assert.equal(parseSchedulerConfig(kind, { setAlphaToZero: false }, 'constructor').config.setAlphaToOne, false);
    const file = parseSchedulerConfig(kind, { set_alpha_to_zero: true, set_alpha_to_one: false }, 'file');
    assert.equal(file.config.setAlphaToOne, true);
    assert.deepEqual(file.extra, {});
    assert.equal(parseSchedulerConfig(kind, { set_alpha_to_zero: null }, 'file').config.setAlphaToOne, true);
    refuses(() => load({ set_alpha_to_zero: 1 }, kind), 'set_alpha_to_zero must be true or false, got 1');
  });

  it('takes or throws a ConfigError, whatever comes', () => {
    const keys = [...new Set(KINDS.flatMap((kind) => Object.keys(SCHEDULER_FIELDS[kind])))];
    const key = fc.oneof(fc.constantFrom(...keys), fc.string());
    const value = fc.oneof(fc.anything(), fc.double(), fc.integer(), fc.constantFrom('linear', 'leading', true, null));
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), fc.dictionary(key, value, { maxKeys: 4 }), (kind, input) => {
        try {
          const { config } = parseSchedulerConfig(kind, input, 'file');
          assert.deepEqual(Object.keys(config).sort(), Object.keys(SCHEDULER_FIELDS[kind]).sort());
          assert.ok(Number.isFinite(config.betaStart) && Number.isFinite(config.clipSampleRange));
        } catch (error) {
          assert.ok(error instanceof DiffusersError, String(error));
          assert.equal(error.code, 'ERR_CONFIG');
        }
      }),
      { numRuns: 500 },
    );
  });
});
