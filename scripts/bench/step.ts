import { join } from 'node:path';
import { Command, Option } from 'commander';
import { getNumThreads, setNumThreads } from '../../ts/index';
import { barChart } from './bar-chart';
import { describeMachine, machineLine } from './machine';
import { measure, openArms } from './measure';
import { count, positive } from './options';
import { print, say, versionsLine, versionsOf, write } from './output';
import { PythonPeers } from './python-peers';
import { describeCase, panelOf, type CaseResult } from './report';
import { nodeStepArm, pythonStepArm } from './step-arms';
import { makeStepCases, STEP_SHAPES, type StepSize } from './step-cases';

interface StepBenchOptions {
  size?: StepSize;
  rounds: number;
  turn: number;
  pause: number;
  threads?: number;
  python?: string | false;
  json: string;
  svg: string | false;
}

const HELP = `
Arms: scheduler.step of this project, with and without predOriginalSample, and diffusers' step where a Python with torch and
diffusers is found. A batch in which every sample has its own timestep is one call here and a call a sample there.

Examples:
  $ npm run bench step                            1×3×32×32 and 16×3×256×256
  $ npm run bench -- step --size small --no-python --no-svg`;

/** `bench step`. */
export function stepCommand(): Command {
  return new Command('step')
    .description("One step of a scheduler: this project against diffusers.")
    .addOption(new Option('--size <name>', 'only this one').choices(Object.keys(STEP_SHAPES)))
    .option('--rounds <n>', 'turns of each arm', count, 15)
    .option('--turn <seconds>', 'length of a turn', positive, 0.25)
    .option('--pause <ms>', 'between turns', positive, 150)
    .option('--threads <n>', 'threads of each arm; default: the CPUs this process may use', count)
    .option('--python <command>', 'the Python of the peers; default: $PYTHON, python3, python')
    .option('--no-python', 'without Python')
    .option('--json <file>', 'where the figures go', join('build', 'bench', 'step.json'))
    .option('--svg <file>', 'where the bar chart goes', join('docs', 'bench-step.svg'))
    .option('--no-svg', 'draw none')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(options: StepBenchOptions): Promise<void> {
  const { threads = getNumThreads(), rounds } = options;
  setNumThreads(threads);
  const turns = { rounds, turnSeconds: options.turn, pauseMs: options.pause };
  const machine = describeMachine();
  const peers = await PythonPeers.start(options.python, threads);
  try {
    const plans = [nodeStepArm(true), nodeStepArm(false), pythonStepArm(peers)];
    const versions = await versionsOf(peers);
    print(`${machineLine(machine)}, ${threads} threads\n${versionsLine(versions)}`);
    const cases: CaseResult[] = [];
    const sizes = options.size === undefined ? (Object.keys(STEP_SHAPES) as StepSize[]) : [options.size];
    for (const size of sizes) {
      for (const stepCase of await makeStepCases(size)) {
        say(stepCase.title);
        const { arms, leftOut } = await openArms(plans, stepCase, () => undefined);
        try {
          cases.push(await measure(stepCase.title, arms, leftOut, (arm) => arm.output(), turns));
        } finally {
          for (const arm of arms) await arm.close();
        }
        print(describeCase(cases.at(-1)!));
      }
    }
    const figures = { date: new Date().toISOString(), machine, threads, versions, turns, cases };
    await write(options.json, `${JSON.stringify(figures, null, 2)}\n`);
    const title = "A scheduler's step on the CPU: median time, shorter is better";
    const panels = cases.filter(({ arms }) => arms.length > 0).map(panelOf);
    if (options.svg !== false) await write(options.svg, barChart({ title, subtitle: machineLine(machine), panels }));
    if (cases.some(({ arms }) => arms.some(({ wrong }) => wrong))) process.exitCode = 1;
  } finally {
    peers.stop();
  }
}
