import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { BatchJob } from '../../ts/index';
import { bytesOf, imagesIn, jobsOf, recordsOf, toJsonl } from '../unit/engine/batch-helpers';
import { runCli, startCli, type CliOptions } from './cli-process';

describe('node-diffusers batch', function () {
  this.timeout(180_000);
  let cwd: string;
  let out: string;
  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), 'cli-batch-'));
    out = join(cwd, 'out');
  });
  afterEach(() => rm(cwd, { recursive: true, force: true }));

  const write = (jobs: readonly BatchJob[], name = 'jobs.jsonl') => writeFile(join(cwd, name), toJsonl(jobs));
  const args = (line: string) => ['batch', ...line.split(' ')];
  const run = (line: string, options: Partial<CliOptions> = {}) => runCli(args(line), { cwd, ...options });
  const succeeds = async (line: string) => {
    const ended = await run(line);
    assert.equal(ended.status, 0, ended.stderr);
    return ended;
  };
  const manifest = (name = 'manifest.jsonl') => recordsOf(join(out, name));

  /** How many images the manifest has; its last line may be half written. */
  const recorded = async () => (await readFile(join(out, 'manifest.jsonl'), 'utf8').catch(() => '')).split('"record":"image"').length - 1;
  const untilRecorded = async (count: number) => {
    while ((await recorded()) < count) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  /** What must hold whenever a run has ended, however: each record's image is there, whole, and each line's only once. */
  async function checkFolder(folder = out): Promise<number> {
    const { images } = await recordsOf(join(folder, 'manifest.jsonl'));
    for (const { file, sha256 } of images) {
      assert.equal(createHash('sha256').update(await readFile(join(folder, file))).digest('hex'), sha256);
    }
    for (const file of await imagesIn(folder)) assert.equal((await sharp(join(folder, file)).raw().toBuffer()).length % 1024, 0, file);
    assert.equal(new Set(images.map(({ id }) => id)).size, images.length);
    return images.length;
  }

  it('draws each line into a file, and says what it did', async () => {
    await write(jobsOf(5));
    const { stdout, stderr } = await succeeds('jobs.jsonl --out out');
    assert.match(stdout, /^out\/manifest\.jsonl\n5 images in [\d.]+ s, [\d.]+ images\/s; 0 kept, 0 failed\n$/);
    assert.match(stderr, /^loaded the embedded model in [^\n]*\n(\d+% \|[^\n]*\n)*$/); // a slow machine tells how far it is
    assert.equal(await checkFolder(), 5);
    assert.deepEqual((await readdir(out)).sort(), ['manifest.jsonl', 'r1.png', 'r2.png', 'r3.png', 'r4.png', 'r5.png']);
    const { runs } = await manifest();
    assert.equal(runs[0]!.weights!.file, 'diffusion_pytorch_model.safetensors');
    const again = await succeeds('jobs.jsonl --out out --quiet');
    assert.deepEqual([again.stdout, again.stderr], ['out/manifest.jsonl\n', '']);
    const { stdout: json } = await succeeds('jobs.jsonl --out out --json');
    const { seconds, ...summary } = JSON.parse(json) as Record<string, unknown>;
    assert.equal(typeof seconds, 'number');
    assert.deepEqual(summary, { manifest: 'out/manifest.jsonl', drawn: 0, kept: 5, failed: 0 });
  });

  it("draws what sample draws, with the command's options for what lines leave out", async () => {
    await write([{ id: '7', seed: 7 }, { id: '8', seed: 8, scheduler: 'ddim' }]);
    await succeeds('jobs.jsonl --out out --steps 3 --eta 0.5 --spacing trailing --format webp --batch 1');
    const { status } = await runCli('sample --steps 3 --eta 0.5 --spacing trailing --seed 7 --count 2 --batch 1 --out sample --format png'.split(' '), { cwd });
    assert.equal(status, 0);
    const { images, runs } = await manifest();
    assert.deepEqual(images[0]!.options, { scheduler: 'ddim', numInferenceSteps: 3, eta: 0.5, rng: 'torch' });
    assert.deepEqual([runs[0]!.format, runs[0]!.schedulers.ddim!['timestep_spacing']], ['webp', 'trailing']);
    for (const name of ['7', '8']) {
      const [a, b] = await Promise.all([join(out, `${name}.webp`), join(cwd, `sample/${name}.png`)].map((file) => sharp(file).toColourspace('b-w').raw().toBuffer()));
      const difference = a!.reduce((sum, value, i) => sum + Math.abs(value - b![i]!), 0) / a!.length;
      assert.ok(difference < 8, `${difference}`); // WebP is lossy
    }
  });

  it('ends with status 1 where lines failed, naming them, and tries those again', async () => {
    await write(jobsOf(2));
    await appendFile(join(cwd, 'jobs.jsonl'), '{"id":"x","seed":1,\u001b[31m\n{"id":"r1"}\n{"id":"y","numInferenceStep":3}\n');
    const { status, stdout, stderr } = await run('jobs.jsonl --out out');
    assert.equal(status, 1);
    assert.match(stdout, /; 0 kept, 3 failed\n$/);
    const lines = stderr.trim().split('\n').slice(1).sort();
    assert.deepEqual(lines.slice(1), [
      'line 4: id must be of one line only, got "r1", which line 1 has',
      'line 5: unknown option "numInferenceStep"; did you mean numInferenceSteps?',
    ]);
    assert.match(lines[0]!, /^line 3: it is not JSON \(at position 19\), got "\{\\"id\\":\\"x\\",\\"seed\\":1,\\u001b\[31m"$/);
    await write([...jobsOf(2), { id: 'x', numInferenceSteps: 1 }]);
    assert.match((await succeeds('jobs.jsonl --out out')).stdout, /1 image in .*; 2 kept, 0 failed\n$/);
  });

  it('is killed at any moment, and goes on', async () => {
    const jobs = jobsOf(60).map((job) => ({ ...job, numInferenceSteps: 6 }));
    await write(jobs);
    let done = 0;
    for (const more of [3, 10]) {
      const { child, ended } = startCli(args('jobs.jsonl --out out --batch 4'), { cwd });
      await untilRecorded(done + more);
      child.kill('SIGKILL');
      await ended;
      // A line that was being written may be torn; whatever is whole, is true.
      const text = await readFile(join(out, 'manifest.jsonl'), 'utf8');
      await writeFile(join(out, 'manifest.jsonl'), text.slice(0, text.lastIndexOf('\n') + 1) + text.slice(0, 100));
      done = await recorded();
      assert.ok(done < 60);
    }
    const { stdout } = await succeeds('jobs.jsonl --out out');
    assert.match(stdout, new RegExp(`^out/manifest\\.jsonl\n${60 - done} images .*; ${done} kept, 0 failed\n$`));
    assert.equal(await checkFolder(), 60);
    assert.equal((await readdir(out)).length, 61);
    await succeeds('jobs.jsonl --out whole');
    assert.deepEqual([...(await bytesOf(out)).keys()], [...(await bytesOf(join(cwd, 'whole'))).keys()]);
  });

  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`ends at ${signal} after the step, with status ${status} and nothing half written`, async () => {
      await write([...jobsOf(4), ...jobsOf(8).map((job) => ({ ...job, id: `slow-${job.id}`, numInferenceSteps: 1000 }))]);
      const { child, ended } = startCli(args('jobs.jsonl --out out'), { cwd });
      await untilRecorded(4);
      child.kill(signal);
      const { status: got, stdout, stderr } = await ended;
      assert.match(stderr, new RegExp(`node-diffusers: cancelled by ${signal}\\n$`));
      assert.deepEqual([got, stdout], [status, '']);
      assert.equal(await checkFolder(), 4);
      assert.deepEqual((await readdir(out)).sort(), ['manifest.jsonl', 'r1.png', 'r2.png', 'r3.png', 'r4.png']);
      assert.deepEqual((await manifest()).failures, []);
    });
  }

  it('lets no second run at a manifest', async () => {
    await write(jobsOf(4).map((job) => ({ ...job, numInferenceSteps: 1000 })));
    const { child, ended } = startCli(args('jobs.jsonl --out out'), { cwd });
    while (!(await readdir(out).catch(() => [] as string[])).includes('manifest.jsonl.lock')) await new Promise((resolve) => setTimeout(resolve, 10));
    const second = await run('jobs.jsonl --out out');
    assert.deepEqual([second.status, second.stderr.split('\n')[1]], [1, 'node-diffusers: out/manifest.jsonl is in use by another run']);
    child.kill('SIGTERM');
    assert.equal((await ended).status, 143);
  });

  it('reads standard input, also while it stays open', async () => {
    const { child, ended } = startCli(args('- --out out --json'), { cwd, stdin: 'pipe' });
    child.stdin!.end(toJsonl(jobsOf(3)));
    const { status, stdout, stderr } = await ended;
    assert.equal(status, 0, stderr);
    assert.equal((JSON.parse(stdout) as { drawn: number }).drawn, 3);
    const open = startCli(args('- --out out'), { cwd, stdin: 'pipe' });
    open.child.stdin!.write(toJsonl([{ id: 'now', numInferenceSteps: 1 }]));
    await untilRecorded(4);
    open.child.kill('SIGTERM');
    assert.equal((await open.ended).status, 143);
  });

  it('splits a file among processes', async () => {
    await write(jobsOf(9));
    const ended = await Promise.all([1, 2].map((i) => run(`jobs.jsonl --out out --shard ${i}/2`)));
    assert.deepEqual(ended.map(({ status }) => status), [0, 0]);
    const [first, second] = [await manifest('manifest-1-of-2.jsonl'), await manifest('manifest-2-of-2.jsonl')];
    assert.deepEqual([first.images.length, second.images.length], [5, 4]);
    assert.equal((await imagesIn(out)).length, 9);
  });

  /** A limit on a file's size: the manifest's, since the images are small. */
  const LIMITED = 'ulimit -f 24; exec "$@"';
  /** A disk of 64 KiB in a mount namespace of its own; what it holds is copied out of it. */
  const SMALL_DISK = 'mount -t tmpfs -o size=64k none out && { "$@"; status=$?; cp -a out/. kept; exit $status; }';

  /** Root's own namespace, or one that makes a user root, where that is allowed. */
  async function withSmallDisk(): Promise<string | undefined> {
    for (const unshare of ['unshare --mount', 'unshare --user --map-root-user --mount']) {
      const probe = `${unshare} sh -c 'mount -t tmpfs none .'`;
      const { status } = await runCli([], { cwd, shell: probe });
      if (status === 0) return `mkdir out kept; ${unshare} sh -c '${SMALL_DISK}' sh "$@"`;
    }
    return undefined;
  }

  for (const kind of ['file limit', 'full disk'] as const) {
    it(`stops in one piece at a ${kind}, and goes on when there is room`, async () => {
      const small = kind === 'full disk' ? await withSmallDisk() : undefined;
      const folder = small === undefined ? out : join(cwd, 'kept');
      const jobs = jobsOf(200).map((job) => ({ ...job, numInferenceSteps: 1 }));
      await write(jobs);
      const { status, stdout, stderr } = await run('jobs.jsonl --out out --batch 4', { shell: small ?? LIMITED, env: { TSX_DISABLE_CACHE: '1' } });
      const problem = small === undefined ? 'the file would be larger than the limit' : 'the disk is full';
      assert.match(stderr, new RegExp(`\\nnode-diffusers: can't write out/[\\w.]+: ${problem}; what out/manifest\\.jsonl has stays done, and the next run goes on from it\\n$`));
      assert.deepEqual([status, stdout], [1, '']);
      const done = await checkFolder(folder);
      assert.ok(done > 5 && done < 200, `${done} images`);
      assert.deepEqual((await readdir(folder)).filter((name) => !/^(r\d+\.png|manifest\.jsonl)$/.test(name)), []);
      assert.match(await readFile(join(folder, 'manifest.jsonl'), 'utf8'), /\n$/);
      assert.deepEqual((await recordsOf(join(folder, 'manifest.jsonl'))).failures, []);
      assert.match((await succeeds(`jobs.jsonl --out ${folder}`)).stdout, new RegExp(`\n${200 - done} images .*; ${done} kept, 0 failed\n$`));
      assert.equal(await checkFolder(folder), 200);
    });
  }

  it('says before any work what it can not do', async () => {
    await write(jobsOf(1));
    const failures: [string, number, RegExp][] = [
      ['none.jsonl --out out', 1, /^none\.jsonl does not exist$/],
      ['. --out out', 1, /^can't read \.: it is a folder$/],
      ['jobs.jsonl --out jobs.jsonl', 1, /^can't write jobs\.jsonl: /],
      ['jobs.jsonl --out out --model ./none', 1, /^\.\/none is neither a folder/],
      ['jobs.jsonl --out out --steps 1001', 2, /^--steps must be an integer in 1 … 1000 for this model, got 1001; see --help$/],
    ];
    for (const [line, status, message] of failures) {
      const ended = await run(line);
      assert.deepEqual([ended.status, ended.stdout], [status, ''], line);
      assert.match(ended.stderr.trim().split('\n').at(-1)!.replace('node-diffusers: ', ''), message);
    }
    assert.deepEqual(await readdir(cwd), ['jobs.jsonl']);
  });

  it('holds no lines in memory', async () => {
    // 400,000 lines of other shards, 40 MB of them, in a heap that has room for the program and little more.
    const name = 'a-request-with-a-name-as-long-as-names-get-when-programs-make-them';
    const file = join(cwd, 'jobs.jsonl');
    for (let i = 0; i < 400_000; i += 10_000) {
      await appendFile(file, toJsonl(Array.from({ length: 10_000 }, (_, j) => ({ id: `${name}-${i + j}`, numInferenceSteps: 1 }))));
    }
    const { status, stdout, stderr } = await run('jobs.jsonl --out out --shard 1/100000 --json', { env: { NODE_OPTIONS: '--max-old-space-size=48' } });
    assert.equal(status, 0, stderr);
    assert.equal((JSON.parse(stdout) as { drawn: number }).drawn, 4);
  });

  it('keeps a pipe fed: a reader of stdout that goes away is no failure', async () => {
    await write(jobsOf(1));
    const { child, ended } = startCli(args('jobs.jsonl --out out'), { cwd });
    child.stdout!.destroy();
    await once(child, 'exit');
    assert.equal((await ended).status, 0);
  });
});
