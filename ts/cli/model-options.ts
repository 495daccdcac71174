import { Option, type Command } from 'commander';
import { choiceOption, deviceOption, integerOption, isGiven, nonEmptyOption, numberOption, UsageError, wordOption } from './usage';

/** The dtypes a UNet can compute in. */
export const MODEL_DTYPES = ['float32', 'float64', 'float16', 'bfloat16'] as const;

export const SPACINGS = ['leading', 'trailing', 'linspace', 'quadratic'] as const;

/** Which model, where and in what, of the commands that draw. */
export interface ModelOptions {
  model?: string;
  revision?: string;
  variant?: string;
  device: string;
  dtype?: (typeof MODEL_DTYPES)[number];
}

/** How images are drawn, of the commands that draw. */
export interface SamplerOptions {
  scheduler: 'ddpm' | 'ddim';
  steps?: number;
  spacing?: (typeof SPACINGS)[number];
  eta: number;
}

/** An option with a parser of its own. */
export const option = <T>(flags: string, description: string, parse: (value: string) => T): Option =>
  new Option(flags, description).argParser(parse);

/** `--model` and what goes with it. */
export function addModelOptions(command: Command): Command {
  return command
    .addOption(
      option(
        '-m, --model <model>',
        'DIR, hub REPO or FILE (default: the embedded model)',
        nonEmptyOption('--model', 'a folder, a hub repository or a file'),
      ),
    )
    .option('--revision <name>', 'branch, tag or commit of a hub repository (default: main)')
    .addOption(
      option('--variant <name>', 'copy of the weights, as fp16 (default: the plain one)', wordOption('--variant')),
    )
    .addOption(option('--device <name>', 'cpu, cuda or cuda:N', deviceOption('--device')).default('cpu'))
    .addOption(
      option(
        '--dtype <name>',
        `of the model: ${MODEL_DTYPES.join(', ')} (default: float32, a TorchScript file's own)`,
        choiceOption('--dtype', MODEL_DTYPES),
      ),
    );
}

/** `--scheduler`, `--steps`, `--spacing` and `--eta`. */
export function addSamplerOptions(command: Command): Command {
  return command
    .addOption(
      option('--scheduler <name>', 'ddim or ddpm', choiceOption('--scheduler', ['ddpm', 'ddim'])).default('ddim'),
    )
    .addOption(
      option(
        '--steps <n>',
        'steps from noise to image (default: 50 for ddim, 1000 for ddpm)',
        integerOption('--steps', 1, 1_000_000),
      ),
    )
    .addOption(
      option(
        '--spacing <name>',
        `how timesteps lie: ${SPACINGS.join(', ')} (default: the model's)`,
        choiceOption('--spacing', SPACINGS),
      ),
    )
    .addOption(
      option(
        '--eta <e>',
        'noise of a DDIM step: 0 is deterministic, 1 has the variance of DDPM',
        numberOption('--eta', 0),
      ).default(0),
    );
}

/** What one of these options alone can't tell. @throws UsageError */
export function checkSamplerOptions(command: Command): void {
  const { scheduler, spacing } = command.opts<SamplerOptions>();
  if (scheduler === 'ddpm' && isGiven(command, 'eta')) {
    throw new UsageError('--eta goes with --scheduler ddim, got --scheduler ddpm');
  }
  if (scheduler === 'ddpm' && spacing === 'quadratic') {
    throw new UsageError('--spacing quadratic goes with --scheduler ddim, got --scheduler ddpm');
  }
}
