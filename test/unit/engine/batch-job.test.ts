import assert from 'node:assert/strict';
import { seedOfId } from '../../../ts/engine/batch-ids';
import { idOf, readJob, type BatchDefaults } from '../../../ts/engine/batch-job';
import { throwsCode } from '../schedulers/helpers';

const read = (value: unknown, defaults: BatchDefaults = { scheduler: 'ddim' }) => readJob(value, defaults, seedOfId);

describe('engine/batch-job', () => {
  it('reads the line of the documents', () => {
    const line = '{ "id": "r1", "seed": 1, "numInferenceSteps": 20, "scheduler": "ddim", "eta": 0, "classLabel": null }';
    assert.deepEqual(read(JSON.parse(line)), {
      id: 'r1',
      seed: 1n,
      priority: 0,
      options: { scheduler: 'ddim', numInferenceSteps: 20, eta: 0, rng: 'torch' },
    });
  });

  it('fills in what is left out or null', () => {
    const options = (value: object, defaults?: BatchDefaults) => read({ id: 'a', ...value }, defaults).options;
    assert.deepEqual(options({}), { scheduler: 'ddim', numInferenceSteps: 50, eta: 0, rng: 'torch' });
    assert.deepEqual(options({ eta: null, seed: null, timesteps: null, scheduler: null }), options({}));
    assert.deepEqual(options({}, { scheduler: 'ddpm' }), { scheduler: 'ddpm', numInferenceSteps: 1000, rng: 'torch' });
    const defaults: BatchDefaults = { scheduler: 'ddim', numInferenceSteps: 7, eta: 0.5 };
    assert.deepEqual(options({}, defaults), { scheduler: 'ddim', numInferenceSteps: 7, eta: 0.5, rng: 'torch' });
    assert.deepEqual(options({ scheduler: 'ddpm' }, defaults), { scheduler: 'ddpm', numInferenceSteps: 7, rng: 'torch' });
    assert.deepEqual(options({ timesteps: [5, 3, 0], eta: 1 }, defaults), { scheduler: 'ddim', timesteps: [5, 3, 0], eta: 1, rng: 'torch' });
    assert.deepEqual(options({ scheduler: 'ddpm', eta: 0, useClippedModelOutput: false }), { scheduler: 'ddpm', numInferenceSteps: 1000, rng: 'torch' });
    const guided = { ...options({ classLabel: 2 }, defaults), guidanceScale: 3 };
    assert.deepEqual(options({ classLabel: 2 }, { ...defaults, guidanceScale: 3 }), guided);
    assert.deepEqual(options({ classLabel: 2, guidanceScale: 3, nullClassLabel: 9 }, defaults), { ...guided, nullClassLabel: 9 });
    assert.deepEqual(options({ classLabel: 2, guidanceScale: 1 }, { ...defaults, guidanceScale: 3 }), options({ classLabel: 2 }, defaults));
    assert.deepEqual(options({ image: 'a/b.png' }), { ...options({}), image: 'a/b.png', strength: 0.8 });
  });

  it('writes equal options alike, whatever the order of the keys', () => {
    const [a, b] = [
      read({ id: 'a', classLabel: 3, eta: 0.5, rng: 'torch', numInferenceSteps: 5 }),
      read({ numInferenceSteps: 5, useClippedModelOutput: false, eta: 0.5, classLabel: 3, id: 'a' }),
    ];
    assert.equal(JSON.stringify(a.options), JSON.stringify(b.options));
  });

  it('takes seeds of 64 bits, and makes one of the id where there is none', () => {
    const seed = (value: unknown) => read({ id: 'a', seed: value }).seed;
    assert.deepEqual([0, 2 ** 53 - 1, '18446744073709551615', 5n].map(seed), [0n, 2n ** 53n - 1n, 2n ** 64n - 1n, 5n]);
    assert.equal(seed(undefined), seed(null));
    assert.equal(read({ id: 'b' }).seed, read({ id: 'b' }).seed);
    assert.notEqual(read({ id: 'b' }).seed, read({ id: 'c' }).seed);
  });

  const wrong: [object | string | null, RegExp][] = [
    [null, /^a job must be an object, got null$/],
    ['text', /^a job must be an object, got "text"$/],
    [[{ id: 'a' }], /^a job must be an object, got \[…\]$/],
    [new Date(), /^a job must be an object, got an object$/],
    [{}, /^id must be 1 … 128 letters, digits, \., _ and -, the first no dot, got undefined$/],
    [{ id: 7 }, /^id must be .*, got 7$/],
    [{ id: 'a', sedd: 1 }, /^unknown option "sedd"; did you mean seed\?$/],
    [{ id: 'a', num_inference_steps: 1 }, /^unknown option "num_inference_steps"; did you mean numInferenceSteps\?$/],
    [JSON.parse('{"id":"a","__proto__":{"seed":1}}'), /^unknown option "__proto__"; it wants id, seed, /],
    [{ id: 'a', constructor: 1 }, /^unknown option "constructor"; /],
    [{ id: 'a', seed: -1 }, /^seed must be an integer in 0 … 2\^64 − 1, above 2\^53 − 1 in quotes, got -1$/],
    [{ id: 'a', seed: 2 ** 53 }, /^seed must be .*, got 9007199254740992$/],
    [{ id: 'a', seed: '18446744073709551616' }, /^seed must be .*, got "18446744073709551616"$/],
    [{ id: 'a', seed: '0x10' }, /^seed must be .*, got "0x10"$/],
    [{ id: 'a', seed: -1n }, /^seed must be .*, got -1n$/],
    [{ id: 'a', scheduler: 'euler' }, /^scheduler must be one of ddim, ddpm, got "euler"$/],
    [{ id: 'a', numInferenceSteps: 0 }, /^numInferenceSteps must be an integer from 1 up, got 0$/],
    [{ id: 'a', numInferenceSteps: 1.5 }, /^numInferenceSteps must be an integer from 1 up, got 1\.5$/],
    [{ id: 'a', numInferenceSteps: '20' }, /^numInferenceSteps must be an integer from 1 up, got "20"$/],
    [{ id: 'a', timesteps: [] }, /^timesteps must be a list of strictly descending integers from 0 up, got \[\]$/],
    [{ id: 'a', timesteps: [1, 1] }, /^timesteps must be .*, got \[1, 1\]$/],
    [{ id: 'a', timesteps: [5, -1] }, /^timesteps must be .*, got \[5, -1\] \(at index 1\)$/],
    [{ id: 'a', timesteps: [5, 1], numInferenceSteps: 2 }, /^numInferenceSteps and timesteps must not both be given$/],
    [JSON.parse('{"id":"a","eta":1e999}'), /^eta must be a number from 0 up, got Infinity$/],
    [{ id: 'a', eta: -0.5 }, /^eta must be a number from 0 up, got -0\.5$/],
    [{ id: 'a', scheduler: 'ddpm', eta: 0.5 }, /^eta goes with the scheduler ddim, got ddpm$/],
    [{ id: 'a', scheduler: 'ddpm', useClippedModelOutput: true }, /^useClippedModelOutput goes with the scheduler ddim, got ddpm$/],
    [{ id: 'a', classLabel: '3' }, /^classLabel must be an integer from 0 up, got "3"$/],
    [{ id: 'a', classLabel: 1, guidanceScale: 0.5 }, /^guidanceScale must be a number from 1 \(none\) up, got 0\.5$/],
    [{ id: 'a', guidanceScale: 2 }, /^guidanceScale 2 wants a classLabel$/],
    [{ id: 'a', classLabel: 1, nullClassLabel: 0 }, /^nullClassLabel goes with a guidanceScale above 1$/],
    [{ id: 'a', classLabel: 1, guidanceScale: 2, nullClassLabel: -1 }, /^nullClassLabel must be an integer from 0 up, got -1$/],
    [{ id: 'a', rng: 'mt19937' }, /^rng must be one of torch, philox, got "mt19937"$/],
    [{ id: 'a', priority: 'high' }, /^priority must be an integer, got "high"$/],
    [{ id: 'a', image: '../x.png' }, /^image must be a path that stays inside the folder of images, got "\.\.\/x\.png"$/],
    [{ id: 'a', image: '/etc/x.png' }, /^image must be a path that stays inside/],
    [{ id: 'a', strength: 0.5 }, /^strength goes with image$/],
    [{ id: 'a', image: 'x.png', strength: 0 }, /^strength must be a number above 0, 1 at most, got 0$/],
  ];
  for (const [value, message] of wrong) {
    it(`refuses ${message.source}`, () => throwsCode(() => read(value), 'ERR_ARGUMENT', message));
  }

  it('knows an id that is a name of a file and no more', () => {
    for (const id of ['r1', '_', '-x', 'a.b', '0', 'A'.repeat(128)]) assert.equal(idOf({ id }), id);
    const bad = ['', '.', '..', '.a', 'a/b', '../a', 'a\\b', 'a\0', 'a\n', 'é', 'a b', 'A'.repeat(129), 7, null, ['a']];
    for (const id of bad) assert.equal(idOf({ id }), null, String(id));
    assert.equal(idOf(Object.create({ id: 'inherited' })), null);
  });
});
