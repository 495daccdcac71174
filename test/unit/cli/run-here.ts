import { run } from '../../../ts/cli/main';

/** Runs a command line in this process; paths are to be absolute. */
export async function runHere(args: readonly string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const streams = [process.stdout, process.stderr] as const;
  const writes = streams.map((stream) => stream.write);
  const texts = ['', ''];
  for (const [i, stream] of streams.entries()) {
    stream.write = (chunk: string | Uint8Array): boolean => {
      texts[i] += String(chunk);
      return true;
    };
  }
  try {
    const status = await run(['node', 'node-diffusers', ...args]);
    return { status, stdout: texts[0]!, stderr: texts[1]! };
  } finally {
    for (const [i, stream] of streams.entries()) stream.write = writes[i]!;
    process.exitCode = undefined;
  }
}
