import assert from 'node:assert/strict';
import path from 'node:path';
import { scratchFolder } from './scratch';

const importFindLibtorch = () => import('../../../scripts/build/find-libtorch.mjs');
type FindLibtorchModule = Awaited<ReturnType<typeof importFindLibtorch>>;

describe('build/find-libtorch', () => {
  const scratch = scratchFolder();
  let findLibtorch: FindLibtorchModule['findLibtorch'];
  const at = (...parts: string[]) => path.join(scratch.folder, ...parts);
  /** A search that sees the scratch folder only: its cache, its Python torch, its /usr. */
  const search = (env: NodeJS.ProcessEnv = {}, more = {}) =>
    findLibtorch({
      env: { NODE_DIFFUSERS_CACHE: at('cache'), ...env },
      locatePythonTorch: () => at('site-packages/torch'),
      systemRoot: at('usr'),
      ...more,
    });
  const libtorch = (root: string, files: Record<string, string>) => {
    scratch.write(`${root}/lib/libtorch_cpu.so`, '');
    scratch.write(`${root}/include/torch/script.h`, '');
    for (const [name, text] of Object.entries(files)) scratch.write(`${root}/${name}`, text);
  };
  const cached = (name: string, version: string) => {
    libtorch(`cache/libtorch/${name}/libtorch`, { 'build-version': version });
    scratch.write(`cache/libtorch/${name}/complete.json`, '{}');
  };
  const pythonTorch = (version: string, cuda = 'None') =>
    libtorch('site-packages/torch', {
      'version.py': `__version__ = '${version}'\ncuda: Optional[str] = ${cuda}\nraise SystemExit\n`,
    });

  before(async () => {
    ({ findLibtorch } = await importFindLibtorch());
  });

  it('goes through variables, cache, Python and /usr in this order', () => {
    libtorch('usr', {
      'include/torch/headeronly/version.h':
        '#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n#define TORCH_VERSION_PATCH 1\n',
    });
    assert.equal(search().found?.root, at('usr'));
    assert.equal(search().found?.version, '2.11.1');
    pythonTorch('2.14.1', "'13.0'");
    assert.deepEqual(
      { ...search().found, cmakePrefix: '' },
      {
        root: at('site-packages/torch'),
        include: at('site-packages/torch/include'),
        lib: at('site-packages/torch/lib'),
        cmakePrefix: '',
        version: '2.14.1',
        variant: 'cu130',
        source: 'Python',
      },
    );
    cached('2.12.0-cpu', '2.12.0+cpu');
    assert.equal(search().found?.root, at('cache/libtorch/2.12.0-cpu/libtorch'));
    libtorch('mine', { 'build-version': '2.13.0+cpu' });
    assert.equal(search({ LIBTORCH: at('mine') }).found?.root, at('mine'));
    assert.equal(search({ LIBTORCH: at('mine'), LIBTORCH_USE_PYTORCH: '1' }).found?.version, '2.14.1');
    assert.equal(search({ LIBTORCH: at('mine'), LIBTORCH_USE_PYTORCH: '0' }).found?.root, at('mine'));
  });

  it('finds nothing in empty places', () => {
    assert.deepEqual(search(), { found: undefined, passedOver: [] });
  });

  it('takes headers and libraries from LIBTORCH_INCLUDE and LIBTORCH_LIB, given as the folder or its parent', () => {
    libtorch('parts', { 'build-version': '2.13.0+cpu' });
    scratch.write('root/build-version', '2.13.0+cpu');
    for (const suffix of ['', '/include']) {
      const env = { LIBTORCH: at('root'), LIBTORCH_INCLUDE: at('parts') + suffix, LIBTORCH_LIB: at('parts/lib') };
      assert.equal(search(env).found?.include, at('parts/include'));
      assert.equal(search(env).found?.lib, at('parts/lib'));
    }
  });

  it('refuses a variable that names nothing, saying what must be there', () => {
    assert.throws(() => search({ LIBTORCH: at('nowhere') }), {
      name: 'SetupError',
      message: /LIBTORCH is .*nowhere, but there is no libtorch in it: it must hold lib\/libtorch_cpu\.so/,
    });
    assert.throws(() => search({ LIBTORCH_USE_PYTORCH: '1' }), {
      name: 'SetupError',
      message: /LIBTORCH_USE_PYTORCH is set, but python3 has no torch.*pip install torch==2\.13\.0/s,
    });
  });

  it('refuses an unsupported torch that a variable names, and passes over one that lies around', () => {
    pythonTorch('2.10.0+cpu');
    assert.throws(() => search({ LIBTORCH_USE_PYTORCH: '1' }), {
      message: /is torch 2\.10\.0, which node-diffusers does not support: it needs torch 2\.11 to 2\.14/,
    });
    const { found, passedOver } = search();
    assert.equal(found, undefined);
    assert.deepEqual(passedOver, [`torch 2.10.0 (cpu) in ${at('site-packages/torch')}`]);
  });

  it('prefers the cache entry that setup chose last, then the default, then the newest', () => {
    cached('2.11.0-cpu', '2.11.0+cpu');
    cached('2.12.0-cpu', '2.12.0+cpu');
    assert.equal(search().found?.version, '2.12.0');
    cached('2.13.0-cpu', '2.13.0+cpu');
    cached('2.14.0-cpu', '2.14.0+cpu');
    assert.equal(search().found?.version, '2.13.0');
    scratch.write('cache/libtorch/chosen', '2.11.0-cpu\n');
    assert.equal(search().found?.version, '2.11.0');
    scratch.write('cache/libtorch/chosen', '../../etc\n');
    assert.equal(search().found?.version, '2.13.0');
  });

  it('does not take a cache entry that was never completed', () => {
    libtorch('cache/libtorch/2.13.0-cpu/libtorch', { 'build-version': '2.13.0+cpu' });
    assert.equal(search().found, undefined);
  });

  it('takes only what --torch and --variant ask for', () => {
    cached('2.13.0-cpu', '2.13.0+cpu');
    cached('2.14.0-cu130', '2.14.0+cu130');
    assert.equal(search({}, { variant: 'cu130' }).found?.version, '2.14.0');
    assert.equal(search({}, { version: '2.12.0' }).found, undefined);
    libtorch('mine', { 'build-version': '2.13.0+cpu' });
    assert.throws(() => search({ LIBTORCH: at('mine') }, { variant: 'cu130' }), {
      message: /names torch 2\.13\.0 \(cpu\).*but 2\.13\.0 \(cu130\) was asked for/,
    });
  });
});
