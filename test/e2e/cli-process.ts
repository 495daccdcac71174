import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

const MAIN = join(__dirname, '../../ts/cli/main.ts');
const TSX = require.resolve('tsx');

/** How a command ended, and what it wrote. */
export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where and how a command runs. */
export interface CliOptions {
  cwd: string;
  env?: Record<string, string>;
  /** Whether its standard input is a pipe; else there is none. */
  stdin?: 'pipe';
  /** A shell's program that runs the command line, as `"$@"`. */
  shell?: string;
}

/** Starts the command line in a process of its own, offline and without a terminal. */
export function startCli(
  args: readonly string[],
  { cwd, env = {}, stdin, shell }: CliOptions,
): { child: ChildProcess; ended: Promise<Ended>; stderrHas: (text: string) => Promise<void> } {
  const command = [process.execPath, '--import', TSX, MAIN, ...args];
  const [program, ...rest] = shell === undefined ? command : ['sh', '-c', shell, 'sh', ...command];
  const child = spawn(program!, rest, {
    cwd,
    env: { ...process.env, HF_HUB_OFFLINE: '1', ...env },
    stdio: [stdin ?? 'ignore', 'pipe', 'pipe'],
  }) as ChildProcess & { stdout: Readable; stderr: Readable };
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
  const stderrHas = async (text: string): Promise<void> => {
    while (!stderr.includes(text)) {
      if (child.exitCode !== null) throw new Error(`it ended without ${text}: ${stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  return { child, ended, stderrHas };
}

/** Runs the command line to its end. */
export function runCli(args: readonly string[], options: CliOptions): Promise<Ended> {
  return startCli(args, options).ended;
}
