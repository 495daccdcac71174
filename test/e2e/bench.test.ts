import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
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
});
