#!/usr/bin/env node
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { DiffusersError } from '../errors';
import { batchCommand } from './batch';
import { benchCommand } from './bench';
import { doctorCommand } from './doctor';
import { inspectCommand } from './inspect';
import { Interrupted } from './interrupt';
import { sampleCommand } from './sample';
import { setupCommand } from './setup';
import { UsageError } from './usage';

const EXAMPLES = `
Examples:
  $ node-diffusers setup                      fetch libtorch and build the addon, once
  $ node-diffusers sample                     16 images of the embedded model into samples.png
  $ node-diffusers sample --model DIR --scheduler ddpm --steps 1000 --out images
  $ node-diffusers batch jobs.jsonl --out DIR a file of requests, one a line; goes on where it was stopped
  $ node-diffusers inspect DIR                what a checkpoint holds
  $ node-diffusers bench                      how fast it runs here
  $ node-diffusers doctor                     what is installed, and what is missing

Each command explains itself: node-diffusers sample --help
Exit status: 0 all done, 1 failed, 2 wrong usage, 130 cancelled by Ctrl-C, 143 by SIGTERM.`;

/** The command line's program; its commands load what they need when they run. */
export function createProgram(): Command {
  const { version } = require(join(__dirname, '../../package.json')) as { version: string };
  const program = new Command('node-diffusers')
    .description('Draws images from diffusion models with DDPM and DDIM, as Python diffusers does.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain the command')
    .option('--debug', 'print stack traces')
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(`node-diffusers: ${oneLine(text)}; see --help\n`) });
  for (const command of [sampleCommand(), batchCommand(), inspectCommand(), benchCommand(), setupCommand(), doctorCommand()]) {
    program.addCommand(command.copyInheritedSettings(program));
  }
  return program;
}

/** commander puts what was meant on a line of its own. */
const oneLine = (text: string): string =>
  text
    .replace(/^error: /, '')
    .trim()
    .replace(/\s*\n\(Did/, ' (did');

/** Runs a command line and returns its exit status; every failure ends as a line on stderr. */
export async function run(argv: readonly string[]): Promise<number> {
  const program = createProgram();
  try {
    await program.parseAsync(argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const debug = program.opts<{ debug?: boolean }>().debug === true;
    process.stderr.write(`node-diffusers: ${describe(error, debug)}\n`);
    return exitStatus(error);
  }
}

function exitStatus(error: unknown): number {
  if (error instanceof UsageError) return 2;
  return error instanceof Interrupted ? error.exitCode : 1;
}

function describe(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return String(error);
  if (debug) return error.stack ?? error.message;
  if (error instanceof UsageError) return `${error.message}; see --help`;
  const isExpected = error instanceof DiffusersError || error instanceof Interrupted || error.name === 'SetupError';
  return isExpected ? error.message : `unexpected failure: ${error.message} (--debug prints the stack)`;
}

if (require.main === module) {
  // A reader that has seen enough (`| head`) closes the pipe: nothing to report.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    process.stderr.write(`node-diffusers: can't write to standard output: ${error.message}\n`);
    process.exit(1);
  });
  void run(process.argv).then((status) => {
    process.exitCode = status;
  });
}
