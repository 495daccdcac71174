import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { PythonPeers } from './python-peers';

const ROOT = join(__dirname, '../..');

/** A table or a paragraph of the results. */
export const print = (text: string): void => void process.stdout.write(`${text}\n\n`);

/** How far the run is. */
export const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** Writes a file of results and says so. */
export async function write(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
  say(`wrote ${file}`);
}

/** What was measured, by version. */
export async function versionsOf(peers: PythonPeers): Promise<Record<string, string>> {
  const versionIn = async (file: string): Promise<string | undefined> =>
    readFile(file, 'utf8').then(
      (text) => (JSON.parse(text) as { version: string }).version,
      () => undefined,
    );
  const versions: Record<string, string | null | undefined> = {
    node: process.versions.node,
    'node-diffusers': await versionIn(join(ROOT, 'package.json')),
    'onnxruntime-node': await versionIn(join(ROOT, 'node_modules', 'onnxruntime-node', 'package.json')),
    ...peers.versions,
  };
  const known = Object.entries(versions).filter((pair): pair is [string, string] => typeof pair[1] === 'string');
  return Object.fromEntries(known);
}

/** 'node 20.19.0, torch 2.13.0'. */
export const versionsLine = (versions: Readonly<Record<string, string>>): string =>
  Object.entries(versions).map((pair) => pair.join(' ')).join(', ');
