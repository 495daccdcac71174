import assert from 'node:assert/strict';
import { AbortError, DDIMPipeline, DDIMScheduler, DDPMPipeline, Generator } from '../../../ts/index';
import { assertSame, fresh, isDisposed, MODEL, nextDraws, rejects, TinyUNet } from './helpers';

/** Checks that it is an abort with this reason. */
async function aborts(run: () => Promise<unknown>, reason: unknown): Promise<void> {
  const error = await rejects(run, 'ERR_ABORTED', /aborted/);
  assert.ok(error instanceof AbortError);
  assert.equal(error.name, 'AbortError');
  assert.equal(error.cause, reason);
}

describe('pipelines: signal', () => {
  const make = (unet: TinyUNet) => new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });

  it('that has fired stops a run before any work', async () => {
    const unet = new TinyUNet();
    const generator = fresh(1);
    await aborts(() => make(unet).run({ signal: AbortSignal.abort('why'), generator }), 'why');
    assert.equal(unet.calls.length, 0);
    assert.deepEqual(nextDraws(generator), nextDraws(fresh(1)));
    const reason = new Error('a reason of one’s own');
    await aborts(() => make(unet).run({ signal: AbortSignal.abort(reason) }), reason);
    const { signal } = new AbortController();
    assert.equal((await make(unet).run({ signal, numInferenceSteps: 2 })).images.length, 1);
  });

  for (const [where, at] of [
    ['onProgress', 3],
    ['callbackOnStepEnd', 3],
    ['callbackOnStepEnd', 10],
    ['onProgress', 10],
  ] as const) {
    it(`that fires in ${where} of step ${at} of 10 stops the run there`, async () => {
      const unet = new TinyUNet();
      const controller = new AbortController();
      let count = 0;
      const listener = () => {
        if (++count === at) controller.abort('enough');
      };
      await aborts(() => make(unet).run({ numInferenceSteps: 10, signal: controller.signal, [where]: listener }), 'enough');
      assert.deepEqual([unet.calls.length, count], [at, at]);
    });
  }

  it('that fires while a model runs stops the run after it, and frees what the model gave', async () => {
    const controller = new AbortController();
    const unet = new TinyUNet({
      predict: async (x, t) => {
        const output = x.mul(0.5);
        if (t === 500) {
          controller.abort('now');
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        return output;
      },
    });
    let steps = 0;
    const onProgress = () => void steps++;
    await aborts(() => make(unet).run({ numInferenceSteps: 4, signal: controller.signal, onProgress }), 'now');
    assert.deepEqual(unet.timesteps, [750, 500]);
    for (const { sample, output } of unet.calls) assert.ok(isDisposed(sample) && isDisposed(output));
    assert.ok(steps <= 2);
  });

  it('is handed to the model', async () => {
    const unet = new TinyUNet();
    const { signal } = new AbortController();
    await make(unet).run({ numInferenceSteps: 2, signal });
    assert.deepEqual(unet.calls.map(({ options }) => options), [{ signal }, { signal }]);
    await make(unet).run({ numInferenceSteps: 1 });
    assert.deepEqual(unet.calls.at(-1)!.options, {});
  });

  it('cancels a long run of the embedded model at once, which is usable afterwards', async () => {
    const pipe = await DDPMPipeline.fromPretrained(MODEL);
    const options = { timesteps: [999, 400, 0], outputType: 'tensor' } as const;
    const before = await pipe.run({ ...options, generator: fresh(3) });
    const controller = new AbortController();
    let fired = 0;
    const timer = setTimeout(() => {
      fired = performance.now();
      controller.abort('user');
    }, 100);
    await aborts(() => pipe.run({ batchSize: 16, signal: controller.signal, generator: new Generator() }), 'user');
    const waited = performance.now() - fired;
    clearTimeout(timer);
    // A step of 16 images takes far less than a second; the run has a thousand of them.
    assert.ok(waited < 2000, `rejected ${waited} ms after the abort`);
    const after = await pipe.run({ ...options, generator: fresh(3) });
    assertSame(after.images, before.images);
    pipe.dispose();
  });

  it('of a timeout has its TimeoutError as the cause', async () => {
    const pipe = await DDPMPipeline.fromPretrained(MODEL);
    const error = await rejects(() => pipe.run({ signal: AbortSignal.timeout(20) }), 'ERR_ABORTED', /aborted/);
    assert.equal((error.cause as Error).name, 'TimeoutError');
    pipe.dispose();
  });

  it('cancels only the runs it was given to', async () => {
    const unet = new TinyUNet({ predict: async (x) => (await new Promise(setImmediate), x.mul(0.5)) });
    const pipe = make(unet);
    const controller = new AbortController();
    const options = { numInferenceSteps: 6, outputType: 'tensor' } as const;
    const lone = await pipe.run({ ...options, generator: fresh(1) });
    const aborted = aborts(() => pipe.run({ ...options, generator: fresh(2), signal: controller.signal }), 'this one');
    const onProgress = ({ step }: { step: number }) => step === 2 && controller.abort('this one');
    const { images } = await pipe.run({ ...options, generator: fresh(1), onProgress });
    await aborted;
    assertSame(images, lone.images);
  });

  it('leaves no listener behind, however many runs share it', async () => {
    const { signal } = new AbortController();
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on('warning', onWarning);
    const pipe = await DDIMPipeline.fromPretrained(MODEL);
    await Promise.all(Array.from({ length: 12 }, () => pipe.run({ numInferenceSteps: 1, signal })));
    await new Promise(setImmediate);
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
    pipe.dispose();
  });
});
