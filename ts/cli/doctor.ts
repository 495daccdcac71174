import { Command } from 'commander';
import { importBuildScript } from './build-scripts';

/** `node-diffusers doctor`: what the package stands on here, and what is missing; exit status 1 if something is. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check Node, compiler, CMake, libtorch, the addon, CUDA and threads')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExit status: 0 all there, 1 something is missing. The addon is tried in a process of its own.',
    )
    .action(async (options: { json?: boolean }) => {
      const { diagnose, renderDiagnosis } = await importBuildScript('diagnose');
      const diagnosis = diagnose();
      process.stdout.write(
        options.json === true ? `${JSON.stringify(diagnosis, null, 2)}\n` : renderDiagnosis(diagnosis),
      );
      if (!diagnosis.ok) process.exitCode = 1;
    });
}
