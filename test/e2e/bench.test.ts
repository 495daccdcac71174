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
      assert.match(stdout, /left out: diffusers, request batches: left out by --no-python/);
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
