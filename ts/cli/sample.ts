import { Command } from 'commander';
import { imageFormatOf, IMAGE_FORMATS, type ImageFormat } from '../image';
import {
  addModelOptions,
  addSamplerOptions,
  checkSamplerOptions,
  option,
  type ModelOptions,
  type SamplerOptions,
} from './model-options';
import {
  choiceOption,
  descendingOption,
  integerOption,
  isGiven,
  MAX_SEED,
  nonEmptyOption,
  numberOption,
  seedOption,
  UsageError,
} from './usage';

/** The options of `sample`, parsed and checked against each other. */
export interface SampleOptions extends ModelOptions, SamplerOptions {
  timesteps?: number[];
  seed: bigint;
  count: number;
  batch: number;
  class?: number;
  guidanceScale?: number;
  grid?: string;
  columns?: number;
  out?: string;
  format: ImageFormat;
  overwrite?: boolean;
  quiet?: boolean;
}

const HELP = `
A model is a folder in diffusers' format (model_index.json, unet/, scheduler/), the name of a Hugging Face repository, a
file of a UNet's weights (.safetensors, .bin or their .index.json) with its config.json beside it, or a TorchScript file of
a UNet that scripts/export_torchscript.py wrote. A TorchScript file (also the unet.pt of a folder that has no weights of
diffusers) is a program: run only those you trust.

Image i has seed S + i, whatever --batch: the same seed gives the same image, alone or among others.

Examples:
  $ node-diffusers sample
      16 images of the embedded model, 50 steps of DDIM, into samples.png
  $ node-diffusers sample --steps 20 --seed 7 --count 64 --batch 32 --grid clothes.webp
      64 images in batches of 32, in fewer steps
  $ node-diffusers sample --model ./my-model --scheduler ddpm --steps 1000 --count 4 --out images
      DDPM's own sampler; images/0.png … images/3.png, named by their seeds
  $ node-diffusers sample --eta 1 --steps 100
      DDIM with DDPM's variance
  $ node-diffusers sample --timesteps 999,750,500,250,100,50,10,0
      a schedule of your own
  $ node-diffusers sample --model ./my-classes --class 3 --guidance-scale 4
      class 3 of a class-conditional model, with classifier-free guidance
  $ node-diffusers sample --model google/ddpm-cifar10-32 --device cuda --dtype bfloat16
      a model of the hub (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE are heeded) on a GPU

Exit status: 0 all done, 1 failed, 2 wrong usage, 130 cancelled (Ctrl-C ends after the step; no half image is left).`;

/** `node-diffusers sample`. */
export function sampleCommand(): Command {
  const command = new Command('sample')
    .description('Draws images from a model, into one grid or a folder.')
    .helpOption('-h, --help', 'explain the command');
  return addSamplerOptions(addModelOptions(command))
    .addOption(
      option(
        '--timesteps <list>',
        'timesteps of your own, descending: 801,601,401,201,1',
        descendingOption('--timesteps'),
      ).conflicts(['steps', 'spacing']),
    )
    .addOption(option('--seed <s>', 'seed of the first image', seedOption('--seed')).default(0n, '0'))
    .addOption(option('--count <n>', 'how many images', integerOption('--count', 1, 1_000_000)).default(16))
    .addOption(option('--batch <n>', 'how many at once', integerOption('--batch', 1, 65_536)).default(16))
    .addOption(option('--class <n>', 'class of a class-conditional model', integerOption('--class', 0, 65_535)))
    .addOption(
      option(
        '--guidance-scale <s>',
        'how strongly --class is followed: 1 is no guidance, more takes twice the time',
        numberOption('--guidance-scale', 1),
      ),
    )
    .addOption(
      option(
        '--grid <file>',
        'one image of them all: .png, .jpg or .webp (default: samples.png)',
        nonEmptyOption('--grid', 'a file'),
      ).conflicts('out'),
    )
    .addOption(
      option(
        '--columns <n>',
        'images in a row of the grid (default: near a square)',
        integerOption('--columns', 1, 16_383),
      ),
    )
    .addOption(option('--out <dir>', 'a folder for single images, named by their seeds', nonEmptyOption('--out', 'a folder')))
    .addOption(
      option(
        '--format <name>',
        `of the images in --out: ${IMAGE_FORMATS.join(', ')}`,
        choiceOption('--format', IMAGE_FORMATS),
      ).default('png'),
    )
    .option('--overwrite', 'replace images that are in --out already')
    .option('-q, --quiet', 'no progress, only the path')
    .addHelpText('after', HELP)
    .action(async (_: unknown, command: Command) => {
      const options = checkedOptions(command);
      // Loaded here: `--help` and wrong usage need neither libtorch nor sharp.
      const { runSample } = require('./sample-run') as typeof import('./sample-run');
      await runSample(options);
    });
}

/** What one option alone can't tell. */
function checkedOptions(command: Command): SampleOptions {
  const options = command.opts<SampleOptions>();
  const { seed, count, grid } = options;
  checkSamplerOptions(command);
  if (options.guidanceScale !== undefined && options.class === undefined) {
    throw new UsageError('--guidance-scale goes with --class');
  }
  if (seed + BigInt(count) - 1n > MAX_SEED) {
    throw new UsageError(`--seed and --count must stay below 2^64 together, got ${seed} and ${count}`);
  }
  if (options.out === undefined) {
    for (const name of ['format', 'overwrite']) {
      if (isGiven(command, name)) throw new UsageError(`--${name} goes with --out`);
    }
  } else if (isGiven(command, 'columns')) {
    throw new UsageError('--columns goes with --grid, got --out');
  }
  if (grid !== undefined) {
    try {
      imageFormatOf(grid);
    } catch {
      throw new UsageError(`--grid must end in .png, .jpg, .jpeg or .webp, got ${JSON.stringify(grid)}`);
    }
  }
  return options;
}
