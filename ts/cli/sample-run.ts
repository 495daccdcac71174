import { stat } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { sampleSizeOf } from '../config/unet-config';
import type { DiffusionImage } from '../image';
import { loadUNet } from '../models';
import { isClassConditional } from '../models/unet-inputs';
import { DDIMPipeline, DDPMPipeline } from '../pipelines';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { Generator } from '../tensor';
import { EMBEDDED_MODEL } from './embedded-model';
import { formatBytes, formatRate, formatSeconds, plural } from './format';
import { interruptible } from './interrupt';
import { openProgress, type Progress } from './progress';
import type { SampleOptions } from './sample';
import { openOutput } from './sample-output';
import { UsageError } from './usage';

type Pipeline = DDIMPipeline | DDPMPipeline;

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

/** The pipeline of a folder, a hub repository or a file of a UNet, with the scheduler that was asked for. */
async function loadPipeline(options: SampleOptions, progress: Progress, signal: AbortSignal): Promise<Pipeline> {
  const { model = EMBEDDED_MODEL, revision, variant, device, dtype } = options;
  const load = { device, ...(dtype === undefined ? {} : { dtype }), ...(variant === undefined ? {} : { variant }) };
  const isDDIM = options.scheduler === 'ddim';
  const isFile = (await stat(model).catch(() => undefined))?.isFile() === true;
  if (isFile) {
    if (variant !== undefined) throw new UsageError(`--variant goes with a folder or repository, got the file ${model}`);
    const unet = await loadUNet(model, load);
    return withSpacing(
      isDDIM
        ? new DDIMPipeline({ unet, scheduler: new DDIMScheduler() })
        : new DDPMPipeline({ unet, scheduler: new DDPMScheduler() }),
      options,
    );
  }
  const pipe = await (isDDIM ? DDIMPipeline : DDPMPipeline).fromPretrained(model, {
    ...load,
    ...(revision === undefined ? {} : { revision }),
    signal,
    onProgress: ({ path, received, total }) => {
      progress.update(received, total, `fetching ${path}, ${formatBytes(received)} of ${formatBytes(total)}`);
    },
  });
  return withSpacing(pipe, options);
}

/** The pipeline with a scheduler of its own kind (a DDPMPipeline keeps a DDIM one from its folder) and the spacing. */
function withSpacing(pipe: Pipeline, { spacing }: SampleOptions): Pipeline {
  const change = spacing === undefined ? {} : { timestepSpacing: spacing };
  const config = { ...pipe.scheduler.config, ...change };
  if (pipe instanceof DDIMPipeline) pipe.scheduler = DDIMScheduler.fromConfig(config);
  else pipe.scheduler = DDPMScheduler.fromConfig(config);
  return pipe;
}

/** What only the model can tell of the options; returns the number of steps. */
function checkAgainstModel(options: SampleOptions, { scheduler, unet }: Pipeline): number {
  const { numTrainTimesteps } = scheduler.config;
  const { steps, timesteps, class: label } = options;
  if (steps !== undefined && steps > numTrainTimesteps) {
    throw new UsageError(`--steps must be an integer in 1 … ${numTrainTimesteps} for this model, got ${steps}`);
  }
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
