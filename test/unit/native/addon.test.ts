import assert from 'node:assert/strict';
import { LibtorchError } from '../../../ts/errors';
import { addon, loadAddon } from '../../../ts/native/addon';
import { buildProblem, readBuildInfo, type BuildInfo } from '../../../ts/native/build-info';
import { scratchFolder } from '../build/scratch';

describe('native/addon', () => {
  const scratch = scratchFolder();
  const build = (info: object | string, binary = 'not a binary') => {
    scratch.write('build/Release/node_diffusers.node', binary);
    scratch.write('build/Release/build-info.json', typeof info === 'string' ? info : JSON.stringify(info));
    return loadAddon(scratch.folder);
  };
  /** A libtorch as the check sees it. */
  const libtorch = (version = '2.13.0'): BuildInfo => {
    scratch.write('torch/lib/libtorch_cpu.so', '');
    scratch.write('torch/version.py', `__version__ = '${version}+cpu'\n`);
    return {
      torchVersion: '2.13.0',
      variant: 'cpu',
      libtorchRoot: `${scratch.folder}/torch`,
      libtorchLib: `${scratch.folder}/torch/lib`,
    };
  };
  const fails = (run: () => unknown, message: RegExp) =>
    assert.throws(run, (error: unknown) => {
      assert.ok(error instanceof LibtorchError);
      assert.equal(error.code, 'ERR_LIBTORCH');
      assert.match(error.message, message);
      return true;
    });

  it('loads once', () => {
    assert.equal(addon(), addon());
    assert.equal(typeof addon().init, 'function');
  });

  it('says that it is not built, and the command of a package', () => {
    fails(
      () => loadAddon(scratch.folder),
      /the native addon is not built yet.*Run npx node-diffusers setup to set it up/,
    );
  });

  it('names the two commands of a clone', () => {
    scratch.write('ts/errors.ts', '');
    fails(() => loadAddon(scratch.folder), /Run npm test or npm run sample to set it up/);
  });

  it('refuses a damaged build-info.json', () => {
    for (const info of ['{', 'null', '[]', '{"torchVersion":2}'])
      fails(() => build(info), /build-info\.json is missing or damaged/);
  });

  it('refuses a libtorch that is gone or of another minor', () => {
    const info = libtorch();
    fails(
      () => build({ ...info, libtorchLib: `${scratch.folder}/gone` }),
      /built against the libtorch in .*gone, which is gone/,
    );
    libtorch('2.14.0');
    fails(() => build(info), /built against torch 2\.13\.0, and .*torch now holds torch 2\.14\.0/);
    libtorch('2.13.1');
    assert.equal(buildProblem(info), undefined);
  });

  it('refuses an addon of another platform', () => {
    fails(
      () => build({ ...libtorch(), platform: 'aix', arch: 'ppc64' }),
      /the addon was built for aix-ppc64, and this is/,
    );
  });

  it("keeps the loader's own words and error for a binary that does not load", () => {
    const info = libtorch();
    assert.throws(
      () => build(info),
      (error: unknown) => {
        assert.ok(error instanceof LibtorchError);
        assert.match(error.message, /the native addon does not load: .*node_diffusers\.node.*doctor says more/);
        assert.ok(error.cause instanceof Error);
        return true;
      },
    );
  });

  it('refuses a binary that loads and is no addon of this package', () => {
    const info = libtorch();
    const file = `${scratch.folder}/build/Release/node_diffusers.node`;
    require.cache[file] = { ...module, id: file, filename: file, exports: {} };
    try {
      fails(() => build(info), /node_diffusers\.node is not this package's addon/);
    } finally {
      delete require.cache[file];
    }
  });

  it('reads what the build wrote down', () => {
    assert.equal(readBuildInfo(scratch.write('info.json', '{}')), undefined);
    assert.deepEqual(readBuildInfo(scratch.write('info.json', JSON.stringify(libtorch())))?.variant, 'cpu');
  });
});
