import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A folder that is gone after each test of the suite that calls this. */
export function scratchFolder(): {
  readonly folder: string;
  write(name: string, data: string | Buffer, mode?: number): string;
} {
  const scratch = {
    folder: '',
    write(name: string, data: string | Buffer, mode = 0o644): string {
      const file = path.join(scratch.folder, name);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, data, { mode });
      return file;
    },
  };
  beforeEach(() => {
    scratch.folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'node-diffusers-test-')));
  });
  afterEach(() => rmSync(scratch.folder, { recursive: true, force: true }));
  return scratch;
}

/** Progress that keeps its lasting lines. */
export function quietProgress(): {
  lines: string[];
  step(text: string): void;
  update(text: string): void;
  done(): void;
} {
  const lines: string[] = [];
  return { lines, step: (text) => lines.push(text), update: () => {}, done: () => {} };
}
