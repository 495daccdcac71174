/**
 * Saves UNets of the parity fixture with this package, each with a forward's output beside it, for Python to check:
 *
 *     npx tsx scripts/parity/save-by-node.ts FOLDER
 *     python scripts/parity/check_saved_by_node.py FOLDER
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UNet2DModel } from '../../ts/index';
import { numbersOf } from '../../test/parity/fixture';
import { caseNamed } from '../../test/parity/unet-checks';
import { CheckpointFolders, drawInputs, runForward, SAVED_BY_NODE } from '../../test/parity/unet-recordings';

async function main(out: string): Promise<void> {
  const folders = new CheckpointFolders();
  try {
    for (const { name, dtype } of SAVED_BY_NODE) {
      const recorded = caseNamed(name);
      const unet = await UNet2DModel.fromPretrained(folders.of(recorded), { dtype });
      const folder = join(out, `${name.replaceAll(/[^\w-]+/g, '-')}-${dtype}`);
      await unet.savePretrained(folder);
      const inputs = drawInputs(recorded, recorded.forwards[0]!);
      const output = await runForward(unet, inputs);
      const { classLabels } = inputs.options;
      const described = {
        name,
        dtype,
        sample: { shape: inputs.sample.shape, values: numbersOf(inputs.sample) },
        timestep: inputs.timestep,
        labels: Array.isArray(classLabels) ? classLabels : null,
        output: { shape: output.shape, values: numbersOf(output) },
      };
      writeFileSync(join(folder, 'forward.json'), JSON.stringify(described));
      unet.dispose();
    }
  } finally {
    folders.remove();
  }
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: npx tsx scripts/parity/save-by-node.ts FOLDER');
main(folder).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
