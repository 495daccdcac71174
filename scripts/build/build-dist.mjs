// @ts-check
import { chmodSync, existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { packageRoot } from './paths.mjs';
import { runCommand } from './run-command.mjs';
import { SetupError, runMain } from './setup-error.mjs';
import { writeEsmEntry } from './write-esm-entry.mjs';

/** `npm run build`: ts/ to dist/ (CommonJS with types), and the ESM entry over it. */
export async function buildDist() {
  const dist = path.join(packageRoot, 'dist');
  // What was renamed or removed in ts/ must not live on in the package.
  rmSync(dist, { recursive: true, force: true });
  const tsc = path.join(packageRoot, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status, output } = await runCommand(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: packageRoot,
  });
  if (status !== 0) throw new SetupError(`compiling ts/ failed:\n${output.trim()}`);
  writeEsmEntry(dist);
  const cli = path.join(dist, 'cli', 'main.js');
  if (existsSync(cli)) chmodSync(cli, 0o755);
}

if (import.meta.url === pathToFileURL(path.resolve(process.argv[1] ?? '')).href) await runMain(buildDist);
