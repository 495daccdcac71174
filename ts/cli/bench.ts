import { Command } from 'commander';
import { addModelOptions, option, type ModelOptions } from './model-options';
import { countsOption, integerOption, numberOption } from './usage';

/** The options of `bench`. */
export interface BenchCommandOptions extends ModelOptions {
  batch: number[];
  steps: number;
  seconds: number;
  json?: boolean;
}

const HELP = `
For each batch size: the median time of the UNet's forward on random samples, timed until the device is done, after runs that
set things up. Then images through the engine (SamplerEngine), as many at once as the largest batch: what its steps come to in
images of --steps. Each takes --seconds, or a few runs where those take longer.

Examples:
  $ node-diffusers bench                                        the embedded model on the CPU
  $ node-diffusers bench --model DIR --device cuda --dtype bfloat16 --batch 1,8,64,256
  $ node-diffusers bench --json > before.json`;

/** `node-diffusers bench`. */
export function benchCommand(): Command {
  const command = new Command('bench')
    .description('Measures how fast a model runs on this machine.')
    .helpOption('-h, --help', 'explain the command');
  return addModelOptions(command)
    .addOption(option('--batch <list>', 'batch sizes, with commas between', countsOption('--batch', 4096)).default([1, 8], '1,8'))
    .addOption(option('--steps <n>', 'DDIM steps of an image', integerOption('--steps', 1, 1_000_000)).default(50))
    .addOption(option('--seconds <s>', 'how long each is measured', numberOption('--seconds', 0)).default(2))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(async (options: BenchCommandOptions) => {
      // Loaded here: `--help` and wrong usage need neither libtorch nor sharp.
      const { runBench } = require('./bench-run') as typeof import('./bench-run');
      await runBench(options);
    });
}
