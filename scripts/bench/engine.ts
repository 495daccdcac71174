import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { getNumThreads, setNumThreads } from '../../ts/index';
import { barChart } from './bar-chart';
import { modelFolder } from './bench-model';
import { openContenders, serversOf, type Contenders } from './engine-contenders';
import { checkServers, measureCurves, measurePoint } from './engine-measure';
import {
  bestSize, describeAims, describeCurves, describePoint, latencyChart, throughputChart, type BatchCurve,
} from './engine-report'; // prettier-ignore
import { aimsOf, BATCHES, ENGINE, isMixed, ONE_AT_A_TIME, PYTHON_BATCHES, titleOf, type PointResult } from './engine-results';
import { lineChart } from './line-chart';
import { describeMachine, machineLine } from './machine';
import { count, list, positive } from './options';
import { print, say, versionsLine, versionsOf, write } from './output';
import { PythonPeers } from './python-peers';
import { summarize } from './statistics';
import { threeDigits } from './table';
import { burstOf, poissonTrace, type Trace, type TraceOptions } from './trace';

interface EngineBenchOptions {
  model: string;
  maxBatch: number;
  steps: number[][];
  loads: number[];
  requests: number;
  rounds: number;
  seed: number;
  pause: number;
  threads?: number;
  python?: string | false;
  json: string;
  svg: string | false;
}

/** Drawn by every server and compared. */
const CHECKED_IMAGES = 4;

const HELP = `
Every server plays the same traces: requests for DDIM images of one model, each with its own seed and step count, that come
as a Poisson process. A load of 1 is what full batches of whole requests make without a pause.
  ${ENGINE}              requests join and leave the batch at every step
  ${BATCHES}            whenever the worker is free, up to so many waiting requests of one step count, as one batch
  …, short ones leave        with requests of any step count, each at its own timestep; nobody joins (mixed steps only)
  one at a time              first come, first served
  diffusers, ${BATCHES} DDIMPipeline in Python behind the same rule, timed in Python

Examples:
  $ npm run bench engine
  $ npm run bench -- engine --loads 0.8 --steps 5/50 --requests 300 --no-python --no-svg
  $ npm run bench -- engine --python .venv/bin/python`;

/** '20, 10/20/50' → [[20], [10, 20, 50]]. */
const stepLists = (text: string): number[][] => list(text).map((one) => one.split('/').map(count));

function seedOf(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 31) return value;
  throw new InvalidArgumentError(`must be a whole number below 2^31, got '${text}'`);
}

/** `bench engine`. */
export function engineCommand(): Command {
  return new Command('engine')
    .description('SamplerEngine under load: against one request at a time, batches of whole requests, and diffusers.')
    .option('--model <name>', "cifar10, embedded or a folder in diffusers' format", 'embedded')
    .option('--max-batch <n>', 'the largest batch of every server; those of whole requests take what suits them best', count, 64)
    .addOption(
      new Option('--steps <lists>', 'step counts of the requests, a list for each table')
        .argParser(stepLists)
        .default([[10], [5, 10, 25]], '10,5/10/25'),
    )
    .addOption(
      new Option('--loads <list>', 'offered loads')
        .argParser((text) => list(text).map(positive))
        .default([0.3, 0.5, 0.7, 0.9], '0.3,0.5,0.7,0.9'),
    )
    .option('--requests <n>', 'in each trace', count, 160)
    .option('--rounds <n>', 'traces of each load', count, 2)
    .option('--seed <n>', 'of the first trace', seedOf, 0)
    .option('--pause <ms>', 'between turns', positive, 150)
    .option('--threads <n>', 'threads of each server; default: the CPUs this process may use', count)
    .option('--python <command>', 'the Python of the peer; default: $PYTHON, python3, python')
    .option('--no-python', 'without Python')
    .option('--json <file>', 'where the figures go', join('build', 'bench', 'engine.json'))
    .option('--svg <prefix>', 'where the charts go: PREFIX-latency.svg and PREFIX-throughput.svg', join('docs', 'bench-engine'))
    .option('--no-svg', 'draw none')
    .addOption(
      new Option('--quick', 'a few requests, to see that it runs; the figures mean nothing').implies({
        maxBatch: 4, steps: [[3], [2, 3, 5]], loads: [0.7], requests: 6, rounds: 1, pause: 1,
      }), // prettier-ignore
    )
    .addHelpText('after', HELP)
    .action(run);
}

/** 1, 2, 4, … and the largest. */
const sizesUpTo = (most: number): number[] => {
  const powers = Array.from({ length: Math.ceil(Math.log2(most)) }, (_, power) => 2 ** power);
  return [...powers, most];
};

async function run(options: EngineBenchOptions): Promise<void> {
  const { maxBatch, steps, loads, requests, threads = getNumThreads() } = options;
  setNumThreads(threads);
  const machine = describeMachine();
  const { model, folder } = await modelFolder(options.model);
  const peers = await PythonPeers.start(options.python, threads);
  let contenders: Contenders | undefined;
  try {
    const versions = await versionsOf(peers);
    print(`${machineLine(machine)}, ${threads} threads\n${versionsLine(versions)}`);
    say(`${model}: loading and warming up`);
    contenders = await openContenders(folder, { maxBatch, maxQueue: Math.max(requests, maxBatch) }, peers);
    if (contenders.leftOut !== undefined) print(`left out: ${PYTHON_BATCHES}: ${contenders.leftOut}`);

    const sizes = sizesUpTo(maxBatch);
    const curves = await curvesOf(contenders, sizes, options);
    print(describeCurves(sizes, curves));
    const [here, python] = curves;
    const limits = { here: here!.best, python: python?.best ?? 1 };
    const capacity = here!.stepsPerSecond[sizes.indexOf(here!.best)]!;
    print(`a load of 1: ${threeDigits(capacity)} sample steps a second`);

    const checked = await checkServers(serversOf(contenders, true, limits), steps.flat(), CHECKED_IMAGES);
    for (const { name, relativeError, wrong } of checked) {
      print(`${name}: images within ${relativeError.toExponential(1)} of ${ONE_AT_A_TIME}${wrong ? ': WRONG' : ''}`);
      if (wrong) process.exitCode = 1;
    }

    const points: PointResult[] = [];
    const late: number[] = [];
    for (const load of [null, ...loads]) {
      for (const list of steps) {
        const asked = { steps: list, load, requests: load === null ? Math.max(requests, maxBatch) : requests };
        say(titleOf(asked));
        const traceOf = (trace: TraceOptions): Trace =>
          load === null ? burstOf(trace) : poissonTrace({ ...trace, stepsPerSecond: load * capacity });
        const servers = serversOf(contenders, isMixed(asked), limits);
        const turns = { rounds: options.rounds, pauseMs: options.pause, first: points.length };
        const measured = await measurePoint(servers, asked, traceOf, { ...turns, seed: options.seed });
        points.push(measured.point);
        late.push(...measured.late);
        print(describePoint(measured.point));
      }
    }

    const aims = aimsOf(points);
    print(describeAims(aims));
    const lateness = summarize(late);
    print(`Latencies count from the traces' times; requests were handed over ${threeDigits(1000 * lateness.median)} ms after them (median).`);
    const figures = {
      date: new Date().toISOString(), machine, threads, versions, model, options, sizes, curves, checked, capacity, lateness,
      points, aims,
    }; // prettier-ignore
    await write(options.json, `${JSON.stringify(figures, null, 2)}\n`);
    if (options.svg !== false) {
      const subtitle = `${model} on ${machineLine(machine)}`;
      await write(`${options.svg}-latency.svg`, lineChart(latencyChart(points, subtitle)));
      await write(`${options.svg}-throughput.svg`, barChart(throughputChart(points, subtitle)));
    }
  } finally {
    await contenders?.close();
    peers.stop();
  }
}

/** What batches of each size come to, here and in Python. */
async function curvesOf(
  { batches, python }: Contenders,
  sizes: readonly number[],
  { rounds, pause: pauseMs }: EngineBenchOptions,
): Promise<BatchCurve[]> {
  say('batches of each size');
  const makers = [(limit: number) => batches(BATCHES, 'equal steps', limit), ...(python === undefined ? [] : [python])];
  const rates = await measureCurves(makers, sizes, { rounds: rounds + 1, pauseMs });
  return rates.map((stepsPerSecond, index) => ({
    name: [BATCHES, PYTHON_BATCHES][index]!, stepsPerSecond, best: bestSize(sizes, stepsPerSecond),
  })); // prettier-ignore
}
