import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(__dirname, '../..');

const run = (...args: string[]) => spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });

describe('npm run bench', () => {
  it('explains itself', () => {
    const { status, stdout } = run('scripts/build/bootstrap.mjs', 'bench', 'unet', '--help');
    assert.equal(status, 0);
    assert.match(stdout, /Usage: bench unet/);
    assert.match(stdout, /onnxruntime-node/);
  });

  it('measures a step and writes its figures', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bench-'));
    try {
      const json = join(folder, 'step.json');
      const few = ['--size', 'small', '--no-python', '--rounds', '1', '--turn', '0.01', '--pause', '1', '--no-svg', '--json', json];
      const { status, stdout } = run('--import', 'tsx', 'scripts/bench/main.ts', 'step', ...few);
      assert.equal(status, 0);
      assert.match(stdout, /1×3×32×32: DDIM, η = 0\n[^]*node-diffusers, without x0 +\S+ µs/);
      assert.match(stdout, /left out: diffusers eager: --no-python/);
      const { cases } = JSON.parse(readFileSync(json, 'utf8')) as { cases: { arms: { median: number; wrong: boolean }[] }[] };
      assert.equal(cases.length, 4);
      assert.ok(cases.every(({ arms }) => arms.length === 2 && arms.every(({ median, wrong }) => median > 0 && !wrong)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }).timeout(60_000);

  it('refuses what it does not know', () => {
    const { status, stderr } = run('--import', 'tsx', 'scripts/bench/main.ts', 'unet', '--rounds', 'many');
    assert.equal(status, 1);
    assert.match(stderr, /must be a number above 0, got 'many'/);
  });

  it('plays a few requests through the engine and its peers, and writes figures and charts', () => {
    const folder = mkdtempSync(join(tmpdir(), 'node-diffusers-bench-'));
    try {
      const json = join(folder, 'engine.json');
      const files = ['--json', json, '--svg', join(folder, 'engine')];
      const { status, stdout, stderr } = run('--import', 'tsx', 'scripts/bench/main.ts', 'engine', '--quick', '--no-python', ...files);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /2\/3\/5 steps, load 0\.7: 6 requests/);
      assert.match(stdout, /left out: diffusers, request batches: --no-python/);
      const { points, aims } = JSON.parse(readFileSync(json, 'utf8')) as {
        points: { servers: { name: string; latency: { p95: number }; loop: { samples: number } | null }[] }[];
        aims: unknown[];
      };
      assert.deepEqual(points.map(({ servers }) => servers.length), [3, 4, 3, 4]);
      const engines = points.map(({ servers }) => servers.find(({ name }) => name === 'SamplerEngine')!);
      // 6 requests of 3 steps each
      assert.deepEqual([engines[0]!.loop!.samples, engines[2]!.loop!.samples], [18, 18]);
      assert.ok(engines.every(({ latency }) => latency.p95 > 0));
      assert.equal(aims.length, 4);
      for (const name of ['latency', 'throughput']) {
        assert.match(readFileSync(join(folder, `engine-${name}.svg`), 'utf8'), /^<svg [^]*SamplerEngine[^]*<\/svg>\n$/);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  }).timeout(120_000);
});
