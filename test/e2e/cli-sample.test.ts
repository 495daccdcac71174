import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { UNet2DModel } from '../../ts/index';
import { FakeHub } from '../unit/hub/fake-hub';
import { runCli, startCli } from './cli-process';

const EMBEDDED_MODEL = join(__dirname, '../../models/fashion-mnist-ddpm');

describe('node-diffusers sample', function () {
  this.timeout(120_000);
  let cwd: string;
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'cli-sample-'));
  });
  afterEach(() => rm(cwd, { recursive: true, force: true }));

  const sample = (line: string) => runCli(['sample', ...line.split(' ')], { cwd });
  const succeeds = async (line: string) => {
    const ended = await sample(line);
    assert.equal(ended.status, 0, ended.stderr);
    return ended;
  };
  const pixels = async (file: string) =>
    new Uint8Array(await sharp(join(cwd, file)).toColourspace('b-w').raw().toBuffer());
  const largestDifference = (a: Uint8Array, b: Uint8Array) => {
    assert.equal(a.length, b.length);
    return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
  };

  it('draws a grid and prints the path, the time and images per second', async () => {
    const { stdout, stderr } = await succeeds('--steps 4 --count 5 --grid new/grid.png');
    assert.match(
      stdout,
      /^new\/grid\.png\n5 images in [\d.]+ s, [\d.]+ images\/s \(DDIM, eta 0, 4 steps, seeds 0 … 4, cpu\)\n$/,
    );
    assert.match(stderr, /^loaded the embedded model in .*; drawing 5 images in 4 steps\n(\d+% \|[^\n]*\n)*$/); // a slow machine tells how far it is
    const { width, height, channels } = await sharp(join(cwd, 'new/grid.png')).metadata();
    assert.deepEqual([width, height, channels], [3 * 34 + 2, 2 * 34 + 2, 1]);
    assert.deepEqual(await readdir(cwd, { recursive: true }), ['new', 'new/grid.png']);
  });

  it('draws into samples.png by default, replaces it, and is silent with --quiet', async () => {
    await writeFile(join(cwd, 'samples.png'), 'old');
    const { stdout, stderr } = await succeeds('--steps 2 --count 2 --quiet');
    assert.deepEqual([stdout, stderr], ['samples.png\n', '']);
    assert.equal((await sharp(join(cwd, 'samples.png')).metadata()).width, 2 * 34 + 2);
  });

  it('gives image i the seed S + i, whatever the batch', async () => {
    await succeeds('--steps 5 --eta 0.5 --seed 7 --count 3 --batch 3 --out together');
    await succeeds('--steps 5 --eta 0.5 --seed 7 --count 3 --batch 2 --out apart');
    await succeeds('--steps 5 --eta 0.5 --seed 9 --count 1 --out alone');
    assert.deepEqual((await readdir(join(cwd, 'together'))).sort(), ['7.png', '8.png', '9.png']);
    for (const name of ['7.png', '8.png', '9.png']) {
      // Another batch sums in another order: a float may round to the next byte.
      assert.ok(largestDifference(await pixels(`together/${name}`), await pixels(`apart/${name}`)) <= 1);
    }
    assert.ok(largestDifference(await pixels('together/9.png'), await pixels('alone/9.png')) <= 1);
    assert.ok(largestDifference(await pixels('together/7.png'), await pixels('together/8.png')) > 50);
  });

  it('draws with DDPM, with a list of timesteps, with another spacing', async () => {
    await succeeds('--scheduler ddpm --steps 3 --count 1 --out ddpm --format webp');
    assert.deepEqual(await readdir(join(cwd, 'ddpm')), ['0.webp']);
    const { stdout } = await succeeds('--timesteps 999,500,250,0 --count 1 --out list');
    assert.match(stdout, /4 steps, seed 0,/);
    await succeeds('--steps 4 --spacing quadratic --count 1 --out quadratic');
    await succeeds('--steps 4 --count 1 --out leading');
    assert.ok(largestDifference(await pixels('quadratic/0.png'), await pixels('leading/0.png')) > 0);
  });

  it('runs a TorchScript file by itself as it runs in its folder, and as its weights do', async () => {
    const file = join(__dirname, '../fixtures/torchscript/tiny-grey.pt');
    await succeeds(`--model ${file} --steps 4 --count 1 --out file`);
    await cp(join(EMBEDDED_MODEL, 'scheduler'), join(cwd, 'pipeline/scheduler'), { recursive: true });
    await cp(file, join(cwd, 'pipeline/unet/unet.pt'));
    await succeeds('--model pipeline --steps 4 --count 1 --out folder');
    assert.deepEqual(await pixels('file/0.png'), await pixels('folder/0.png'));
    const unet = await UNet2DModel.fromTorchScript(file);
    await unet.savePretrained(join(cwd, 'pipeline/unet'));
    await succeeds('--model pipeline --steps 4 --count 1 --out native');
    assert.ok(largestDifference(await pixels('native/0.png'), await pixels('file/0.png')) <= 1);
    await succeeds('--model pipeline/unet/diffusion_pytorch_model.safetensors --steps 4 --count 1 --out weights');
    assert.deepEqual(await pixels('weights/0.png'), await pixels('native/0.png'));
  });

  it('draws a class, guided or not', async () => {
    const unet = UNet2DModel.fromConfig(
      { sampleSize: 8, inChannels: 1, outChannels: 1, numClassEmbeds: 4, normNumGroups: 4, layersPerBlock: 1, blockOutChannels: [8],
        downBlockTypes: ['DownBlock2D'], upBlockTypes: ['UpBlock2D'], addAttention: false },
    ); // prettier-ignore
    await unet.savePretrained(join(cwd, 'classes/unet'));
    await cp(join(EMBEDDED_MODEL, 'scheduler'), join(cwd, 'classes/scheduler'), { recursive: true });
    const drawn = async (line: string, name: string) => {
      await succeeds(`--model classes --steps 3 --count 1 --out ${name} ${line}`);
      return pixels(`${name}/0.png`);
    };
    const plain = await drawn('--class 1', 'plain');
    assert.deepEqual(await drawn('--class 1 --guidance-scale 1', 'one'), plain);
    assert.notDeepEqual(await drawn('--class 1 --guidance-scale 6', 'six'), plain);
    for (const [line, message] of [
      ['--class 4', /^node-diffusers: --class must be an integer in 0 … 3 for this model, got 4;/],
      ['--steps 2', /^node-diffusers: --class must be an integer in 0 … 3 for this model, got none;/],
      ['--guidance-scale 3', /^node-diffusers: --guidance-scale goes with --class;/],
      ['--class 1 --guidance-scale 0.5', /^node-diffusers: --guidance-scale must be a number from 1 up, got "0\.5";/],
      ['--class 1 --variant ../x', /^node-diffusers: --variant must be a word such as fp16, got/],
    ] as const) {
      const { status, stderr } = await sample(`--model classes ${line}`);
      assert.deepEqual([status, message.test(stderr)], [2, true], stderr);
    }
  });

  it('draws from a hub repository, and offline from the cache', async () => {
    const files = ['model_index.json', 'scheduler/scheduler_config.json', 'unet/config.json', 'unet/diffusion_pytorch_model.safetensors'];
    const hub = new FakeHub(
      'someone/clothes',
      await Promise.all(
        files.map(async (path) => ({
          path,
          content: await readFile(join(EMBEDDED_MODEL, path)),
          lfs: path.endsWith('.safetensors'),
        })),
      ),
    );
    const env = { HF_ENDPOINT: await hub.start(), HF_HOME: join(cwd, 'home'), NO_PROXY: '127.0.0.1' };
    const args = ['sample', '--model', 'someone/clothes', '--steps', '2', '--count', '1', '--out'];
    const online = await runCli([...args, 'online'], { cwd, env: { ...env, HF_HUB_OFFLINE: '0' } });
    assert.equal(online.status, 0, online.stderr);
    await hub.stop();
    const offline = await runCli([...args, 'offline'], { cwd, env });
    assert.equal(offline.status, 0, offline.stderr);
    assert.deepEqual(await pixels('offline/0.png'), await pixels('online/0.png'));
  });

  it('keeps images that are there, unless told otherwise', async () => {
    await succeeds('--steps 2 --count 2 --out images');
    const before = await stat(join(cwd, 'images/1.png'));
    const { status, stderr } = await sample('--steps 2 --seed 1 --count 2 --out images');
    assert.deepEqual([status, stderr], [1, 'node-diffusers: images/1.png exists already; --overwrite replaces it\n']);
    assert.deepEqual((await readdir(join(cwd, 'images'))).sort(), ['0.png', '1.png']);
    assert.equal((await stat(join(cwd, 'images/1.png'))).mtimeMs, before.mtimeMs);
    await succeeds('--steps 2 --seed 1 --count 2 --out images --overwrite');
    assert.deepEqual((await readdir(join(cwd, 'images'))).sort(), ['0.png', '1.png', '2.png']);
  });

  it('says before any work what it can not do', async () => {
    await writeFile(join(cwd, 'file'), '');
    const failures: [string, number, RegExp][] = [
      ['--model ./none', 1, /^\.\/none is neither a folder \(looked at .*none\) nor the name of a hub repository/],
      ['--model nobody/nothing', 1, /^nobody\/nothing is neither a folder .* HF_HUB_OFFLINE forbids asking/],
      ['--model file', 1, /file/],
      ['--out file', 1, /^can't write file: /],
      ['--grid file/x.png', 1, /^can't write file: /],
      ['--steps 1001', 2, /^--steps must be an integer in 1 … 1000 for this model, got 1001; see --help$/],
      ['--timesteps 1000,1', 2, /^--timesteps must be below 1000 for this model, got 1000; see --help$/],
      ['--class 1', 2, /^--class goes with a class-conditional model, got one without classes; see --help$/],
      ['--count 300000', 2, /^--count must fit a grid of at most 16383 pixels a side/],
    ];
    for (const [line, status, message] of failures) {
      const ended = await sample(line);
      assert.equal(ended.stdout, '', line);
      assert.match(ended.stderr, /^node-diffusers: [^\n]*\n$/, line);
      assert.match(ended.stderr.trim().replace('node-diffusers: ', ''), message);
      assert.equal(ended.status, status, line);
    }
    assert.deepEqual(await readdir(cwd), ['file']);
  });

  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`ends at ${signal} after the step, with status ${status} and no half image`, async () => {
      const args = ['sample', '--scheduler', 'ddpm', '--steps', '1000', '--count', '16', '--grid', 'grid.png'];
      const { child, ended, stderrHas } = startCli(args, { cwd });
      await stderrHas('drawing 16 images');
      child.kill(signal);
      const { status: got, stdout, stderr } = await ended;
      assert.match(stderr, new RegExp(`node-diffusers: cancelled by ${signal}\\n$`));
      assert.deepEqual([got, stdout], [status, '']);
      assert.deepEqual(await readdir(cwd), []);
    });
  }
});
