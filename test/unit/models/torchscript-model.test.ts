import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Tensor, zeros } from '../../../ts/index';
import { TorchScriptModel } from '../../../ts/models';
import { HANDLE } from '../../../ts/tensor/handle';
import { archive, rejects } from './fixtures';

const load = (name: string, options = {}) => TorchScriptModel.load(archive(name), options);
const row = (...values: number[]) => Tensor.from(values);
const list = (value: unknown) => (value as Tensor).tolist();

describe('models/torchscript-model', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'torchscript-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  describe('values in and out', () => {
    const all = (): unknown[] => [
      row(1, 2), 3, 0.25, true, 'abc', null,
      [row(1), row(2)], [1, 2], [0.5, 1], [[1], [2, 3]], [row(5), 7],
      { a: row(1), b: row(2) }, new Map([[1, 0.5]]), { x: row(4), weight: 0.5 },
    ]; // prettier-ignore
    let model: TorchScriptModel;
    let echo: Record<string, unknown>;
    before(async () => {
      model = await load('every-type');
      echo = await model.forward<Record<string, unknown>>(...(all() as never[]));
    });

    it('states its inputs with TorchScript types and defaults', () => {
      assert.deepEqual(
        model.inputs.slice(0, 6).map(({ name, type }) => `${name}: ${type}`),
        ['tensor: Tensor', 'integer: int', 'number: float', 'flag: bool', 'text: str', 'nothing: Optional[Tensor]'],
      );
      assert.deepEqual(model.inputs.at(-1), { name: 'scale', type: 'float', hasDefault: true });
    });

    it('gives a NamedTuple as a record of every type', () => {
      assert.deepEqual(list(echo['tensor']), [2, 4]);
      assert.equal(echo['integer'], 4);
      assert.equal(echo['number'], 0.5);
      assert.equal(echo['flag'], false);
      assert.equal(echo['text'], 'abc!');
      assert.equal(echo['nothing'], null);
      assert.deepEqual((echo['tensors'] as Tensor[]).map(list), [[2], [4]]);
      assert.deepEqual(echo['integers'], [2, 3]);
      assert.deepEqual(echo['numbers'], [1, 2]);
      assert.deepEqual(echo['nested'], [[2], [3, 4]]);
      const [tensor, integer] = echo['pair'] as [Tensor, number];
      assert.deepEqual([list(tensor), integer], [[10], 8]);
      const table = echo['table'] as Record<string, Tensor>;
      assert.deepEqual([Object.keys(table), list(table['a']), list(table['b'])], [['a', 'b'], [2], [4]]);
      assert.deepEqual(echo['counts'], new Map([[1, 0.5]]));
      const point = echo['point'] as { x: Tensor; weight: number };
      assert.deepEqual([list(point.x), point.weight], [[2], 1.5]);
    });

    it('takes optionals, a NamedTuple as a tuple, a dict as a Map, defaults by position and by name', async () => {
      const inputs = all();
      inputs[5] = row(9);
      inputs[11] = new Map([['z', row(3)]]);
      inputs[13] = [row(4), 0.5];
      const result = await model.forward<Record<string, unknown>>(...(inputs as never[]), 10);
      assert.deepEqual(list(result['nothing']), [9]);
      assert.deepEqual(list((result['table'] as Record<string, Tensor>)['z']), [30]);
      assert.deepEqual(list((result['point'] as { x: Tensor }).x), [2]);
      const named = await model.forward<{ number: number }>(...(all() as never[]), { scale: 4 });
      assert.equal(named.number, 1);
    });

    it('takes a last plain object as a dict where the schema says dict', async () => {
      const difference = await (await load('takes-dict')).forward({ a: row(3), b: row(1) });
      assert.deepEqual(list(difference), [2]);
    });

    it('rejects a wrong count or type, naming the argument as the schema does', async () => {
      const wrong = (index: number, value: unknown) => () => {
        const inputs = all();
        inputs[index] = value;
        return model.forward(...(inputs as never[]));
      };
      await rejects(() => model.forward(), 'ERR_ARGUMENT', /tensor \(Tensor\) is missing/);
      await rejects(() => model.forward(...(all() as never[]), 1, 2), 'ERR_ARGUMENT', /takes 15 arguments, got 16/);
      await rejects(() => model.forward(...(all() as never[]), { size: 1 }), 'ERR_ARGUMENT', /no argument 'size'/);
      await rejects(wrong(0, 1), 'ERR_ARGUMENT', /tensor must be a Tensor/);
      await rejects(wrong(1, 1.5), 'ERR_ARGUMENT', /integer must be an integer, got 1.5/);
      await rejects(wrong(3, 1), 'ERR_ARGUMENT', /flag must be a boolean, got 1/);
      await rejects(wrong(4, null), 'ERR_ARGUMENT', /text must be a string, got null/);
      await rejects(wrong(9, [[1], ['x']]), 'ERR_ARGUMENT', /nested\[1\]\[0\] must be an integer, got 'x'/);
      await rejects(wrong(10, [row(1)]), 'ERR_ARGUMENT', /pair must have 2 entries, got 1/);
      await rejects(wrong(13, { x: row(1) }), 'ERR_ARGUMENT', /point\.weight must be a number, got undefined/);
    });
  });

  it("keeps what the module itself raises, and torch's own message, without a traceback", async () => {
    const model = await load('raises');
    const raised = await rejects(() => model.forward(row(1), 'raise'), 'ERR_OP', /^the input is not to its taste$/);
    assert.equal(raised.name, 'OpError');
    const shapes = await rejects(() => model.forward(zeros([2, 3]), 'multiply'), 'ERR_OP', /mat1 and mat2 shapes/);
    assert.doesNotMatch(shapes.message, /Traceback|frame #|\n/);
    assert.deepEqual(list(await model.forward(zeros([1, 1]), 'multiply')), [[0]], 'it is still usable');
  });

  it('casts floating weights only, in load and in to', async () => {
    const model = await load('lookup', { dtype: 'float64' });
    assert.deepEqual([model.dtype, model.device], ['float64', 'cpu']);
    assert.deepEqual(model.counts, { parameters: 4, buffers: 2, bytes: 48 });
    assert.equal(await model.to({ dtype: 'bfloat16' }), model);
    const output = await model.forward<Tensor>(zeros([2], { dtype: 'bfloat16' }));
    assert.deepEqual([output.dtype, output.tolist()], ['bfloat16', [0.375, 0.125]]);
    assert.deepEqual(model.counts, { parameters: 4, buffers: 2, bytes: 24 });
  });

  describe('calls', () => {
    const matrix = () => zeros([96, 96]);

    it('runs several at once, off the JavaScript thread', async () => {
      const model = await load('slow');
      let ticks = 0;
      const timer = setInterval(() => ticks++, 2);
      const results = await Promise.all(Array.from({ length: 6 }, () => model.forward<Tensor>(matrix(), 400)));
      clearInterval(timer);
      assert.ok(ticks > 0, 'the event loop went on');
      for (const result of results) assert.equal(result.sum().item(), 0);
    });

    it('frees what comes of a call that was aborted while it ran, in lists, records and Maps', async () => {
      const model = await load('slow');
      let settle!: (result: unknown) => void;
      const running = { result: new Promise((resolve) => (settle = resolve)), cancel: () => undefined };
      Object.defineProperty(model[HANDLE], 'forward', { value: () => running });
      const [a, b, c] = [zeros([1])[HANDLE], zeros([1])[HANDLE], zeros([1])[HANDLE]];
      const controller = new AbortController();
      const call = model.withSignal(controller.signal).forward(matrix(), 1);
      controller.abort();
      await rejects(() => call, 'ERR_ABORTED', /aborted/);
      settle([a, { b }, new Map([['c', [c]]]), 1, null]);
      await sleep(0);
      assert.deepEqual([a.disposed, b.disposed, c.disposed], [true, true, true]);
    });

    it('aborts a call before it begins and while it runs, and stays usable', async () => {
      const model = await load('slow');
      const reason = new Error('enough');
      const early = model.withSignal(AbortSignal.abort(reason));
      const error = await rejects(() => early.forward(matrix(), 1), 'ERR_ABORTED', /aborted/);
      assert.deepEqual([error.name, error.cause], ['AbortError', reason]);

      const controller = new AbortController();
      const bound = model.withSignal(controller.signal);
      // More than there are threads: some run, the rest wait.
      const calls = Array.from({ length: 12 }, () =>
        rejects(() => bound.forward(matrix(), 4000), 'ERR_ABORTED', /aborted/),
      );
      await sleep(20);
      const start = performance.now();
      controller.abort();
      await Promise.all(calls);
      assert.ok(performance.now() - start < 500, 'they rejected at once');
      assert.deepEqual(
        (await model.withSignal(new AbortController().signal).forward<Tensor>(matrix(), 1)).shape,
        [96, 96],
      );
      assert.throws(() => model.withSignal({} as AbortSignal), { code: 'ERR_ARGUMENT' });
    });

    it('lets a call in flight survive dispose, which is idempotent', async () => {
      const model = await load('slow');
      const call = model.forward<Tensor>(matrix(), 400);
      model.dispose();
      model.dispose();
      assert.equal((await call).sum().item(), 0);
      await rejects(() => model.forward(matrix(), 1), 'ERR_DISPOSED', /TorchScriptModel was disposed/);
      await rejects(() => model.to({ dtype: 'float64' }), 'ERR_DISPOSED', /disposed/);
      await rejects(() => model.save(join(folder, 'gone.pt')), 'ERR_DISPOSED', /disposed/);
      assert.throws(() => model.dtype, { code: 'ERR_DISPOSED' });
    });

    it('refuses a disposed input', async () => {
      const input = row(1, 2);
      input.dispose();
      await rejects(
        async () => (await load('lookup')).forward(input),
        'ERR_DISPOSED',
        /x is a Tensor that was disposed/,
      );
    });
  });

  describe('files', () => {
    const broken = async (name: string, change: (bytes: Buffer) => Uint8Array): Promise<string> => {
      const file = join(folder, `${name}.pt`);
      await writeFile(file, change(await readFile(archive('lookup'))));
      return file;
    };

    it('rejects what is missing, damaged or no TorchScript, in one readable line', async () => {
      const cases: [string, string, RegExp][] = [
        [join(folder, 'nothing.pt'), 'ERR_NOT_FOUND', /nothing\.pt does not exist/],
        [folder, 'ERR_CHECKPOINT', /must be a file/],
        [await broken('empty', () => Buffer.alloc(0)), 'ERR_CHECKPOINT', /too short/],
        [await broken('noise', (b) => b.map((_, i) => (i * 37) & 255)), 'ERR_CHECKPOINT', /no zip archive/],
        [await broken('half', (b) => b.subarray(0, b.length >> 1)), 'ERR_CHECKPOINT', /truncated/],
        [await broken('short', (b) => b.subarray(0, b.length - 1)), 'ERR_CHECKPOINT', /truncated/],
        [archive('torch-save'), 'ERR_CHECKPOINT', /torch\.save.*export_torchscript\.py/],
        [archive('no-forward'), 'ERR_CHECKPOINT', /no method 'forward'/],
      ];
      for (const [file, code, message] of cases) {
        const error = await rejects(() => TorchScriptModel.load(file), code, message);
        assert.ok(!error.message.includes('\n'), error.message);
      }
    });

    it('rejects wrong arguments without throwing', async () => {
      await rejects(() => TorchScriptModel.load(7 as never), 'ERR_ARGUMENT', /file must be a path, got 7/);
      await rejects(() => load('lookup', { dtpye: 'float32' }), 'ERR_ARGUMENT', /unknown option "dtpye"/);
      await rejects(() => load('lookup', { dtype: 'float8' }), 'ERR_DTYPE', /dtype must be one of/);
      await rejects(() => load('lookup', { dtype: 'int64' }), 'ERR_DTYPE', /dtype must be 'float32'/);
      await rejects(() => load('lookup', { device: 'tpu' }), 'ERR_DEVICE', /device must be 'cpu'/);
      await rejects(() => load('lookup', { device: 'cuda:99' }), 'ERR_DEVICE', /'cuda:99' is not here/);
    });

    it('refuses another dtype than the one an archive has fixed, and names the way out', async () => {
      for (const name of ['baked-device', 'baked-dtype']) {
        assert.equal((await load(name, { dtype: 'float32' })).dtype, 'float32');
        await rejects(
          () => load(name, { dtype: 'bfloat16' }),
          'ERR_DTYPE',
          /'float32' fixed in its graph.*export_torchscript/,
        );
      }
    });

    it('saves itself whole, with its extra files, and loads again', async () => {
      const model = await load('tiny-unet', { dtype: 'float64' });
      const file = join(folder, 'a/b/copy.pt');
      await model.save(file);
      const copy = await TorchScriptModel.load(file);
      assert.equal(copy.dtype, 'float64');
      assert.deepEqual(copy.extraFiles, model.extraFiles);
      assert.ok(Object.isFrozen(copy.extraFiles));
      assert.deepEqual(await readdir(join(folder, 'a/b')), ['copy.pt']);
      await rejects(() => model.save(join(archive('lookup'), 'x.pt')), 'ERR_ARGUMENT', /can't write/);
      copy.dispose();
      await rejects(() => copy.save(join(folder, 'gone/copy.pt')), 'ERR_DISPOSED', /disposed/);
      assert.ok(!(await readdir(folder)).includes('gone'));
    });
  });
});
