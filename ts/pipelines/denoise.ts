import { showValue } from '../arguments';
import { ArgumentError, ShapeError, throwIfAborted } from '../errors';
import type { UNetLike } from '../models';
import type { DDIMScheduler, DDPMScheduler } from '../schedulers';
import type { JumpOptions } from '../schedulers/scheduler';
import { randn, Tensor } from '../tensor';
import type { RunOptions } from './run-options';

/** Everything a run needs, checked. */
export interface DenoiseJob {
  unet: UNetLike;
  /** A scheduler of this run's own, with its timesteps set. */
  scheduler: DDPMScheduler | DDIMScheduler;
  shape: readonly number[];
  step: Pick<JumpOptions, 'eta' | 'useClippedModelOutput'>;
  options: RunOptions;
}

/** The samples that denoising starts from. The caller's own latents are copied, so that disposing stays ours. */
function initialSamples({ unet, shape, options }: DenoiseJob): Tensor {
  // A half model's noise is drawn in its dtype, as diffusers does; x_t and the steps stay float32.
  const { dtype, device } = unet;
  const stateDType = dtype === 'float64' ? 'float64' : 'float32';
  const { latents, generator } = options;
  const start = latents?.clone() ?? randn(shape, { dtype, device, ...(generator === undefined ? {} : { generator }) });
  if (start.dtype === stateDType && start.device === device) return start;
  const converted = start.to({ dtype: stateDType, device });
  start.dispose();
  return converted;
}

/** What a callback gives back to go on from. @throws ArgumentError, ShapeError */
function checkLatents(latents: unknown, like: Tensor): Tensor {
  if (!(latents instanceof Tensor)) throw new ArgumentError(`callbackOnStepEnd must return latents as a Tensor, got ${showValue(latents)}`);
  if (latents.shape.join() === like.shape.join()) return latents.to({ dtype: like.dtype, device: like.device });
  throw new ShapeError(`callbackOnStepEnd must return latents of shape [${like.shape.join(', ')}], got [${latents.shape.join(', ')}]`);
}

/**
 * The sampling loop: x_T → x_0 along the scheduler's timesteps. The model and the steps run off the JS thread; the signal
 * is looked at between them.
 */
export async function denoise(job: DenoiseJob): Promise<Tensor> {
  const { unet, scheduler, options } = job;
  const { generator, classLabels, signal, callbackOnStepEnd, onProgress } = options;
  const stepOptions = {
    ...job.step,
    ...(generator === undefined ? {} : { generator }),
    returnPredOriginalSample: callbackOnStepEnd !== undefined,
  };
  const forwardOptions = { ...(classLabels === undefined ? {} : { classLabels }), ...(signal === undefined ? {} : { signal }) };
  const { timesteps } = scheduler;
  throwIfAborted(signal);
  let x = initialSamples(job);
  let ours = true; // whether x may be disposed: not once a callback has seen it
  try {
    for (const [step, timestep] of timesteps.entries()) {
      throwIfAborted(signal);
      const { sample: out } = await unet.forward(x, timestep, forwardOptions);
      const { prevSample, predOriginalSample } = await scheduler.stepAsync(out, timestep, x, stepOptions);
      out.dispose();
      if (ours) x.dispose();
      x = prevSample;
      ours = callbackOnStepEnd === undefined;
      const change = await callbackOnStepEnd?.({ step, timestep, latents: x, predOriginalSample });
      if (change?.latents !== undefined) x = checkLatents(change.latents, x);
      onProgress?.({ step: step + 1, totalSteps: timesteps.length, timestep });
    }
    throwIfAborted(signal);
    return ours ? x : x.clone();
  } catch (error) {
    if (ours) x.dispose();
    throw error;
  }
}
