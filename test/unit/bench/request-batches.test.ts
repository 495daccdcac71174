import assert from 'node:assert/strict';
import { DDIMPipeline, DDIMScheduler, Generator, UNet2DModel } from '../../../ts/index';
import { requestBatches, takeBatch, type BatchRule } from '../../../scripts/bench/request-batches';
import { nodeServer } from '../../../scripts/bench/server';
import { relativeError } from '../../../scripts/bench/statistics';
import type { Trace, TraceRequest } from '../../../scripts/bench/trace';

const traceOf = (...steps: number[]): Trace => steps.map((one, index) => ({ arrival: 0, steps: one, seed: 7 + index }));

describe('bench: request batches', () => {
  const take = (rule: BatchRule, limit: number): number[][] => {
    const queue = traceOf(10, 50, 10, 20, 10).map((request) => ({ request }));
    const batches: number[][] = [];
    while (queue.length > 0) batches.push(takeBatch(queue, rule, limit).map(({ request }) => request.seed - 7));
    return batches;
  };

  it('takes the oldest, and those with its step count or any, up to the limit', () => {
    assert.deepEqual(take('equal steps', 8), [[0, 2, 4], [1], [3]]);
    assert.deepEqual(take('equal steps', 2), [[0, 2], [1], [3], [4]]);
    assert.deepEqual(take('any steps', 3), [[0, 1, 2], [3, 4]]);
    assert.deepEqual(take('any steps', 1), [[0], [1], [2], [3], [4]]);
  });

  describe('with a UNet', () => {
    let pipe: DDIMPipeline;
    before(() => {
      const unet = UNet2DModel.fromConfig(
        {
          sampleSize: 8, inChannels: 1, outChannels: 1, blockOutChannels: [8, 16], normNumGroups: 4, layersPerBlock: 1,
          downBlockTypes: ['DownBlock2D', 'DownBlock2D'], upBlockTypes: ['UpBlock2D', 'UpBlock2D'],
        },
        { generator: new Generator({ seed: 0 }) },
      ); // prettier-ignore
      pipe = new DDIMPipeline({ unet, scheduler: new DDIMScheduler() });
    });
    after(() => pipe.dispose());

    const alone = async ({ steps, seed }: TraceRequest): Promise<Float32Array> => {
      const generator = new Generator({ seed });
      const { images } = await pipe.run({ generator, numInferenceSteps: steps, outputType: 'tensor' });
      return images.toTypedArray() as Float32Array;
    };

    for (const rule of ['equal steps', 'any steps'] as const) {
      it(`gives each request the image of a run of its own, by ${rule}`, async () => {
        const trace = traceOf(3, 7, 3, 1, 7, 2);
        const images = await nodeServer({ name: rule, own: false }, requestBatches(pipe, rule, 4)).images(trace);
        for (const [index, request] of trace.entries()) {
          assert.ok(relativeError(images[index]!, await alone(request)) < 1e-5, `request ${index}`);
        }
      });
    }

    it('lets short ones go before the batch ends, or keeps the batch together', async () => {
      const ended: string[] = [];
      const play = async (rule: BatchRule, limit: number): Promise<void> => {
        const submit = requestBatches(pipe, rule, limit);
        await Promise.all(
          traceOf(9, 2, 5).map(async (request) => {
            (await submit(request)).dispose();
            ended.push(`${rule}: ${request.steps}`);
          }),
        );
      };
      await play('any steps', 3);
      await play('any steps', 1);
      assert.deepEqual(ended, [2, 5, 9, 9, 2, 5].map((steps) => `any steps: ${steps}`));
    });

    it('passes a failure on to its batch alone and goes on', async () => {
      const submit = requestBatches(pipe, 'equal steps', 4);
      const [good, wrong] = [submit(traceOf(2)[0]!), submit(traceOf(1001)[0]!)];
      await assert.rejects(wrong, { code: 'ERR_TIMESTEP' });
      (await good).dispose();
      (await submit(traceOf(1)[0]!)).dispose();
    });
  });
});
