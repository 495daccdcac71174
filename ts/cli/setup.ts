import { Command } from 'commander';
import { importBuildScript } from './build-scripts';
import { UsageError } from './usage';

const MORE = `
Looks for libtorch in this order: LIBTORCH_USE_PYTORCH=1 (the torch of python3), LIBTORCH (with LIBTORCH_INCLUDE and
LIBTORCH_LIB), this user's cache, an importable Python torch, /usr. If none fits, it is fetched into the cache: the
official archive, else the torch wheel through pip.

Environment:
  LIBTORCH                        an unpacked libtorch or a torch package
  NODE_DIFFUSERS_CACHE            the cache's folder (default ~/.cache/node-diffusers)
  NODE_DIFFUSERS_MIRROR           replaces https://download.pytorch.org/libtorch
  NODE_DIFFUSERS_LIBTORCH_SHA256  refuse a download that is anything else
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY`;

/** `node-diffusers setup`: finds or fetches libtorch and builds the addon against it. */
export function setupCommand(): Command {
  return new Command('setup')
    .description('find or fetch libtorch and build the addon against it; nothing is done twice')
    .option('--variant <variant>', 'cpu, or a CUDA variant such as cu130 (default: what is found, else cpu)')
    .option('--torch <version>', 'a torch version, 2.11 to 2.14 (default: what is found, else 2.13.0)')
    .addHelpText('after', MORE)
    .action(async (options: { variant?: string; torch?: string }) => {
      const { setup, describeSetup, checkSetup } = await importBuildScript('setup');
      const asked = {
        ...(options.torch === undefined ? {} : { version: options.torch }),
        ...(options.variant === undefined ? {} : { variant: options.variant }),
      };
      try {
        checkSetup(asked);
      } catch (error) {
        throw new UsageError((error as Error).message.replace(/\.$/, ''));
      }
      const result = await setup(asked);
      process.stdout.write(`${describeSetup(result)}\n`);
    });
}
