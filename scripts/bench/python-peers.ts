import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { readFile } from 'node:fs/promises';
import { LeftOut, shortName, timestepOf, type Arm, type ArmPlan, type UNetCase } from './arms';
import type { Runner } from './turns';

const WORKER = join(__dirname, 'peers.py');

/** One Python process that runs all of diffusers' arms; it waits in a read while others have their turn. */
export class PythonPeers {
  /** Versions of Python and of the packages. */
  versions: Readonly<Record<string, string | null>> = {};
  private child: ChildProcess | undefined;
  private answers: AsyncIterator<string> | undefined;
  private lines: Interface | undefined;
  private arms = 0;

  private constructor(
    private readonly command: string | undefined,
    private readonly reason: string,
  ) {}

  /** Starts the first of the interpreters that has torch and diffusers; `false` starts none. */
  static async start(given: string | false | undefined, threads: number): Promise<PythonPeers> {
    if (given === false) return new PythonPeers(undefined, '--no-python');
    const candidates = given === undefined ? [process.env.PYTHON, 'python3', 'python'] : [given];
    const reasons: string[] = [];
    for (const command of candidates.filter((name): name is string => Boolean(name))) {
      const peers = new PythonPeers(command, '');
      const reason = await peers.launch(threads);
      if (reason === undefined) return peers;
      peers.stop();
      reasons.push(`${command}: ${reason}`);
    }
    return new PythonPeers(undefined, `no Python with torch and diffusers (${reasons.join('; ')})`);
  }

  private async launch(threads: number): Promise<string | undefined> {
    const env = { ...process.env, OMP_NUM_THREADS: String(threads) };
    this.child = spawn(this.command!, [WORKER], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.stdin!.on('error', () => undefined); // a process that ended says so by its answers' end
    let problem = '';
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (problem = (problem + text).slice(-2000)));
    const failed = new Promise<string>((resolve) => this.child!.once('error', (error) => resolve(error.message)));
    this.lines = createInterface({ input: this.child.stdout! });
    this.answers = this.lines[Symbol.asyncIterator]();
    const hello = this.ask('hello', { threads }).then(
      (versions) => {
        this.versions = versions as Record<string, string | null>;
        return versions.diffusers === null ? 'diffusers is not installed' : undefined;
      },
      () => problem.trim().split('\n').pop() ?? 'it ended',
    );
    return Promise.race([failed, hello]);
  }

  /** One request and its answer; LeftOut with Python's message where it fails. */
  async ask(request: string, parameters: Record<string, unknown>): Promise<Record<string, unknown>> {
    if (this.child === undefined) throw new LeftOut(this.reason);
    this.child.stdin!.write(`${JSON.stringify({ request, ...parameters })}\n`);
    const { value, done } = await this.answers!.next();
    if (done === true) throw new LeftOut('the Python process ended');
    const answer = JSON.parse(value) as Record<string, unknown>;
    if (typeof answer.error === 'string') throw new LeftOut(answer.error);
    return answer;
  }

  /** A name for a new arm in the worker. */
  newId(): string {
    this.arms += 1;
    return `arm${this.arms}`;
  }

  /** An arm of whole requests: `request` runs a list of `key`s, whose seconds come back. */
  runner(id: string, request: string, key: string, valueOf: (call: number) => unknown): Runner {
    return {
      run: async (calls) => {
        const values = Array.from({ length: calls }, (_, call) => valueOf(call));
        return (await this.ask(request, { id, [key]: values })).seconds as number[];
      },
    };
  }

  /** Ends the process. */
  stop(): void {
    this.lines?.close();
    this.child?.stdin?.end();
    this.child?.kill();
    this.child = undefined;
  }
}

/** diffusers' UNet2DModel in Python. */
export interface PeerSettings {
  readonly dtype: 'float32' | 'bfloat16';
  readonly channelsLast: boolean;
  /** A mode of torch.compile (with freezing); null: eager. */
  readonly compile: string | null;
}

export const readFloats = async (file: string): Promise<Float32Array> => {
  const { buffer, byteOffset, byteLength } = await readFile(file);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
};

/** diffusers in Python, with these settings. */
export function pythonArm(peers: PythonPeers, settings: PeerSettings): ArmPlan {
  const { dtype, channelsLast, compile } = settings;
  const kind = compile === null ? 'eager' : `torch.compile${compile === 'default' ? '' : ` ${compile}`}`;
  const name = `diffusers ${kind} ${shortName[dtype]}${channelsLast ? ' channels_last' : ''}`;
  const open = async ({ folder, sampleFile: file, shape, cachePrefix }: UNetCase): Promise<Arm> => {
    const id = peers.newId();
    await peers.ask('load', { id, folder, file, shape, ...settings });
    return {
      name,
      dtype,
      own: false,
      ...peers.runner(id, 'run', 'timesteps', timestepOf),
      output: async (timestep) => {
        const result = `${cachePrefix}-output.f32`;
        await peers.ask('output', { id, timestep, file: result });
        return readFloats(result);
      },
      close: async () => void (await peers.ask('unload', { id })),
    };
  };
  return { name, open };
}
