import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Generator, randn } from '../../ts/index';
import { timestepOf } from './arms';
import { CACHE } from './bench-model';

/** What all arms of a table do: one step of one batch. */
export interface StepCase {
  readonly title: string;
  readonly scheduler: 'DDIMScheduler' | 'DDPMScheduler';
  readonly shape: readonly [batch: number, channels: number, height: number, width: number];
  readonly eta: number;
  readonly noise: 'none' | 'given' | 'generators';
  /** Every sample at a timestep of its own. */
  readonly mixed: boolean;
  /** Steps that are timed together: a clock has to tell them from nothing. */
  readonly repeats: number;
  /** x_t, the model's output and z, as raw float32, and as files of it. */
  readonly tensors: readonly [sample: Float32Array, output: Float32Array, noise: Float32Array];
  readonly files: readonly [sample: string, output: string, noise: string];
}

/** The timesteps of a call. */
export const timestepsOf = ({ mixed, shape: [batch] }: StepCase, call: number): number[] =>
  Array.from({ length: mixed ? batch : 1 }, (_, sample) => timestepOf(call + 3 * sample));

/** The sizes by name. */
export const STEP_SHAPES = { small: [1, 3, 32, 32], large: [16, 3, 256, 256] } as const;
export type StepSize = keyof typeof STEP_SHAPES;

type Kind = Pick<StepCase, 'title' | 'scheduler' | 'eta' | 'noise' | 'mixed'>;

const KINDS: readonly Kind[] = [
  { title: 'DDIM, η = 0', scheduler: 'DDIMScheduler', eta: 0, noise: 'none', mixed: false },
  { title: 'DDIM, η = 0, a timestep per sample', scheduler: 'DDIMScheduler', eta: 0, noise: 'none', mixed: true },
  { title: 'DDIM, η = 1, noise given', scheduler: 'DDIMScheduler', eta: 1, noise: 'given', mixed: false },
  { title: 'DDPM, noise given', scheduler: 'DDPMScheduler', eta: 0, noise: 'given', mixed: false },
  { title: 'DDPM, a generator per sample', scheduler: 'DDPMScheduler', eta: 0, noise: 'generators', mixed: false },
];

/** The cases of a size, with the inputs that every arm gets. */
export async function makeStepCases(size: StepSize): Promise<StepCase[]> {
  const shape = STEP_SHAPES[size];
  const draw = (seed: number): Float32Array => {
    const tensor = randn([...shape], { generator: new Generator({ seed }) });
    const numbers = tensor.toTypedArray() as Float32Array;
    tensor.dispose();
    return numbers;
  };
  const tensors = [draw(0), draw(1), draw(2)] as const;
  const files = [0, 1, 2].map((index) => join(CACHE, `step-${size}-${index}.f32`)) as unknown as StepCase['files'];
  await mkdir(CACHE, { recursive: true });
  for (const [index, file] of files.entries()) await writeFile(file, tensors[index]!);
  const repeats = size === 'small' ? 100 : 1;
  const kinds = KINDS.filter(({ mixed }) => !mixed || shape[0] > 1);
  return kinds.map((kind) => ({ ...kind, title: `${shape.join('×')}: ${kind.title}`, shape, repeats, tensors, files }));
}
