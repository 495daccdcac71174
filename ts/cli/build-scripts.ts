import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** What the commands use of scripts/build/setup.mjs. */
export interface SetupScript {
  /** Throws for a version or variant that there is none of. */
  checkSetup(options: { version?: string; variant?: string }): object;
  setup(options: { version?: string; variant?: string }): Promise<SetupResult>;
  describeSetup(result: SetupResult): string;
}

/** What a setup made or found. */
export interface SetupResult {
  readonly libtorch: { readonly root: string; readonly version: string; readonly variant: string };
  readonly addon: string;
  readonly built: boolean;
  readonly seconds: number;
}

/** What the commands use of scripts/build/diagnose.mjs. */
export interface DiagnoseScript {
  diagnose(): { readonly ok: boolean };
  renderDiagnosis(diagnosis: { readonly ok: boolean }): string;
}

/**
 * The build scripts are plain ES modules, since they run before anything is compiled or installed; they lie in
 * scripts/build of the package, two folders up from ts/cli and dist/cli alike.
 */
export async function importBuildScript(name: 'setup'): Promise<SetupScript>;
export async function importBuildScript(name: 'diagnose'): Promise<DiagnoseScript>;
export async function importBuildScript(name: string): Promise<unknown> {
  const file = path.resolve(__dirname, '../../scripts/build', `${name}.mjs`);
  return import(pathToFileURL(file).href);
}
