import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { scratchFolder } from './scratch';

const importCpuLimit = () => import('../../../scripts/build/cpu-limit.mjs');
type CpuLimitModule = Awaited<ReturnType<typeof importCpuLimit>>;

const importProbeAddon = () => import('../../../scripts/build/probe-addon.mjs');
type ProbeAddonModule = Awaited<ReturnType<typeof importProbeAddon>>;

describe('build/doctor', () => {
  const scratch = scratchFolder();
  let probeAddon: ProbeAddonModule['probeAddon'];
  let limits: CpuLimitModule;
  before(async () => {
    ({ probeAddon } = await importProbeAddon());
    limits = await importCpuLimit();
  });

  it('survives a binary that is none', () => {
    const file = scratch.write('bad.node', 'not a binary');
    const probe = probeAddon(file);
    assert.equal(probe.loads, false);
    assert.match(probe.problem ?? '', /bad\.node/);
  });

  it('survives one that crashes when it is loaded', () => {
    const file = scratch.write('crash.js', "process.kill(process.pid, 'SIGSEGV'); for (;;);");
    assert.deepEqual(probeAddon(file), { loads: false, problem: 'it crashes when it is loaded (SIGSEGV)' });
  });

  it('asks the addon that was built what it is', () => {
    const probe = probeAddon(path.resolve('build/Release/node_diffusers.node'));
    assert.equal(probe.loads, true, probe.problem);
    assert.match(probe.runtime?.torchVersion ?? '', /^2\.1[1-4]\./);
    assert.ok((probe.threads?.intraOp ?? 0) >= 1);
  });

  it('prints a line with a mark for each finding, and the same as JSON', function () {
    this.timeout(60_000);
    const run = (...args: string[]) =>
      spawnSync(process.execPath, ['--import', 'tsx', 'ts/cli/main.ts', 'doctor', ...args], { encoding: 'utf8' });
    const text = run();
    assert.match(text.stdout, /^✓ Node\.js/m);
    assert.match(text.stdout, /^✓ addon {10}loads, with torch 2\./m);
    const json = run('--json');
    const diagnosis = JSON.parse(json.stdout) as {
      ok: boolean;
      findings: { name: string; status: string }[];
      addon: { loads: boolean };
    };
    assert.equal(json.status, diagnosis.ok ? 0 : 1);
    assert.equal(diagnosis.addon.loads, true);
    for (const name of [
      'Node.js',
      'platform',
      'C++20 compiler',
      'CMake',
      'build tool',
      'libtorch',
      'addon',
      'ABI',
      'CUDA',
      'threads',
      'Python',
    ]) {
      assert.ok(
        diagnosis.findings.some((finding) => finding.name === name),
        name,
      );
    }
  });

  it('reads the tightest cgroup limit', () => {
    assert.equal(limits.parseCpuMax('150000 100000'), 1.5);
    assert.equal(limits.parseCpuMax('max 100000'), undefined);
    const proc = scratch.write('cgroup', '0::/a/b\n');
    scratch.write('fs/a/cpu.max', '200000 100000\n');
    scratch.write('fs/a/b/cpu.max', '400000 100000\n');
    assert.equal(limits.cgroupCpuLimit(proc, path.join(scratch.folder, 'fs')), 2);
    assert.equal(limits.cgroupCpuLimit(path.join(scratch.folder, 'none'), scratch.folder), undefined);
  });
});
