import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import sharp from 'sharp';

const EXAMPLES = join(__dirname, '../../scripts/examples');
const TSX = require.resolve('tsx');

/** What an example is run with, after its folder, and what it must do. */
interface Example {
  readonly args?: readonly string[];
  readonly stdout: RegExp;
  /** The images it writes: width and height. */
  readonly images: Readonly<Record<string, readonly [number, number]>>;
}

/** The size of a grid of 32×32 images, 2 pixels around each. */
const grid = (columns: number, rows: number) => [columns * 34 + 2, rows * 34 + 2] as const;
const one = [32, 32] as const;

const CASES: Readonly<Record<string, Example>> = {
  cancel: { args: ['200'], stdout: /^ERR_ABORTED after \d+ of 1000 steps: TimeoutError\n$/, images: { 'cancel.png': one } },
  ddpm: { args: ['4'], stdout: /^step 4 of 4\n$/, images: { 'ddpm.png': grid(4, 1) } },
  'free-jumps': {
    stdout: /^after one jump from 999: to 899, std [\d.]+; .*to -1, std [\d.]+\n$/,
    images: { 'free-jumps.png': grid(6, 3) },
  },
  img2img: { stdout: /^$/, images: { 'img2img.png': grid(6, 4) } },
  interpolate: { args: ['2'], stdout: /^$/, images: { 'interpolate.png': grid(8, 4) } },
  invert: {
    args: ['10'],
    stdout: /^noise: mean \S+, std \S+\nRMS distance of the image drawn again: 0\.\d{4} of a range of 2\n$/,
    images: { 'invert.png': grid(4, 3) },
  },
  porting: { args: ['5'], stdout: /^mean -0\.\d{4}, std 0\.\d{4}\n$/, images: { 'porting.png': one } },
  preview: {
    args: ['3'],
    stdout: /^step 0, timestep 666\nstep 1, timestep 333\nstep 2, timestep 0\n$/,
    images: { 'preview-0.png': one, 'preview-1.png': one, 'preview-2.png': one, 'preview.png': grid(4, 1) },
  },
  'previous-timestep-rule': {
    args: ['1', '10'],
    stdout: /^\| steps \| 'stride' \| 'schedule' \| .*\n.*\n(\| (5|10|20|50)( \| 0\.\d{4}){4} \|\n){4}$/,
    images: { 'previous-timestep-rule.png': grid(1, 3) },
  },
  quickstart: {
    args: ['4'],
    stdout: /quickstart\.png\n$/,
    images: {
      'quickstart.png': grid(2, 2),
      'quickstart-0.webp': one,
      'quickstart-1.webp': one,
      'quickstart-2.webp': one,
      'quickstart-3.webp': one,
    },
  },
  engine: {
    stdout: /^seed 1: 10\/20\nseed 1: 20\/20\n150 steps of 6 images in \d+ batches\n$/,
    images: { 'engine.png': [104, 70] },
  },
  torchscript: {
    args: ['4'],
    stdout: /^takes sample: Tensor\ntakes timestep: Tensor\ngives float32 \[2, 1, 32, 32\]\n$/,
    images: { 'torchscript.png': one },
  },
  unet: {
    args: ['2'],
    stdout: /^gives float32 \[2, 1, 32, 32\]\ncopy is bfloat16 on cpu\n$/,
    images: { 'class-3.png': one },
  },
};

/** Those with a test of their own. */
const SERVER = 'server';

function start(name: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['--import', TSX, join(EXAMPLES, `${name}.ts`), ...args], {
    env: { ...process.env, HF_HUB_OFFLINE: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
  const ended = once(child, 'close').then(([status]) => ({ status: status as number | null, ...output }));
  return { child, ended };
}

describe('examples', function () {
  this.timeout(60_000);
  let out: string;
  beforeEach(async () => {
    out = await mkdtemp(join(tmpdir(), 'examples-'));
  });
  afterEach(() => rm(out, { recursive: true, force: true }));

  it('are all run here', async () => {
    const files = (await readdir(EXAMPLES)).map((file) => basename(file, '.ts')).sort();
    assert.deepEqual(files, [...Object.keys(CASES), SERVER].sort());
  });

  for (const [name, { args = [], stdout, images }] of Object.entries(CASES)) {
    it(`${name} ends well, with its images`, async () => {
      const ended = await start(name, [out, ...args]).ended;
      assert.deepEqual([ended.status, ended.stderr], [0, '']);
      assert.match(ended.stdout, stdout);
      const files = (await readdir(out, { withFileTypes: true })).filter((entry) => entry.isFile());
      assert.deepEqual(files.map((file) => file.name).sort(), Object.keys(images).sort());
      for (const [file, size] of Object.entries(images)) {
        const { data, info } = await sharp(join(out, file)).toColourspace('b-w').raw().toBuffer({ resolveWithObject: true });
        assert.deepEqual([info.width, info.height], size, file);
        assert.ok(new Set(data).size > 20, `${file} has ${new Set(data).size} grey levels only`);
      }
    });
  }

  it('server gives the image of a seed, refuses what it must, and ends after its requests', async () => {
    const { child, ended } = start(SERVER, [], { PORT: '0', REQUESTS: '5' });
    try {
      const [address] = (await Promise.race([
        once(child.stdout, 'data'),
        ended.then(({ stderr }) => assert.fail(stderr)),
      ])) as [string];
      assert.match(address, /^http:\/\/localhost:\d+\n$/);
      const post = (path: string) => fetch(`${address.trim()}${path}`, { method: 'POST', headers: { connection: 'close' } });
      const [first, second, again, wrong, nowhere] = await Promise.all(
        ['/image?seed=1', '/image?seed=2', '/image?seed=1', '/image?seed=x', '/nothing'].map(post),
      );
      assert.deepEqual([first!.status, first!.headers.get('content-type')], [200, 'image/png']);
      const pixels = async (response: Response) => sharp(Buffer.from(await response.arrayBuffer())).raw().toBuffer();
      const images = [await pixels(first!), await pixels(second!), await pixels(again!)] as const;
      assert.deepEqual(images[0], images[2]);
      assert.notDeepEqual(images[0], images[1]);
      assert.equal(wrong!.status, 400);
      assert.match(await wrong!.text(), /^seed must be an integer, .* got NaN\n$/);
      assert.equal(nowhere!.status, 404);
      assert.deepEqual(await ended, { status: 0, stdout: address, stderr: '' });
    } finally {
      child.kill();
    }
  });
});
