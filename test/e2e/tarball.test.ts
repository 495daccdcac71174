import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import type { BuildInfo } from '../../ts/native/build-info';

const MINUTE = 60_000;

/** What a user's two programs print: classes compared, the first numbers of a seed, and a step of DDIM. */
const PROGRAM = `
const x = randn([2, 3], { generator: new Generator({ seed: 0 }) });
const scheduler = new DDIMScheduler();
scheduler.setTimesteps(10);
const { prevSample } = scheduler.step(x, 901, x);
console.log(JSON.stringify([x instanceof Tensor, x.tolist(), prevSample.shape]));`;
const NAMES = '{ DDIMScheduler, Generator, Tensor, randn }';

/** torch.randn(2, 3, generator=torch.Generator().manual_seed(0)) */
const EXPECTED = [
  [1.540996, -0.2934289, -2.1787894],
  [0.5684313, -1.0845224, -1.3985955],
];

describe('e2e/tarball', function () {
  // A build without ccache takes its time; with it the whole suite takes about a minute.
  this.timeout(15 * MINUTE);
  this.slow(MINUTE);
  let folder: string;
  let tarball: string;
  let env: NodeJS.ProcessEnv;

  const exec = (command: string, args: string[], cwd: string, environment: NodeJS.ProcessEnv) =>
    spawnSync(command, args, { cwd, encoding: 'utf8', env: environment });
  const inFolder = (command: string, ...args: string[]) => exec(command, args, path.join(folder, 'user'), env);
  const ok = (child: ReturnType<typeof exec>) => {
    assert.equal(child.status, 0, `${child.stdout}\n${child.stderr}`);
    return child.stdout;
  };
  const installed = (...parts: string[]) => path.join(folder, 'user', 'node_modules', 'node-diffusers', ...parts);

  before(() => {
    folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'node-diffusers-tarball-')));
    for (const name of ['home', 'user', 'pack']) mkdirSync(path.join(folder, name));
    const info = JSON.parse(readFileSync('build/Release/build-info.json', 'utf8')) as BuildInfo & {
      libtorchInclude?: string;
    };
    const npmCache = exec('npm', ['config', 'get', 'cache'], '.', process.env).stdout.trim();
    const ccaches = [
      process.env['CCACHE_DIR'],
      path.join(homedir(), '.ccache'),
      path.join(homedir(), '.cache', 'ccache'),
    ];
    const ccache = ccaches.find((candidate) => candidate !== undefined && existsSync(candidate));
    const inherited = Object.entries(process.env).filter(([key]) => !/^(npm_|LIBTORCH|NODE_DIFFUSERS|XDG_)/.test(key));
    env = {
      ...Object.fromEntries(inherited),
      HOME: path.join(folder, 'home'),
      npm_config_cache: npmCache,
      // The libtorch that this clone is built against, so that nothing is downloaded again.
      LIBTORCH: info.libtorchRoot,
      LIBTORCH_LIB: info.libtorchLib,
      ...(ccache === undefined ? {} : { CCACHE_DIR: ccache }),
    };
    const packed = exec('npm', ['pack', '--json', '--pack-destination', path.join(folder, 'pack')], '.', process.env);
    const [entry] = JSON.parse(ok(packed)) as { filename: string }[];
    tarball = path.join(folder, 'pack', entry?.filename ?? '');
    writeFileSync(
      path.join(folder, 'user', 'package.json'),
      '{ "name": "user", "version": "1.0.0", "private": true }\n',
    );
    ok(inFolder('npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('holds what setup and the package need, and no sources of tests', () => {
    const needed = [
      ...['dist/index.js', 'dist/index.mjs', 'dist/index.d.ts', 'dist/index.d.mts', 'dist/cli/main.js'],
      ...[
        'CMakeLists.txt',
        'binding.gyp',
        'native/binding/addon.cpp',
        'scripts/build/setup.mjs',
        'README.md',
        'LICENSE',
      ],
    ];
    assert.deepEqual(
      needed.filter((name) => !existsSync(installed(name))),
      [],
    );
    const unwanted = ['test', 'ts', 'build', 'node_modules/.cache', 'scripts/build/test-stages.mjs', 'scripts/parity'];
    assert.deepEqual(
      unwanted.filter((name) => existsSync(installed(name))),
      [],
    );
  });

  it('passes publint and attw', () => {
    const bin = (name: string) => path.resolve('node_modules', '.bin', name);
    ok(exec(bin('publint'), ['run', tarball, '--strict'], folder, process.env));
    ok(exec(bin('attw'), [tarball, '--format', 'ascii'], folder, process.env));
  });

  it('says which command sets it up before it is', () => {
    const code = "require('node-diffusers').zeros([1])";
    const child = inFolder(
      process.execPath,
      '-e',
      `try { ${code} } catch (error) { console.log(error.code, error.message) }`,
    );
    assert.match(ok(child), /^ERR_LIBTORCH the native addon is not built yet.*Run npx node-diffusers setup/);
    const doctor = inFolder('npx', '--no-install', 'node-diffusers', 'doctor');
    assert.equal(doctor.status, 1);
    assert.match(doctor.stdout, /^✗ addon {10}not built/m);
  });

  it('works after setup, the same for import and require', () => {
    const setup = ok(inFolder('npx', '--no-install', 'node-diffusers', 'setup'));
    assert.match(setup, /^torch 2\.\d+\.\d+ \(\w+\) in .*, addon built in \d+ s: .*node_diffusers\.node\n$/);
    assert.match(ok(inFolder('npx', '--no-install', 'node-diffusers', 'setup')), /addon up to date/);

    writeFileSync(path.join(folder, 'user', 'program.mjs'), `import ${NAMES} from 'node-diffusers';${PROGRAM}`);
    writeFileSync(path.join(folder, 'user', 'program.cjs'), `const ${NAMES} = require('node-diffusers');${PROGRAM}`);
    for (const program of ['program.mjs', 'program.cjs']) {
      const [isTensor, numbers, shape] = JSON.parse(ok(inFolder(process.execPath, program))) as [
        boolean,
        number[][],
        number[],
      ];
      assert.equal(isTensor, true);
      assert.deepEqual(shape, [2, 3]);
      const differences = numbers.flat().map((number, i) => Math.abs(number - (EXPECTED.flat()[i] ?? Number.NaN)));
      assert.ok(Math.max(...differences) < 1e-6, `${program}: ${JSON.stringify(numbers)}`);
    }
    const same = `import { Tensor } from 'node-diffusers'; import { createRequire } from 'node:module';
      console.log(Tensor === createRequire(import.meta.url)('node-diffusers').Tensor);`;
    writeFileSync(path.join(folder, 'user', 'same.mjs'), same);
    assert.equal(ok(inFolder(process.execPath, 'same.mjs')), 'true\n');
  });

  it('says in doctor that all is there', () => {
    const doctor = inFolder('npx', '--no-install', 'node-diffusers', 'doctor', '--json');
    assert.equal((JSON.parse(ok(doctor)) as { ok: boolean }).ok, true);
  });
});
