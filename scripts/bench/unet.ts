import { join } from 'node:path';
import { Command } from 'commander';
import { getNumThreads, setNumThreads } from '../../ts/index';
import { LeftOut, type ArmPlan } from './arms';
import { barChart } from './bar-chart';
import { makeCase, modelFolder } from './bench-model';
import { describeLoading, measureLoading } from './loading';
import { describeMachine, machineLine } from './machine';
import { measureCase, measureConcurrency } from './measure';
import { nativeArm, onnxArm, torchScriptArm } from './node-arms';
import { count, list, positive } from './options';
import { print, say, versionsLine, versionsOf, write } from './output';
import { measurePipelines } from './pipelines';
import { pythonArm, PythonPeers } from './python-peers';
import { describeCase, describeConcurrency, panelOf, type CaseResult } from './report';

interface UNetBenchOptions {
  model: string[];
  batch: number[];
  arms?: string[];
  rounds: number;
  turn: number;
  pause: number;
  threads?: number;
  python?: string | false;
  compile: string | false;
  onnx?: string;
  pipeline?: boolean;
  load?: boolean;
  concurrent?: boolean;
  json: string;
  svg: string | false;
}

const HELP = `
Arms: this project's UNet2DModel (float32, bfloat16), TorchScript (frozen and not), onnxruntime-node, and, where a Python
with torch and diffusers is found, diffusers eager and with torch.compile. Python also exports the TorchScript and ONNX
files into build/bench; without it (and without --onnx) those arms are left out.

Examples:
  $ npm run bench unet                                   cifar10 and the embedded model, batch 1 and 8
  $ npm run bench -- unet --model cifar10 --batch 8 --arms node,onnx --rounds 15 --no-svg
  $ npm run bench -- unet --pipeline --load --concurrent   everything docs/BENCHMARKS.md shows
  $ npm run bench -- unet --python .venv/bin/python --compile max-autotune`;

/** `bench unet`. */
export function unetCommand(): Command {
  return new Command('unet')
    .description('One forward of a UNet2DModel: this project against TorchScript, onnxruntime-node and diffusers.')
    .option('--model <names>', 'cifar10, embedded or folders in diffusers\' format', list, ['cifar10', 'embedded'])
    .option('--batch <sizes>', 'batch sizes', (text: string) => list(text).map(count), [1, 8])
    .option('--arms <words>', 'only arms whose name has one of these words in it', list)
    .option('--rounds <n>', 'turns of each arm', count, 9)
    .option('--turn <seconds>', 'length of a turn', positive, 0.5)
    .option('--pause <ms>', 'between turns', positive, 150)
    .option('--threads <n>', 'threads of each arm; default: the CPUs this process may use', count)
    .option('--python <command>', 'the Python of the peers; default: $PYTHON, python3, python')
    .option('--no-python', 'without Python')
    .option('--compile <mode>', "torch.compile's mode", 'default')
    .option('--no-compile', 'without torch.compile, which takes half a minute an arm')
    .option('--onnx <file>', 'use this ONNX file (inputs sample and timestep [B], output output) for every case')
    .option('--pipeline', 'also DDIM with 50 steps of the embedded model, end to end, at batch 1 and 64')
    .option('--load', 'also time and memory of loading')
    .option('--concurrent', 'also 1, 2 and 4 forwards at once')
    .option('--json <file>', 'where the figures go', join('build', 'bench', 'unet.json'))
    .option('--svg <file>', 'where the bar chart goes', join('docs', 'bench-unet.svg'))
    .option('--no-svg', 'draw none')
    .addHelpText('after', HELP)
    .action(run);
}

/** Every arm, in the order of the table. */
function plansOf({ compile, onnx, arms }: UNetBenchOptions, peers: PythonPeers): ArmPlan[] {
  const all = [
    nativeArm('float32'),
    nativeArm('bfloat16'),
    onnxArm(peers, onnx),
    torchScriptArm(true, peers),
    torchScriptArm(false, peers),
    pythonArm(peers, { dtype: 'float32', channelsLast: false, compile: null }),
    pythonArm(peers, { dtype: 'float32', channelsLast: true, compile: null }),
    pythonArm(peers, { dtype: 'bfloat16', channelsLast: true, compile: null }),
  ];
  if (compile !== false) {
    for (const dtype of ['float32', 'bfloat16'] as const) all.push(pythonArm(peers, { dtype, channelsLast: true, compile }));
  }
  const chosen = all.filter(({ name }) => arms === undefined || arms.some((word) => name.includes(word)));
  if (chosen.length === 0) throw new LeftOut(`no arm has '${arms?.join("' or '")}' in its name`);
  return chosen;
}

async function run(options: UNetBenchOptions): Promise<void> {
  const { threads = getNumThreads(), rounds } = options;
  setNumThreads(threads);
  const turns = {
    rounds,
    turnSeconds: options.turn,
    pauseMs: options.pause,
    onRound: (round: number) => say(`round ${round + 1} of ${rounds}`),
  };
  const machine = describeMachine();
  const peers = await PythonPeers.start(options.python, threads);
  try {
    const plans = plansOf(options, peers);
    const versions = await versionsOf(peers);
    print(`${machineLine(machine)}, ${threads} threads\n${versionsLine(versions)}`);
    const cases: CaseResult[] = [];
    const concurrency = [];
    const loading = [];
    for (const name of options.model) {
      for (const batch of options.batch) {
        const result = await measureCase(plans, await makeCase(name, batch, threads), turns, say);
        cases.push(result);
        print(describeCase(result));
      }
      if (options.concurrent === true) {
        const here = plans.filter((plan) => !plan.name.startsWith('diffusers'));
        const counts = [1, 2, 4];
        const rows = await measureConcurrency(here, await makeCase(name, 1, threads), counts, turns, say);
        concurrency.push({ model: name, counts, rows });
        print(describeConcurrency(`${name}, batch 1: several forwards at once`, counts, rows));
      }
      if (options.load === true) {
        const { model, folder } = await modelFolder(name);
        loading.push(await measureLoading(model, folder, rounds));
        print(describeLoading(loading.at(-1)!));
      }
    }
    for (const batch of options.pipeline === true ? [1, 64] : []) {
      const result = await measurePipelines(batch, peers, turns);
      cases.push(result);
      print(describeCase(result));
    }
    const figures = { date: new Date().toISOString(), machine, threads, versions, turns, cases, concurrency, loading };
    await write(options.json, `${JSON.stringify(figures, null, 2)}\n`);
    if (options.svg !== false) await write(options.svg, chartOf(cases, machineLine(machine)));
    if (cases.some(({ arms }) => arms.some(({ wrong }) => wrong))) process.exitCode = 1;
  } finally {
    peers.stop();
  }
}

const chartOf = (cases: readonly CaseResult[], subtitle: string): string =>
  barChart({
    title: 'UNet2DModel on the CPU: median time, shorter is better',
    subtitle,
    panels: cases.filter(({ arms }) => arms.length > 0).map(panelOf),
  });
