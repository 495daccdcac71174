// What must not compile: each line below a @ts-expect-error is an error, or the compiler complains about the comment.
import {
  DDIMPipeline,
  DDIMScheduler,
  DDPMScheduler,
  DDIMInverseScheduler,
  Generator,
  runBatch,
  SamplerEngine,
  Tensor,
  TorchScriptModel,
  UNet2DModel,
  type BatchOptions,
  randn,
  setFloat32MatmulPrecision,
  setNumThreads,
  tidy,
  zeros,
} from 'node-diffusers';

declare const x: Tensor;
declare const pipe: DDIMPipeline;

// --- tensors
// @ts-expect-error a dtype that does not exist
zeros([1], { dtype: 'float' });
// @ts-expect-error PyTorch's spelling of a dtype
x.to({ dtype: 'torch.float32' });
// @ts-expect-error random numbers are of a floating dtype
randn([1], { dtype: 'int64' });
// @ts-expect-error an async function's tensors outlive the call
void tidy(async () => x.clone());
// @ts-expect-error so do a promise's
void tidy(() => Promise.resolve(1));
// @ts-expect-error an unknown option
randn([1], { seed: 0 });
// @ts-expect-error undefined for an option, under exactOptionalPropertyTypes
randn([1], { dtype: undefined });
// @ts-expect-error a shape is an array
zeros(3);
// @ts-expect-error an unknown memory format
x.to({ memoryFormat: 'channels_last' });
// @ts-expect-error shape is read-only
x.shape = [1];
// @ts-expect-error so are its entries
x.shape[0] = 1;
// @ts-expect-error text is no operand
x.add('1');
// @ts-expect-error a seed is a number or a bigint
new Generator({ seed: '0' });
// @ts-expect-error Tensor is made by Tensor.from
Tensor.from('data');

// --- schedulers
// @ts-expect-error an unknown beta schedule
new DDPMScheduler({ betaSchedule: 'cosine' });
// @ts-expect-error diffusers' spelling is for files and fromConfig
new DDPMScheduler({ beta_schedule: 'linear' });
// @ts-expect-error an unknown prediction type
new DDIMScheduler({ predictionType: 'eps' });
// @ts-expect-error DDPM has no quadratic spacing
new DDPMScheduler({ timestepSpacing: 'quadratic' });
// @ts-expect-error DDIMInverse has leading and trailing only
new DDIMInverseScheduler({ timestepSpacing: 'linspace' });
// @ts-expect-error DDIM has no variance type
new DDIMScheduler({ varianceType: 'fixed_small' });
// @ts-expect-error a number is wanted
new DDIMScheduler({ numTrainTimesteps: '1000' });
// @ts-expect-error the config is read-only
new DDIMScheduler().config.betaStart = 1;
// @ts-expect-error both
new DDIMScheduler().setTimesteps({ numInferenceSteps: 2, timesteps: [1, 0] });
// @ts-expect-error neither
new DDIMScheduler().setTimesteps({});
// @ts-expect-error DDPM's step has no eta
new DDPMScheduler().step(x, 1, x, { eta: 0 });
// @ts-expect-error eta is a number
new DDIMScheduler().step(x, 1, x, { eta: 'ddim' });
// @ts-expect-error an unknown option
new DDIMScheduler().step(x, 1, x, { generater: new Generator() });
// @ts-expect-error the inverse takes sourceTimestep only
new DDIMInverseScheduler().step(x, 1, x, { prevTimestep: 0 });
// @ts-expect-error returnPredOriginalSample: false leaves it out
new DDIMScheduler().step(x, 1, x, { returnPredOriginalSample: false }).predOriginalSample;

// --- pipelines and models
// @ts-expect-error an unknown output type
void pipe.run({ outputType: 'pil' });
// @ts-expect-error an unknown option
void pipe.run({ num_inference_steps: 10 });
// @ts-expect-error a signal, not a controller
void pipe.run({ signal: new AbortController() });
// @ts-expect-error a tensor has no save
void pipe.run({ outputType: 'tensor' }).then(({ images }) => images.save('a.png'));
// @ts-expect-error an image is no tensor
void pipe.run().then(({ images }) => images[0]?.reshape([1]));
// @ts-expect-error an unknown image format
void pipe.run().then(({ images }) => images[0]?.toBuffer('gif'));
// @ts-expect-error an unknown dtype
void DDIMPipeline.fromPretrained('folder', { dtype: 'half' });
// @ts-expect-error an unknown option
void TorchScriptModel.load('file.pt', { map_location: 'cpu' });
// @ts-expect-error a pipeline needs both parts
new DDIMPipeline({ scheduler: new DDIMScheduler() });
// @ts-expect-error an unknown activation
UNet2DModel.fromConfig({ actFn: 'tanh' });
// @ts-expect-error in diffusers' spelling too
UNet2DModel.fromConfig({ act_fn: 'tanh' });
// @ts-expect-error an unknown block
UNet2DModel.fromConfig({ downBlockTypes: ['CrossAttnDownBlock2D'] });
// @ts-expect-error a block of the way up on the way down
UNet2DModel.fromConfig({ downBlockTypes: ['UpBlock2D'] });
// @ts-expect-error an unknown time embedding
UNet2DModel.fromConfig({ timeEmbeddingType: 'rotary' });
// @ts-expect-error an unknown key
UNet2DModel.fromConfig({ inChanels: 3 });
// @ts-expect-error an unknown dtype
void UNet2DModel.fromPretrained('folder', { dtype: 'fp16' });
// @ts-expect-error Python's spelling of an option
void UNet2DModel.fromPretrained('folder', { torch_dtype: 'float16' });
// @ts-expect-error a generator, not a seed
UNet2DModel.fromConfig({}, { seed: 1 });
// @ts-expect-error it is made by its static methods
new UNet2DModel();
// @ts-expect-error guidance is a number
void pipe.run({ classLabels: [1], guidanceScale: '4' });
// @ts-expect-error a number is wanted
setNumThreads('4');
// @ts-expect-error a closed list
setFloat32MatmulPrecision('medium');

// --- the engine
declare const engine: SamplerEngine;
// @ts-expect-error a scheduler's name is none
void engine.sample({ scheduler: 'ddim' });
// @ts-expect-error no scheduler
void engine.sample({ seed: 1 });
// @ts-expect-error an output type that does not exist
void engine.sample({ scheduler: new DDIMScheduler(), outputType: 'pil' });
// @ts-expect-error an unknown source of random numbers
void engine.sample({ scheduler: new DDIMScheduler(), rng: 'mt19937' });
// @ts-expect-error Python's spelling
void engine.sample({ scheduler: new DDIMScheduler(), num_inference_steps: 5 });
// @ts-expect-error a batch has no seed list: one request, one image
void engine.sample({ scheduler: new DDIMScheduler(), seed: [1, 2] });
// @ts-expect-error an unknown option
new SamplerEngine(new DDIMScheduler() as never, { maxBatch: 4 });

// --- batches
declare const parts: Pick<BatchOptions, 'unet' | 'scheduler'>;
// @ts-expect-error no folder
void runBatch({ jobs: [{ id: 'a' }], ...parts });
// @ts-expect-error a job without an id
void runBatch({ jobs: [{ seed: 1 }], out: 'images', ...parts });
// @ts-expect-error an unknown key of a job
void runBatch({ jobs: [{ id: 'a', steps: 5 }], out: 'images', ...parts });
// @ts-expect-error a scheduler's name, not a scheduler
void runBatch({ jobs: [{ id: 'a', scheduler: new DDIMScheduler() }], out: 'images', ...parts });
// @ts-expect-error an unknown format
void runBatch({ jobs: 'jobs.jsonl', out: 'images', format: 'gif', ...parts });
// @ts-expect-error a shard is { index, count }
void runBatch({ jobs: 'jobs.jsonl', out: 'images', shard: '1/2', ...parts });
