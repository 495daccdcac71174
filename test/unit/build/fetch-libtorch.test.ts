import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { fakeServer, type FakeServer } from './fake-server';
import { libtorchEntries, makeZip, torchWheel, wheel } from './make-zip';
import { quietProgress, scratchFolder } from './scratch';

const SCRIPT = path.resolve('scripts/build/fetch-libtorch.mjs');

const importFetchLibtorch = () => import('../../../scripts/build/fetch-libtorch.mjs');
type FetchLibtorchModule = Awaited<ReturnType<typeof importFetchLibtorch>>;

describe('build/fetch-libtorch', () => {
  const scratch = scratchFolder();
  let fetchLibtorch: FetchLibtorchModule['fetchLibtorch'];
  let server: FakeServer;
  const zip = makeZip(libtorchEntries('libtorch', '2.13.0', 300_000));
  const cache = () => path.join(scratch.folder, 'libtorch');
  const entry = (name = '2.13.0-cpu') => path.join(cache(), name);
  const environment = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
    PATH: process.env['PATH'],
    NODE_DIFFUSERS_CACHE: scratch.folder,
    NODE_DIFFUSERS_MIRROR: server.base,
    PYTHON: 'no-such-python',
    ...more,
  });
  const request = (more: NodeJS.ProcessEnv = {}, version = '2.13.0', variant = 'cpu') => ({
    version,
    variant,
    env: environment(more),
    progress: quietProgress(),
    platform: 'linux',
    arch: 'x64',
  });
  /** No entry may be left that looks complete, nor a half one beside it. */
  const assertNothingLeft = () => {
    assert.equal(existsSync(entry()), false);
    assert.deepEqual(
      readdirSync(cache()).filter((name) => name.includes('partial')),
      [],
    );
  };

  before(async () => {
    ({ fetchLibtorch } = await importFetchLibtorch());
  });
  beforeEach(async () => {
    server = await fakeServer(zip);
  });
  afterEach(() => server.close());

  it('unpacks the archive of the mirror into the cache, once', async () => {
    const found = await fetchLibtorch(request());
    assert.equal(found.root, path.join(entry(), 'libtorch'));
    assert.equal(`${found.version} ${found.variant}`, '2.13.0 cpu');
    assert.equal(
      JSON.parse(readFileSync(path.join(entry(), 'complete.json'), 'utf8')).source,
      `${server.base}/cpu/libtorch-shared-with-deps-2.13.0%2Bcpu.zip`,
    );
    assert.deepEqual(readdirSync(path.join(cache(), 'downloads')), []);
    await fetchLibtorch(request());
    assert.equal(server.ranges.length, 1);
  });

  it('lets two processes at once do it together: the second waits and finds it done', async function () {
    this.timeout(60_000);
    const code = `
      const { fetchLibtorch } = await import(${JSON.stringify(pathToFileURL(SCRIPT).href)});
      const progress = { step: (line) => console.log(line), update() {}, done() {} };
      console.log((await fetchLibtorch({ version: '2.13.0', variant: 'cpu', progress })).root);`;
    server.cuts.push(1000, 1000);
    const run = () =>
      new Promise<{ status: number | null; output: string }>((resolve) => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', code], { env: environment() });
        let output = '';
        for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += String(data)));
        child.on('close', (status) => resolve({ status, output }));
      });
    const both = await Promise.all([run(), run()]);
    for (const { status, output } of both) {
      assert.equal(status, 0, output);
      assert.ok(output.includes(path.join(entry(), 'libtorch')));
    }
    assert.equal(both.filter(({ output }) => output.includes('Fetching libtorch')).length, 1);
    assert.equal(both.filter(({ output }) => output.includes('Another setup is fetching')).length, 1);
  });

  it('takes nothing half done for complete', async () => {
    scratch.write('libtorch/2.13.0-cpu/libtorch/lib/libtorch_cpu.so', 'half');
    scratch.write('libtorch/2.13.0-cpu/libtorch/include/torch/script.h', '');
    scratch.write('libtorch/2.13.0-cpu/libtorch/build-version', '2.13.0+cpu');
    scratch.write('libtorch/.2.13.0-cpu.partial-1/libtorch/x', 'left by a killed process');
    const { root } = await fetchLibtorch(request());
    assert.notEqual(readFileSync(path.join(root, 'lib/libtorch_cpu.so'), 'utf8'), 'half');
    assert.deepEqual(readdirSync(cache()).sort(), ['2.13.0-cpu', 'downloads']);
  });

  it('refuses a damaged archive and deletes it', async () => {
    server.body = Buffer.from(zip);
    server.body.writeUInt8(1, 200_000);
    await assert.rejects(fetchLibtorch(request()), {
      message: /the checksum of libtorch\/lib\/libtorch_cpu.so does not fit\nWhat was downloaded is deleted/,
    });
    assertNothingLeft();
    assert.deepEqual(readdirSync(path.join(cache(), 'downloads')), []);
  });

  it('downloads whole, once more, when an archive put together from two connections is damaged', async () => {
    mkdirSync(path.join(cache(), 'downloads'), { recursive: true });
    scratch.write('libtorch/downloads/libtorch-shared-with-deps-2.13.0+cpu.zip.part', Buffer.alloc(1000, 1));
    const url = `${server.base}/cpu/libtorch-shared-with-deps-2.13.0%2Bcpu.zip`;
    scratch.write(
      'libtorch/downloads/libtorch-shared-with-deps-2.13.0+cpu.zip.part.json',
      JSON.stringify({ url, validator: '"one"' }),
    );
    await fetchLibtorch(request());
    assert.deepEqual(server.ranges, ['bytes=1000-', 'none']);
  });

  it('checks NODE_DIFFUSERS_LIBTORCH_SHA256', async () => {
    const right = createHash('sha256').update(zip).digest('hex');
    const wrong = '0'.repeat(64);
    await assert.rejects(fetchLibtorch(request({ NODE_DIFFUSERS_LIBTORCH_SHA256: wrong })), {
      message: new RegExp(`has the SHA-256 ${right}, NODE_DIFFUSERS_LIBTORCH_SHA256 wants ${wrong}`),
    });
    assertNothingLeft();
    await fetchLibtorch(request({ NODE_DIFFUSERS_LIBTORCH_SHA256: right.toUpperCase() }));
  });

  it('refuses an archive of another version, or of no libtorch at all', async () => {
    server.body = makeZip(libtorchEntries('libtorch', '2.12.0'));
    await assert.rejects(fetchLibtorch(request()), { message: /holds torch 2\.12\.0, not 2\.13\.0/ });
    server.body = makeZip([{ name: 'README', data: 'moved' }]);
    server.etag = '"two"';
    await assert.rejects(fetchLibtorch(request()), { message: /holds no libtorch/ });
    assertNothingLeft();
  });

  it('names the cache folder it may not write', async () => {
    const blocked = scratch.write('file', '');
    await assert.rejects(fetchLibtorch(request({ NODE_DIFFUSERS_CACHE: blocked })), {
      message: /can't write the cache folder .*NODE_DIFFUSERS_CACHE/,
    });
  });

  describe('from the torch wheel through pip', () => {
    /** A Python whose pip copies wheels out of a folder and notes what it was asked. */
    const python = (wheels: Record<string, Buffer>, accepts: string) => {
      for (const [name, data] of Object.entries(wheels)) scratch.write(`wheels/${name}`, data);
      return scratch.write(
        'python3',
        `#!/bin/sh
if [ "$1" = -c ]; then exit 0; fi
echo "$@" >> "${scratch.folder}/pip.log"
if [ "$3" = --version ]; then exit 0; fi
while [ $# -gt 0 ]; do
  if [ "$1" = -d ]; then out="$2"; fi
  case "$1" in
    ${accepts}) cp "${scratch.folder}"/wheels/torch-* "$out"; found=1;;
    nvidia-*) cp "${scratch.folder}"/wheels/nvidia* "$out"; found=1;;
  esac
  shift
done
if [ "$found" = 1 ]; then exit 0; fi
echo "ERROR: No matching distribution found"
exit 1
`,
        0o755,
      );
    };
    const name = 'torch-2.13.0-cp311-cp311-linux_x86_64.whl';
    beforeEach(() => {
      server.status = 404;
    });

    it('unpacks the C++ part only, checked against RECORD, and runs none of its Python', async () => {
      const PYTHON = python({ [name]: torchWheel('2.13.0') }, 'torch==2.13.0+cpu');
      const found = await fetchLibtorch(request({ PYTHON }));
      assert.equal(found.root, path.join(entry(), 'torch'));
      assert.equal(existsSync(path.join(found.root, '__init__.py')), false);
      assert.deepEqual(readdirSync(found.root).sort(), ['include', 'lib', 'share', 'version.py']);
      assert.match(
        readFileSync(path.join(scratch.folder, 'pip.log'), 'utf8'),
        /download --no-deps --only-binary=:all: .* torch==2\.13\.0\+cpu$/m,
      );
      assert.deepEqual(readdirSync(path.join(cache(), 'downloads')), []);
    });

    it('refuses a wheel that was changed', async () => {
      const PYTHON = python(
        { [name]: torchWheel('2.13.0', 'None', 'torch/include/torch/script.h') },
        'torch==2.13.0+cpu',
      );
      await assert.rejects(fetchLibtorch(request({ PYTHON })), {
        message: /script\.h is not what the archive's RECORD says/,
      });
      assertNothingLeft();
    });

    it('does not take a CUDA build for the cpu variant', async () => {
      const PYTHON = python({ [name]: torchWheel('2.13.0', "'13.0'") }, 'torch==2.13.0');
      await assert.rejects(fetchLibtorch(request({ PYTHON })), (error: Error) => {
        assert.match(error.message, /libtorch 2\.13\.0 \(cpu\) can't be fetched/);
        assert.match(error.message, /the server answered 404/);
        assert.match(error.message, /the wheel is torch 2\.13\.0 \(cu130\)/);
        assert.match(error.message, /HTTPS_PROXY.*NODE_DIFFUSERS_MIRROR.*LIBTORCH/s);
        return true;
      });
      assertNothingLeft();
    });

    it('puts the nvidia libraries beside torch for a CUDA variant', async () => {
      const cuda = wheel('nvidia_fake_runtime-13.0', [{ name: 'nvidia/cu13/lib/libcudart.so.13', data: 'so' }], []);
      const PYTHON = python(
        { [name]: torchWheel('2.13.0', "'13.0'"), 'nvidia_fake_runtime-13.0-py3-none-any.whl': cuda },
        'torch==2.13.0+cu130',
      );
      const found = await fetchLibtorch(request({ PYTHON }, '2.13.0', 'cu130'));
      assert.equal(found.variant, 'cu130');
      assert.equal(readFileSync(path.join(found.root, '../nvidia/cu13/lib/libcudart.so.13'), 'utf8'), 'so');
    });

    it('says what to install when there is no Python, or no pip', async () => {
      await assert.rejects(fetchLibtorch(request()), {
        message: /there is no python3 on the PATH.*Install Python 3 with pip/s,
      });
      const PYTHON = scratch.write('nopip', '#!/bin/sh\n[ "$1" = -c ]\n', 0o755);
      await assert.rejects(fetchLibtorch(request({ PYTHON })), {
        message: /the torch wheel needs pip, and .*nopip has none/,
      });
    });
  });
});
