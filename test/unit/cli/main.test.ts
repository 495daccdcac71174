import assert from 'node:assert/strict';
import { runHere } from './run-here';

describe('cli/main', () => {
  const wrong: [string, string][] = [
    ['smaple', "unknown command 'smaple' (did you mean sample?)"],
    ['sample --schedular ddim', "unknown option '--schedular' (did you mean --scheduler?)"],
    ['sample --steps 0', '--steps must be an integer in 1 … 1000000, got "0"'],
    ['sample --steps abc', '--steps must be an integer in 1 … 1000000, got "abc"'],
    ['sample --steps', "option '--steps <n>' argument missing"],
    ['sample --eta -1', '--eta must be a number from 0 up, got "-1"'],
    ['sample --scheduler euler', '--scheduler must be one of ddpm, ddim, got "euler"'],
    ['sample --scheduler ddpm --eta 1', '--eta goes with --scheduler ddim, got --scheduler ddpm'],
    [
      'sample --scheduler ddpm --spacing quadratic',
      '--spacing quadratic goes with --scheduler ddim, got --scheduler ddpm',
    ],
    ['sample --timesteps 1,2', '--timesteps must be descending integers from 0 up with commas between, got "1,2"'],
    ['sample --timesteps 2,1 --steps 2', "option '--timesteps <list>' cannot be used with option '--steps <n>'"],
    ['sample --seed -1', '--seed must be an integer in 0 … 2^64 - 1, got "-1"'],
    [
      'sample --seed 18446744073709551615 --count 2',
      '--seed and --count must stay below 2^64 together, got 18446744073709551615 and 2',
    ],
    ['sample --count 0', '--count must be an integer in 1 … 1000000, got "0"'],
    ['sample --batch 0', '--batch must be an integer in 1 … 65536, got "0"'],
    ['sample --device gpu', '--device must be cpu, cuda or cuda:N, got "gpu"'],
    [
      'sample --dtype float31',
      '--dtype must be one of float32, float64, float16, bfloat16 (did you mean float32?), got "float31"',
    ],
    ['sample --grid a.gif', '--grid must end in .png, .jpg, .jpeg or .webp, got "a.gif"'],
    ['sample --grid a.png --out b', "option '--grid <file>' cannot be used with option '--out <dir>'"],
    ['sample --overwrite', '--overwrite goes with --out'],
    ['sample --format webp', '--format goes with --out'],
    ['sample --columns 2 --out b', '--columns goes with --grid, got --out'],
    ['sample --guidance-scale 2', '--guidance-scale goes with --class'],
    ['sample extra', "too many arguments for 'sample'. Expected 0 arguments but got 1."],
    ['batch --out a', "missing required argument 'jobs'"],
    ['batch a.jsonl', "required option '--out <dir>' not specified"],
    ['batch a.jsonl --out b --shard 3/2', '--shard must be i/n with 1 ≤ i ≤ n, got "3/2"'],
    ['batch a.jsonl --out b --shard 0/2', '--shard must be i/n with 1 ≤ i ≤ n, got "0/2"'],
    ['batch a.jsonl --out b --batch 0', '--batch must be an integer in 1 … 4096, got "0"'],
    ['batch a.jsonl --out b --format gif', '--format must be one of png, jpeg, webp, got "gif"'],
    ['batch a.jsonl --out b --scheduler ddpm --eta 1', '--eta goes with --scheduler ddim, got --scheduler ddpm'],
    ['batch a.jsonl --out b --json --quiet', '--json goes without --quiet'],
    ['batch a.jsonl --out b --sharrd 1/2', "unknown option '--sharrd' (did you mean --shard?)"],
    ['batch a.jsonl b.jsonl --out b', "too many arguments for 'batch'. Expected 1 argument but got 2."],
    ['batch a.jsonl --out=', '--out must be a folder, got ""'],
    ['batch a.jsonl --out b --guidance-scale 0.5', '--guidance-scale must be a number from 1 up, got "0.5"'],
    ['sample --model=', '--model must be a folder, a hub repository or a file, got ""'],
    ['sample --grid=', '--grid must be a file, got ""'],
    ['setup --torch 1.0', "--torch must be a version like 2.13.0, got '1.0'"],
    ['setup --variant foo', "--variant must be cpu or a CUDA variant such as cu130, got 'foo'"],
    ['bench --batch 1,0', '--batch must be integers in 1 … 4096 with commas between, got "1,0"'],
    ['bench --seconds=-1', '--seconds must be a number from 0 up, got "-1"'],
    ['inspect a b', "too many arguments for 'inspect'. Expected 1 argument but got 2."],
  ];
  for (const [line, message] of wrong) {
    it(`${line}: wrong usage, in one line`, async () => {
      const { status, stderr } = await runHere(line.split(' '));
      assert.equal(stderr, `node-diffusers: ${message}; see --help\n`);
      assert.equal(status, 2);
    });
  }
});
