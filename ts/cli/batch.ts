import { Command } from 'commander';
import { IMAGE_FORMATS, type ImageFormat } from '../image';
import {
  addModelOptions,
  addSamplerOptions,
  checkSamplerOptions,
  option,
  type ModelOptions,
  type SamplerOptions,
} from './model-options';
import { choiceOption, integerOption, nonEmptyOption, numberOption, shardOption, UsageError } from './usage';

/** The options of `batch`, parsed and checked against each other. */
export interface BatchCommandOptions extends ModelOptions, SamplerOptions {
  out: string;
  batch: number;
  guidanceScale?: number;
  shard?: { index: number; count: number };
  format: ImageFormat;
  images?: string;
  json?: boolean;
  quiet?: boolean;
}

const HELP = `
JOBS.jsonl holds a request a line:

  {"id": "r1", "seed": 1, "numInferenceSteps": 20, "scheduler": "ddim", "eta": 0, "classLabel": null}

Only id is needed; it names the image, DIR/r1.png. Further keys: timesteps (a descending list instead of
numInferenceSteps), useClippedModelOutput, guidanceScale and nullClassLabel (with a classLabel), rng ("torch" or "philox"),
priority (a higher one goes first), image and strength (start from an image file in the folder of JOBS.jsonl). A line without
a seed has one that is made from its id; --scheduler, --steps, --eta and --guidance-scale stand for what a line leaves out.

Each image is recorded by a line of DIR/manifest.jsonl: its id, line, seed, options, file and SHA-256. The run may be
killed at any moment and started again with the same command: what is recorded is kept and not drawn again, whatever
failed is tried again (after a kill -9 it waits five seconds for the dead run's lock). Other weights, another dtype, format
or scheduler config are refused; another device is not.

A line that is no request, a second line of one id, a line that was changed after its image was drawn: each is reported
with its number, recorded, and does not stop the rest.

A model is what sample takes (sample --help); a TorchScript file is a program: run only those you trust.

Examples:
  $ node-diffusers batch jobs.jsonl --out images
      the embedded model
  $ node-diffusers batch jobs.jsonl --out images --model ./my-model --batch 32 --device cuda --dtype bfloat16
      at most 32 samples at once, each at its own step
  $ node-diffusers batch jobs.jsonl --out images --shard 1/2 & node-diffusers batch jobs.jsonl --out images --shard 2/2
      lines 1, 3, 5, … and lines 2, 4, 6, … by two processes, each with a manifest of its own
  $ ./make-jobs | node-diffusers batch - --out images
      lines as they come

Exit status: 0 all done, 1 some failed or nothing can be written, 2 wrong usage, 130 cancelled by Ctrl-C, 143 by SIGTERM
(both end after the step; no half image is left).`;

/** `node-diffusers batch`. */
export function batchCommand(): Command {
  const command = new Command('batch')
    .description('Draws an image for each line of a file, into a folder; goes on where it was stopped.')
    .helpOption('-h, --help', 'explain the command')
    .argument('<jobs>', 'a JSONL file, or - for standard input')
    .requiredOption('--out <dir>', 'the folder of images and manifest', nonEmptyOption('--out', 'a folder'));
  return addSamplerOptions(addModelOptions(command))
    .addOption(option('--batch <n>', 'the most at once', integerOption('--batch', 1, 4096)).default(64))
    .addOption(
      option(
        '--guidance-scale <s>',
        'how strongly classLabel is followed: 1 (the default) is no guidance, more takes twice the time',
        numberOption('--guidance-scale', 1),
      ),
    )
    .addOption(option('--shard <i/n>', 'only lines i, i + n, i + 2n, …', shardOption('--shard')))
    .addOption(
      option(
        '--format <name>',
        `of the images: ${IMAGE_FORMATS.join(', ')}`,
        choiceOption('--format', IMAGE_FORMATS),
      ).default('png'),
    )
    .addOption(
      option(
        '--images <dir>',
        "the folder of the lines' start images (default: that of the jobs file)",
        nonEmptyOption('--images', 'a folder'),
      ),
    )
    .option('--json', 'print one JSON object at the end')
    .option('-q, --quiet', 'no progress and no failed lines, only the path')
    .addHelpText('after', HELP)
    .action(async (jobs: string, _: unknown, command: Command) => {
      const options = command.opts<BatchCommandOptions>();
      checkSamplerOptions(command);
      if (options.json === true && options.quiet === true) throw new UsageError('--json goes without --quiet');
      // Loaded here: `--help` and wrong usage need neither libtorch nor sharp.
      const { runBatchCommand } = require('./batch-run') as typeof import('./batch-run');
      if (!(await runBatchCommand(jobs, options))) process.exitCode = 1;
    });
}
