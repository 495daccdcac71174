import { Command } from 'commander';

const HELP = `
What it reads: a folder in diffusers' format, a UNet's or scheduler's own folder, a .safetensors file (its header only), a
.bin of torch.save (its list of tensors only), the .index.json of a sharded one, or a TorchScript .pt file (its records
only). Nothing in a file is run. Only the tensors of a .bin need the addon.

Examples:
  $ node-diffusers inspect                                  the embedded model
  $ node-diffusers inspect ./my-model
  $ node-diffusers inspect ./my-model/unet/diffusion_pytorch_model.bin --json`;

/** `node-diffusers inspect`. */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description('Tells what a checkpoint holds: config, parameters, size.')
    .helpOption('-h, --help', 'explain the command')
    .argument('[path]', 'DIR or FILE (default: the embedded model)')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(async (path: string | undefined, { json }: { json?: boolean }) => {
      const { runInspect } = require('./inspect-run') as typeof import('./inspect-run');
      await runInspect(path, json === true);
    });
}
