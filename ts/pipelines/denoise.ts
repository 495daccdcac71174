import { showValue } from '../arguments';
import { ArgumentError, ShapeError, throwIfAborted } from '../errors';
import type { UNetLike } from '../models';
import type { DDIMScheduler, DDPMScheduler } from '../schedulers';
import { randn, Tensor, type FloatingDType } from '../tensor';
import { predictGuided, type Guidance } from './guidance';
import type { StepOptions } from './pipeline';
import type { RunOptions } from './run-options';

/** Everything a run needs, checked. */
export interface DenoiseJob {
  unet: UNetLike;
  /** A scheduler of this run's own, with its timesteps set. */
  scheduler: DDPMScheduler | DDIMScheduler;
  shape: readonly number[];
  step: StepOptions;
  guidance: Guidance | undefined;
  options: RunOptions;
}

/** The samples that denoising starts from. The caller's own latents are copied, so that disposing stays ours. */
function initialSamples({ unet, shape, options }: DenoiseJob): Tensor {
  // A half model's noise is drawn in its dtype, as diffusers does; x_t and the steps stay float32.
  const { dtype, device } = unet;
  const stateDType = dtype === 'float64' ? 'float64' : 'float32';
  const { latents, generator } = options;
  const drawn = { dtype: dtype as FloatingDType, device, ...(generator === undefined ? {} : { generator }) };
  const start = latents?.clone() ?? randn(shape, drawn);
  if (start.dtype === stateDType && start.device === device) return start;
  const converted = start.to({ dtype: stateDType, device });
  start.dispose();
  return converted;
}

/** A handle of ours on what a callback gives back to go on from. @throws ArgumentError, ShapeError */
function checkLatents(latents: unknown, like: Tensor): Tensor {
  if (!(latents instanceof Tensor)) throw new ArgumentError(`callbackOnStepEnd must return latents as a Tensor, got ${showValue(latents)}`);
  if (latents.shape.join() === like.shape.join()) return latents.to({ dtype: like.dtype, device: like.device });
  throw new ShapeError(`callbackOnStepEnd must return latents of shape [${like.shape.join(', ')}], got [${latents.shape.join(', ')}]`);
}

/** What a model gave: UNetLike may be anyone's object. @throws ArgumentError */
function readSample(output: { sample: Tensor }): Tensor {
  const sample: unknown = (output as Partial<typeof output> | null | undefined)?.sample;
  if (sample instanceof Tensor) return sample;
  throw new ArgumentError(`unet.forward must give { sample } with a Tensor, got ${showValue(sample ?? output)}`);
}

/**
 * The sampling loop: x_T → x_0 along the scheduler's timesteps. The model and the steps run off the JS thread; the signal
 * is looked at between them.
 */
export async function denoise(job: DenoiseJob): Promise<Tensor> {
  const { unet, scheduler, guidance, options } = job;
  const { signal, callbackOnStepEnd, onProgress } = options;
  // Lists are copied: the caller's may change while the run is under way.
  const classLabels = Array.isArray(options.classLabels) ? [...options.classLabels] : options.classLabels;
  const generator = Array.isArray(options.generator) ? [...options.generator] : options.generator;
  const stepOptions = {
    ...job.step,
    ...(generator === undefined ? {} : { generator }),
    returnPredOriginalSample: callbackOnStepEnd !== undefined,
  };
  const predict = async (x: Tensor, timestep: number, labels = classLabels): Promise<Tensor> => {
    const given = { ...(labels === undefined ? {} : { classLabels: labels }), ...(signal === undefined ? {} : { signal }) };
    return readSample(await unet.forward(x, timestep, given));
  };
  const { timesteps } = scheduler;
  throwIfAborted(signal);
  let x = initialSamples(job);
  const goOnFrom = (next: Tensor): void => {
    x.dispose();
    x = next;
  };
  try {
    for (const [step, timestep] of timesteps.entries()) {
      throwIfAborted(signal);
      const out = await (guidance === undefined
        ? predict(x, timestep)
        : predictGuided((doubled, labels) => predict(doubled, timestep, labels), x, guidance));
      const { prevSample, predOriginalSample } = await scheduler
        .stepAsync(out, timestep, x, stepOptions)
        .finally(() => out.dispose());
      goOnFrom(prevSample);
      if (callbackOnStepEnd !== undefined) {
        // A handle of its own, so that the callback may keep the tensor or dispose it.
        const change = await callbackOnStepEnd({ step, timestep, latents: x.to({}), predOriginalSample });
        if (change?.latents !== undefined) goOnFrom(checkLatents(change.latents, x));
      }
      onProgress?.({ step: step + 1, totalSteps: timesteps.length, timestep });
    }
    throwIfAborted(signal);
    return x;
  } catch (error) {
    x.dispose();
    throw error;
  }
}
