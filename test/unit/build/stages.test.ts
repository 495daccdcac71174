import assert from 'node:assert/strict';
import path from 'node:path';
import { quietProgress, scratchFolder } from './scratch';

describe('build/progress, sources and wheels', () => {
  const scratch = scratchFolder();

  it('redraws one line on a terminal and is quiet in a pipe', async () => {
    const { createProgress } = await import('../../../scripts/build/progress.mjs');
    let written = '';
    let time = 0;
    const stream = { isTTY: true, columns: 11, write: (text: string) => (written += text) };
    const terminal = createProgress(stream, () => time);
    terminal.update('one two three');
    terminal.step('done');
    assert.equal(written, '\r\u001b[Kone two th\r\u001b[Kdone\n');
    written = '';
    const pipe = createProgress({ ...stream, isTTY: false }, () => time);
    pipe.update('10%');
    time = 10_000;
    pipe.update('50%');
    pipe.update('60%');
    pipe.done();
    assert.equal(written, '50%\n');
  });

  it('finds Node headers outside the binding, long files and paths of a machine', async () => {
    const { checkSources } = await import('../../../scripts/build/check-sources.mjs');
    scratch.write('native/core/a.cpp', '#include <napi.h>\n');
    scratch.write('native/binding/b.cpp', '#include <napi.h>\n');
    scratch.write('native/kernels/c.cpp', '\n'.repeat(301));
    // Put together here, or this very file would be found.
    const somebodys = ['', 'home', 'ann', 'x'].join('/');
    scratch.write('README.md', `see ${somebodys}.txt or https://example.org${somebodys}`);
    scratch.write('scripts/build/a.mjs', `'${somebodys}'`);
    scratch.write('test/a.pt', `\0X${somebodys}/model.py`);
    scratch.write('test/b.pt', '\0archive/code/__torch__.py.debug_pkl');
    scratch.write('node_modules/x/d.md', somebodys);
    scratch.write('scripts/__pycache__/a.pyc', `\0${somebodys}/a.py`);
    assert.deepEqual(
      checkSources(scratch.folder).sort(),
      [
        `README.md: carries a machine's path: ${somebodys}.txt`,
        "test/b.pt: holds TorchScript's debug records",
        `test/a.pt: carries a machine's path: ${somebodys}/model.py`,
        `scripts/build/a.mjs: carries a machine's path: ${somebodys}`,
        'native/core/a.cpp: includes a Node header; only native/binding may',
        'native/kernels/c.cpp: has 301 lines, more than 300',
      ].sort(),
    );
  });

  it('asks pip for the cpu build before the plain one, which is the CUDA build on Linux', async () => {
    const { pipAttempts, parseRecord, cudaRequirements } = await import('../../../scripts/build/torch-wheel.mjs');
    const request = { version: '2.13.0', variant: 'cpu', env: {}, progress: quietProgress() };
    const attempts = pipAttempts({ ...request, platform: 'linux' }, 'x64').map((attempt) => attempt.join(' '));
    assert.equal(attempts[0], 'torch==2.13.0+cpu');
    assert.equal(attempts[1], 'torch==2.13.0+cpu --index-url https://download.pytorch.org/whl/cpu');
    assert.equal(attempts[2], 'torch==2.13.0');
    assert.match(attempts[3] ?? '', /--python-version 3\.12 .*manylinux_2_28_x86_64/);
    assert.deepEqual(pipAttempts({ ...request, platform: 'darwin' }), [['torch==2.13.0']]);
    assert.deepEqual(
      [...parseRecord('a/b.h,sha256=Ab-_1,12\n"c,d",sha256=xy,1\ne/RECORD,,\n')],
      [
        ['a/b.h', 'Ab-_1'],
        ['c,d', 'xy'],
      ],
    );
    const metadata =
      'Requires-Dist: sympy\nRequires-Dist: nvidia-cudnn-cu13==9.1; platform_system == "Linux"\n' +
      'Requires-Dist: cuda-toolkit[cublas]==13.0.2; platform_system == "Linux"\n' +
      'Requires-Dist: nvidia-x; extra == "opt"\n';
    assert.deepEqual(cudaRequirements(metadata), [
      'nvidia-cudnn-cu13==9.1; platform_system == "Linux"',
      'cuda-toolkit[cublas]==13.0.2; platform_system == "Linux"',
    ]);
  });

  it('installs packages only when npm did not finish, or the lock file wants others', async () => {
    const { isInstalled } = await import('../../../scripts/build/node-modules.mjs');
    const lock = (packages: Record<string, { version: string; optional?: boolean }>) => ({ packages });
    const wanted = lock({
      '': { version: '1.0.0' },
      'node_modules/a': { version: '1.0.0' },
      'node_modules/b': { version: '1.0.0', optional: true },
    });
    assert.equal(isInstalled(wanted, undefined), false);
    assert.equal(isInstalled(wanted, lock({ 'node_modules/a': { version: '1.0.0' } })), true);
    assert.equal(isInstalled(wanted, lock({ 'node_modules/b': { version: '1.0.0' } })), false);
    assert.equal(isInstalled(wanted, lock({ 'node_modules/a': { version: '1.0.1' } })), false);
    assert.equal(
      isInstalled(wanted, lock({ 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '2.0.0' } })),
      false,
    );
  });

  it('puts the cache where the environment says', async () => {
    const { cacheFolder } = await import('../../../scripts/build/paths.mjs');
    assert.equal(cacheFolder({ NODE_DIFFUSERS_CACHE: scratch.folder, XDG_CACHE_HOME: '/x' }), scratch.folder);
    assert.equal(cacheFolder({ XDG_CACHE_HOME: '/x' }), path.join('/x', 'node-diffusers'));
    assert.equal(cacheFolder({ XDG_CACHE_HOME: 'relative', HOME: '/h' }), path.join('/h', '.cache', 'node-diffusers'));
  });
});
