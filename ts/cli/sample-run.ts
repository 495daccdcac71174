import { performance } from 'node:perf_hooks';
import { sampleSizeOf } from '../config/unet-config';
import type { DiffusionImage } from '../image';
import { isClassConditional } from '../models/unet-inputs';
import { DDIMPipeline } from '../pipelines';
import { Generator } from '../tensor';
import { formatRate, formatSeconds, plural } from './format';
import { interruptible } from './interrupt';
import { checkSteps, loadPipeline, type Pipeline } from './load-model';
import { openProgress, type Progress } from './progress';
import type { SampleOptions } from './sample';
import { openOutput } from './sample-output';
import { UsageError } from './usage';

/** Draws the images that the options ask for, batch by batch, and prints where they are and how long it took. */
export async function runSample(options: SampleOptions): Promise<void> {
  const progress = openProgress(options.quiet === true);
  try {
    const summary = await interruptible((signal) => sampleAndSave(options, progress, signal));
    progress.stop();
    process.stdout.write(options.quiet === true ? `${summary.path}\n` : `${summary.path}\n${summary.text}\n`);
  } finally {
    progress.stop();
  }
}

async function sampleAndSave(
  options: SampleOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<{ path: string; text: string }> {
  const output = await openOutput(options);
  const loading = performance.now();
  const pipe = await loadPipeline(options, progress, signal);
  const loadSeconds = (performance.now() - loading) / 1000;
  const steps = checkAgainstModel(options, pipe);
  const size = sampleSizeOf(pipe.unet.config);
  if (size !== null) output.checkSize({ height: size[0], width: size[1] });

  const { model = 'the embedded model', count, seed } = options;
  progress.line(
    `loaded ${model} in ${formatSeconds(loadSeconds)}; drawing ${plural(count, 'image')} in ${plural(steps, 'step')}`,
  );
  let seconds = 0;
  for (let first = 0; first < count; first += options.batch) {
    const batch = Math.min(options.batch, count - first);
    const generator = Array.from({ length: batch }, (_, i) => new Generator({ seed: seed + BigInt(first + i) }));
    const started = performance.now();
    const images = await draw(pipe, options, generator, signal, (step) => {
      const note = `${first}/${count} images, step ${step}/${steps} of the next ${batch}`;
      progress.update(first * steps + step * batch, count * steps, note);
    });
    seconds += (performance.now() - started) / 1000;
    await output.add(images, first);
  }
  const path = await output.finish();
  pipe.dispose();
  return { path, text: describeRun(options, steps, seconds) };
}

function draw(
  pipe: Pipeline,
  options: SampleOptions,
  generator: Generator[],
  signal: AbortSignal,
  onStep: (step: number) => void,
): Promise<DiffusionImage[]> {
  const { steps, timesteps, eta, class: label, guidanceScale } = options;
  const batchSize = generator.length;
  const run = {
    batchSize,
    generator,
    signal,
    onProgress: ({ step }: { step: number }) => onStep(step),
    outputType: 'image' as const,
    ...(steps === undefined ? {} : { numInferenceSteps: steps }),
    ...(timesteps === undefined ? {} : { timesteps }),
    ...(label === undefined ? {} : { classLabels: Array.from({ length: batchSize }, () => label) }),
    ...(guidanceScale === undefined ? {} : { guidanceScale }),
  };
  const drawn = pipe instanceof DDIMPipeline ? pipe.run({ ...run, eta }) : pipe.run(run);
  return drawn.then(({ images }) => images);
}

/** What only the model can tell of the options; returns the number of steps. */
function checkAgainstModel(options: SampleOptions, { scheduler, unet }: Pipeline): number {
  const { numTrainTimesteps } = scheduler.config;
  const { steps, timesteps, class: label } = options;
  checkSteps(steps, scheduler);
  if (timesteps !== undefined && timesteps[0]! >= numTrainTimesteps) {
    throw new UsageError(`--timesteps must be below ${numTrainTimesteps} for this model, got ${timesteps[0]}`);
  }
  const { numClassEmbeds, classEmbedType } = unet.config;
  if (classEmbedType === 'identity') {
    throw new UsageError('--model must not take embeddings for classes: they are for the API to give');
  }
  if (!isClassConditional(unet.config) && label !== undefined) {
    throw new UsageError(`--class goes with a class-conditional model, got one without classes`);
  }
  const classes = (classEmbedType ?? null) === null && typeof numClassEmbeds === 'number' ? numClassEmbeds : Infinity;
  if (isClassConditional(unet.config) && (label === undefined || label >= classes)) {
    const range = classes === Infinity ? 'given' : `an integer in 0 … ${classes - 1}`;
    throw new UsageError(`--class must be ${range} for this model, got ${label ?? 'none'}`);
  }
  const byDefault = options.scheduler === 'ddim' ? 50 : 1000;
  if (steps === undefined && timesteps === undefined && byDefault > numTrainTimesteps) {
    throw new UsageError(`--steps must be given: the default ${byDefault} is above the model's ${numTrainTimesteps}`);
  }
  return timesteps?.length ?? steps ?? byDefault;
}

function describeRun(options: SampleOptions, steps: number, seconds: number): string {
  const { count, seed, scheduler, eta, device, dtype } = options;
  const seeds = count === 1 ? `seed ${seed}` : `seeds ${seed} … ${seed + BigInt(count) - 1n}`;
  const sampler = scheduler === 'ddim' ? `DDIM, eta ${eta}` : 'DDPM';
  const where = dtype === undefined ? device : `${device}, ${dtype}`;
  return (
    `${plural(count, 'image')} in ${formatSeconds(seconds)}, ${formatRate(count / seconds)} images/s ` +
    `(${sampler}, ${plural(steps, 'step')}, ${seeds}, ${where})`
  );
}
