import assert from 'node:assert/strict';

const importTorchVersion = () => import('../../../scripts/build/torch-version.mjs');
type TorchVersionModule = Awaited<ReturnType<typeof importTorchVersion>>;

describe('build/torch-version', () => {
  let module: TorchVersionModule;
  before(async () => {
    module = await importTorchVersion();
  });

  it('reads version.py as text', () => {
    const { parseVersionPy } = module;
    const cpu =
      "from typing import *\n__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n";
    assert.deepEqual(parseVersionPy(cpu), { version: '2.13.0', variant: 'cpu' });
    assert.deepEqual(parseVersionPy("__version__ = '2.14.1'\ncuda: Optional[str] = '13.0'\n"), {
      version: '2.14.1',
      variant: 'cu130',
    });
    assert.deepEqual(parseVersionPy("__version__ = '2.14.1+rocm6.4'\ncuda = None\nhip = '6.4'\n"), {
      version: '2.14.1',
      variant: 'rocm6.4',
    });
    assert.equal(parseVersionPy('version = 3'), undefined);
  });

  it('reads build-version and the header', () => {
    assert.deepEqual(module.parseBuildVersion('2.13.0+cu130\n'), { version: '2.13.0', variant: 'cu130' });
    assert.deepEqual(module.parseBuildVersion('2.13.0'), { version: '2.13.0', variant: 'cpu' });
    assert.equal(module.parseBuildVersion('<html>'), undefined);
    assert.equal(
      module.parseVersionHeader('#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 13\n'),
      undefined,
    );
  });

  it('supports 2.11 to 2.14 and says so', () => {
    const supported = ['2.10.9', '2.11.0', '2.13.0', '2.14.9', '2.15.0', '2.1.1'].filter((version) =>
      module.isSupported(version),
    );
    assert.deepEqual(supported, ['2.11.0', '2.13.0', '2.14.9']);
    assert.throws(() => module.parseVersion('2.15.0'), {
      message: '--torch must be of torch 2.11 to 2.14, got 2.15.0; the default is 2.13.0.',
    });
    assert.throws(() => module.parseVersion('latest'), {
      message: "--torch must be a version like 2.13.0, got 'latest'.",
    });
    assert.throws(() => module.parseVariant('cuda'), {
      message: "--variant must be cpu or a CUDA variant such as cu130, got 'cuda'.",
    });
    assert.throws(() => module.parseVariant('cpu/../..'), { message: /--variant must be/ });
  });
});
