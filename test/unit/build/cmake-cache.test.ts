import assert from 'node:assert/strict';
import { scratchFolder } from './scratch';

const importCmakeCache = () => import('../../../scripts/build/cmake-cache.mjs');
type CmakeCacheModule = Awaited<ReturnType<typeof importCmakeCache>>;

describe('build/cmake-cache', () => {
  const scratch = scratchFolder();
  let module: CmakeCacheModule;
  const command = (...defines: string[]) => ['cmake', '/src', '-G', 'Ninja', ...defines.map((define) => `-D${define}`)];
  const cacheOf = (...lines: string[]) => {
    const all = [
      '# a comment',
      '//doc',
      'CMAKE_HOME_DIRECTORY:INTERNAL=/src',
      'CMAKE_GENERATOR:INTERNAL=Ninja',
      ...lines,
    ];
    scratch.write('CMakeCache.txt', `${all.join('\n')}\n`);
    return module.readCMakeCache(scratch.folder);
  };
  const CXX = process.env['CXX'];

  before(async () => {
    module = await importCmakeCache();
  });
  beforeEach(() => {
    delete process.env['CXX'];
  });
  after(() => {
    if (CXX !== undefined) process.env['CXX'] = CXX;
  });

  it('configures anew only when something that matters changed', () => {
    const cache = cacheOf('LIBTORCH_ROOT:PATH=/a', 'FLAGS:STRING=-DX=1', 'NODE_DIFFUSERS_TESTS:BOOL=OFF');
    const compare = (...defines: string[]) => module.compareConfiguration(cache, command(...defines));
    assert.equal(compare('LIBTORCH_ROOT=/a', 'FLAGS=-DX=1'), 'same');
    assert.equal(compare('LIBTORCH_ROOT=/a', 'NODE_DIFFUSERS_TESTS=ON'), 'reconfigure');
    assert.equal(compare('LIBTORCH_ROOT=/b', 'NODE_DIFFUSERS_TESTS=ON'), 'fresh');
    assert.equal(compare('NEW=1'), 'fresh');
  });

  it('starts fresh in a folder that was moved, for another generator or compiler, or without a cache', () => {
    const cache = cacheOf('CMAKE_CXX_COMPILER:FILEPATH=/usr/bin/c++');
    assert.equal(module.compareConfiguration(cache, ['cmake', '/elsewhere', '-G', 'Ninja']), 'fresh');
    assert.equal(module.compareConfiguration(cache, ['cmake', '/src', '-G', 'Unix Makefiles']), 'fresh');
    process.env['CXX'] = 'clang++';
    assert.equal(module.compareConfiguration(cache, command()), 'fresh');
    process.env['CXX'] = 'c++';
    assert.equal(module.compareConfiguration(cache, command()), 'same');
    assert.equal(module.compareConfiguration(new Map(), command()), 'fresh');
  });
});
