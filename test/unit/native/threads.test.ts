import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { DDIMScheduler, getNumThreads, randn, setNumThreads } from '../../../ts/index';
import { addon } from '../../../ts/native/addon';
import { tinyUNet } from '../models/tiny-unet';

describe('threads', () => {
  let atStart: number;
  before(() => (atStart = getNumThreads()));
  afterEach(() => setNumThreads(atStart));

  it('are those the process may use, until they are set', () => {
    assert.equal(atStart, addon().threads().available);
    setNumThreads(3);
    assert.deepEqual([getNumThreads(), addon().threads().intraOp], [3, 3]);
    setNumThreads(1024);
    assert.equal(getNumThreads(), 1024);
  });

  for (const limit of [1, 2, 5]) {
    it(`of ${limit} are never exceeded by forwards and steps that run at once, and all are used`, async () => {
      setNumThreads(limit);
      const unet = tinyUNet({ blockOutChannels: [32, 64] });
      const scheduler = new DDIMScheduler();
      scheduler.setTimesteps(10);
      const x = randn([2, 2, 32, 32]);
      const work = () => [unet.forward(x, 5), unet.forward(x, 7), scheduler.stepAsync(x, 500, x, {})];
      const seen: number[] = [];
      const timer = setInterval(() => seen.push(addon().threads().inUse), 1);
      for (let round = 0; round < 5; round++) await Promise.all([...work(), ...work(), ...work()]);
      clearInterval(timer);
      assert.ok(Math.max(...seen, 0) <= limit, String(seen));
      const { peak, inUse } = addon().threads();
      assert.ok(peak <= limit && peak >= Math.min(limit, 4), `${peak} of ${limit}`);
      assert.equal(inUse, 0);
    });
  }

  it('all go to what runs alone', async () => {
    const unet = tinyUNet();
    const x = randn([1, 2, 8, 8]);
    await unet.forward(x, 1);
    setNumThreads(7);
    await unet.forward(x, 1);
    assert.equal(addon().threads().peak, 7);
  });

  it('of 1 are one: OpenMP starts none beside it', function () {
    if (process.platform !== 'linux') this.skip();
    const program = `
      const { readdirSync } = require('node:fs');
      const { randn, setNumThreads } = require('./ts/index.ts');
      const { tinyUNet } = require('./test/unit/models/tiny-unet.ts');
      setNumThreads(1);
      const unet = tinyUNet({ blockOutChannels: [32, 64] });
      const x = randn([2, 2, 32, 32]);
      const before = readdirSync('/proc/self/task').length;
      Promise.all(Array.from({ length: 6 }, () => unet.forward(x, 1))).then(() => {
        process.stdout.write(String(readdirSync('/proc/self/task').length - before));
      });
    `;
    const root = join(__dirname, '../../..');
    const child = spawnSync(process.execPath, ['--require', 'tsx/cjs', '--eval', program], { cwd: root, encoding: 'utf8' });
    assert.deepEqual([child.stdout, child.stderr], ['0', '']);
  });

  it('may be fewer from one call to the next, with the same result', async () => {
    const unet = tinyUNet({ blockOutChannels: [32, 64] });
    const x = randn([2, 2, 32, 32]);
    const outputs = [];
    for (const limit of [4, 1, 2]) {
      setNumThreads(limit);
      outputs.push((await unet.forward(x, [3, 900])).sample);
    }
    for (const output of outputs) assert.ok(output.sub(outputs[0]!).abs().amax().item() < 1e-5);
  });

  for (const wrong of [0, -1, 1.5, 1025, NaN, '2', 2n, undefined]) {
    it(`can't be ${String(wrong)}`, () => {
      assert.throws(() => setNumThreads(wrong as never), {
        code: 'ERR_ARGUMENT',
        message: /^setNumThreads: n must be an integer in 1 … 1024, got /,
      });
    });
  }
});
