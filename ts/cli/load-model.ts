import { stat } from 'node:fs/promises';
import { EMBEDDED_MODEL, loadUNet } from '../models';
import { DDIMPipeline, DDPMPipeline } from '../pipelines';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { formatBytes } from './format';
import type { ModelOptions, SamplerOptions } from './model-options';
import type { Progress } from './progress';
import { UsageError } from './usage';

export type Pipeline = DDIMPipeline | DDPMPipeline;

/** The pipeline of a folder, a hub repository or a file of a UNet, with the scheduler that was asked for. */
export async function loadPipeline(
  options: ModelOptions & SamplerOptions,
  progress: Progress,
  signal: AbortSignal,
): Promise<Pipeline> {
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
function withSpacing(pipe: Pipeline, { spacing }: SamplerOptions): Pipeline {
  const change = spacing === undefined ? {} : { timestepSpacing: spacing };
  const config = { ...pipe.scheduler.config, ...change };
  if (pipe instanceof DDIMPipeline) pipe.scheduler = DDIMScheduler.fromConfig(config);
  else pipe.scheduler = DDPMScheduler.fromConfig(config);
  return pipe;
}

/** @throws UsageError for more steps than the model was trained with. */
export function checkSteps(steps: number | undefined, scheduler: Pipeline['scheduler']): void {
  const { numTrainTimesteps } = scheduler.config;
  if (steps === undefined || steps <= numTrainTimesteps) return;
  throw new UsageError(`--steps must be an integer in 1 … ${numTrainTimesteps} for this model, got ${steps}`);
}
