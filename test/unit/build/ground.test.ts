import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { scratchFolder } from './scratch';

/** Where a program of this machine lies, to give a test's PATH this one and no other. */
function programOf(name: string): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .map((folder) => path.join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

const importGround = () => import('../../../scripts/build/ground.mjs');
type GroundModule = Awaited<ReturnType<typeof importGround>>;

describe('build/ground', () => {
  const scratch = scratchFolder();
  let ground: GroundModule;
  const bin = () => path.join(scratch.folder, 'bin');
  const fake = (name: string, script: string) => scratch.write(`bin/${name}`, `#!/bin/sh\n${script}\n`, 0o755);
  const on = (more = {}) => ({
    env: { PATH: bin() },
    platform: 'linux',
    arch: 'x64',
    nodeVersion: '22.0.0',
    glibc: () => '2.36',
    ...more,
  });

  before(async () => {
    ground = await importGround();
  });

  it('compares versions by number', () => {
    assert.equal(ground.atLeast('20.19.0', '20.19.0'), true);
    assert.equal(ground.atLeast('20.9.0', '20.19.0'), false);
    assert.equal(ground.atLeast('3.9', '3.20.0'), false);
    assert.equal(ground.atLeast('21.0.0-rc1', '20.19.0'), true);
  });

  it('refuses an old Node', () => {
    assert.deepEqual(ground.checkNode(on({ nodeVersion: '20.18.3' })), {
      name: 'Node.js',
      ok: false,
      detail: '20.18.3',
      hint: 'Node.js 20.19.0 or newer is needed: https://nodejs.org/en/download',
    });
    assert.equal(ground.checkNode(on()).ok, true);
  });

  it('refuses musl, an old glibc and platforms without libtorch', () => {
    assert.match(ground.checkPlatform(on({ glibc: () => undefined })).detail, /musl libc/);
    assert.match(ground.checkPlatform(on({ glibc: () => undefined })).hint ?? '', /use a glibc image/);
    assert.match(ground.checkPlatform(on({ glibc: () => '2.27' })).hint ?? '', /glibc 2\.28 or newer/);
    assert.match(ground.checkPlatform(on({ platform: 'win32' })).hint ?? '', /linux-x64.*WSL 2/);
    assert.equal(ground.checkPlatform(on({ platform: 'darwin', arch: 'arm64' })).ok, true);
    assert.equal(ground.checkPlatform(on()).ok, true);
  });

  it('says what to install for each missing tool', () => {
    mkdirSync(bin());
    const compiler = ground.checkCompiler(on());
    assert.equal(compiler.detail, 'none found (looked for c++, g++, clang++)');
    assert.match(compiler.hint ?? '', /GCC 11 or newer.*apt-get install g\+\+.*dnf install gcc-c\+\+/);
    assert.match(ground.checkCompiler(on({ platform: 'darwin' })).hint ?? '', /Clang 14.*xcode-select --install/);
    assert.equal(ground.checkCMake(on()).detail, 'not found');
    assert.match(
      ground.checkCMake(on()).hint ?? '',
      /CMake 3\.20\.0 or newer.*apt-get install cmake.*pip install cmake/,
    );
    assert.match(ground.checkGenerator(on()).hint ?? '', /apt-get install ninja-build/);
    assert.throws(
      () => ground.requireToolchain(on()),
      (error: Error) => {
        assert.equal(error.name, 'SetupError');
        for (const name of ['C++20 compiler', 'CMake', 'build tool'])
          assert.ok(error.message.includes(`\n  ${name}: `), error.message);
        return true;
      },
    );
  });

  it('refuses a compiler that does not know C++20, by its own words', () => {
    fake(
      'c++',
      '[ "$1" = --version ] && echo "c++ (Old) 7.5" && exit 0; echo "error: unrecognized -std=c++20" >&2; exit 1',
    );
    assert.equal(
      ground.checkCompiler(on()).detail,
      'c++ (Old) 7.5 will not do (error: unrecognized -std=c++20)',
    );
  });

  it('refuses clang on Linux, which compiles for another OpenMP than libtorch’s', function () {
    if (process.platform !== 'linux') this.skip();
    const using = (CXX: string) => ground.checkCompiler(on({ env: { PATH: process.env['PATH'], CXX } }));
    assert.match(using('c++').detail, /^c\+\+ /);
    const clang = using('c++ -D__clang__');
    assert.match(clang.detail, / will not do \(error: #error its OpenMP is not the one that libtorch brings: GCC has that\)$/);
    assert.match(clang.hint ?? '', /^Install GCC 11 or newer, or name one in CXX/);
  });

  it('refuses an old CMake, and takes make where there is no ninja', () => {
    fake('cmake', 'echo "cmake version 3.16.3"');
    assert.equal(ground.checkCMake(on()).detail, '3.16.3 is too old');
    fake('cmake', 'echo "cmake version 3.20.0-rc2"');
    assert.deepEqual(ground.checkCMake(on()), { name: 'CMake', ok: true, detail: '3.20.0' });
    fake('make', 'echo "GNU Make 4.3"');
    assert.deepEqual(ground.checkGenerator(on()), { name: 'build tool', ok: true, detail: 'GNU Make 4.3' });
    fake('ninja', 'echo 1.11.1');
    assert.equal(ground.checkGenerator(on()).detail, 'ninja 1.11.1');
  });

  it('ends a script in one message and exit status 1, without a stack trace', () => {
    mkdirSync(bin());
    for (const name of ['c++', 'ninja']) {
      const real = programOf(name);
      if (real !== undefined) symlinkSync(real, path.join(bin(), name));
    }
    const child = spawnSync(process.execPath, ['scripts/build/setup.mjs', '--no-fetch'], {
      encoding: 'utf8',
      env: { PATH: bin() },
    });
    assert.equal(child.status, 1);
    assert.match(child.stderr, /^\nnode-diffusers: this machine can't build or run it yet:\n/);
    assert.match(child.stderr, /CMake: not found\n {4}CMake 3\.20\.0 or newer is needed/);
    assert.doesNotMatch(child.stderr, /\n\s+at /);
  });

  it('refuses an unknown stage or command in one message', () => {
    const child = spawnSync(process.execPath, ['scripts/build/bootstrap.mjs', 'tset'], { encoding: 'utf8' });
    assert.equal(child.status, 1);
    assert.equal(child.stderr, "\nnode-diffusers: bootstrap.mjs takes sample, bench or test, got 'tset'.\n");
  });
});
