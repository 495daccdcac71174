import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCli } from './cli-process';

describe('the command line', function () {
  this.timeout(60_000);
  let cwd: string;
  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'cli-'));
  });
  after(() => rm(cwd, { recursive: true, force: true }));

  it('explains itself', async () => {
    const { status, stdout, stderr } = await runCli(['--help'], { cwd });
    assert.deepEqual([status, stderr], [0, '']);
    for (const command of ['sample', 'batch', 'inspect', 'bench', 'setup', 'doctor'])
      assert.match(stdout, new RegExp(`^  ${command} `, 'm'));
    assert.match(stdout, /Examples:\n  \$ node-diffusers setup/);
    const sample = await runCli(['sample', '--help'], { cwd });
    assert.equal(sample.status, 0);
    for (const option of [
      'model',
      'scheduler',
      'steps',
      'eta',
      'seed',
      'count',
      'batch',
      'grid',
      'out',
      'device',
      'dtype',
    ]) {
      assert.match(sample.stdout, new RegExp(`--${option} <`));
    }
    assert.match(sample.stdout, /is a\s+program: run only those you trust/);
  });

  it('prints its version', async () => {
    const { version } = require('../../package.json') as { version: string };
    assert.deepEqual(await runCli(['--version'], { cwd }), { status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('without a command prints the help and fails', async () => {
    const { status, stdout, stderr } = await runCli([], { cwd });
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, /^Usage: node-diffusers/);
  });

  it('ends wrong usage in one line and with status 2', async () => {
    const { status, stdout, stderr } = await runCli(['sample', '--schedular', 'ddim'], { cwd });
    assert.equal(stderr, "node-diffusers: unknown option '--schedular' (did you mean --scheduler?); see --help\n");
    assert.deepEqual([status, stdout], [2, '']);
  });

  it('bench measures the embedded model, for people and for programs', async () => {
    const quick = ['bench', '--seconds', '0', '--batch', '1,2', '--steps', '5'];
    const text = await runCli(quick, { cwd });
    assert.equal(text.status, 0, text.stderr);
    assert.match(text.stdout, /^the embedded model, float32 on cpu; \d+ threads? of .*, torch 2\.\d+\.\d+, Node \d/);
    assert.match(text.stdout, /^forward, batch 2 +[\d.]+ m?s +[\d,.]+ samples\/s\nDDIM-5, 2 at once +[\d,.]+ images\/s\n$/m);
    const json = await runCli([...quick, '--json'], { cwd });
    const { forwards, engine } = JSON.parse(json.stdout) as { forwards: { batch: number; milliseconds: number; samplesPerSecond: number }[]; engine: Record<string, number> };
    assert.deepEqual(forwards.map(({ batch }) => batch), [1, 2]);
    for (const { batch, milliseconds, samplesPerSecond } of forwards) {
      assert.ok(milliseconds > 0 && Math.abs((1000 * batch) / milliseconds - samplesPerSecond) < 1e-6);
    }
    assert.deepEqual([engine['maxBatchSize'], engine['numInferenceSteps']], [2, 5]);
    assert.ok(engine['imagesPerSecond']! > 0);
  });

  it('inspects the embedded model, for people and for programs', async () => {
    const text = await runCli(['inspect'], { cwd });
    assert.equal(text.status, 0);
    assert.match(text.stdout, /^ {2}parameters {2}1,805,121$/m);
    assert.match(text.stdout, /^ {2}block_out_channels +\[32,64,96\]$/m);
    const json = await runCli(['inspect', '--json'], { cwd });
    const report = JSON.parse(json.stdout) as { parameters: number; className: string };
    assert.deepEqual([report.parameters, report.className], [1_805_121, 'DDPMPipeline']);
  });

  it('inspect says what is missing, and --debug where', async () => {
    const { status, stderr } = await runCli(['inspect', 'none'], { cwd });
    assert.deepEqual([status, stderr], [1, 'node-diffusers: none is neither a file nor a folder\n']);
    const debug = await runCli(['inspect', 'none', '--debug'], { cwd });
    assert.match(debug.stderr, /NotFoundError: none is neither[\s\S]*\n +at /);
  });
});
