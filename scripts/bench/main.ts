// `npm run bench NAME`: measures and prints, and asserts nothing but that what is timed gives the right numbers.
import { Command } from 'commander';
import { LeftOut } from './arms';
import { engineCommand } from './engine';
import { stepCommand } from './step';
import { unetCommand } from './unet';

async function main(): Promise<void> {
  const program = new Command('bench')
    .description('Measures this project against what else a user could run, all in one run, arms in turn.')
    .addHelpText('after', '\nEach bench explains itself: npm run bench -- unet --help')
    .addCommand(unetCommand())
    .addCommand(stepCommand())
    .addCommand(engineCommand());
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof LeftOut)) throw error;
    process.stderr.write(`bench: ${error.message}\n`);
    process.exitCode = 2;
  }
}
void main();
