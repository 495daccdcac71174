import { ArgumentError } from '../errors';
import { checkDevice, checkOptions, showValue } from '../arguments';
import { addon } from '../native/addon';
import type { GeneratorHandle } from '../native/addon-types';
import { HANDLE } from './handle';
import { Tensor, wrapTensor } from './tensor';

/** A seed's 64 bits. @throws ArgumentError */
export function checkSeed(seed: unknown): bigint {
  if (typeof seed === 'bigint' && seed >= -(2n ** 63n) && seed < 2n ** 64n) return BigInt.asUintN(64, seed);
  if (Number.isSafeInteger(seed)) return BigInt.asUintN(64, BigInt(seed as number));
  throw new ArgumentError(`seed must be an integer, a bigint above 2^53 and below 2^64, got ${showValue(seed)}`);
}

/**
 * A stream of random numbers: torch's own. A CPU generator seeded with `s` gives the numbers of
 * `torch.Generator().manual_seed(s)` on x86-64.
 *
 * @example
 * const x = randn([2, 3], { generator: new Generator({ seed: 0 }) });
 */
export class Generator {
  /** @internal */
  readonly [HANDLE]: GeneratorHandle;

  /**
   * @param options.seed an integer; default torch's 67280421310721.
   * @param options.device `'cpu'` (the default) or `'cuda[:N]'`.
   * @throws ArgumentError, DeviceError
   */
  constructor(options: { seed?: number | bigint; device?: string } = {}) {
    checkOptions('Generator', options, ['seed', 'device']);
    const { seed, device = 'cpu' } = options;
    const state = seed === undefined ? undefined : checkSeed(seed);
    this[HANDLE] = new (addon().GeneratorHandle)(checkDevice(device), false);
    if (state !== undefined) this[HANDLE].manualSeed(state);
  }

  /** Where its numbers are made. */
  get device(): string {
    return this[HANDLE].device;
  }

  /** Starts the stream of `seed`. */
  manualSeed(seed: number | bigint): this {
    this[HANDLE].manualSeed(checkSeed(seed));
    return this;
  }

  /** The stream's state, a uint8 tensor as torch's `get_state` gives it. */
  getState(): Tensor {
    return wrapTensor(this[HANDLE].getState());
  }

  /** Continues from a state of {@link getState}, or of torch's. */
  setState(state: Tensor): this {
    if (!(state instanceof Tensor)) throw new ArgumentError(`state must be a Tensor, got ${showValue(state)}`);
    this[HANDLE].setState(state[HANDLE]);
    return this;
  }
}

/** The generator that draws where none is given. */
function defaultGenerator(device: string): Generator {
  const generator = Object.create(Generator.prototype) as { [HANDLE]: GeneratorHandle };
  generator[HANDLE] = new (addon().GeneratorHandle)(device, true);
  return generator as Generator;
}

/** Seeds the default generators of every device, as `torch.manual_seed` does, and returns the CPU's. */
export function manualSeed(seed: number | bigint): Generator {
  const state = checkSeed(seed);
  const { cudaDevices } = addon().runtime();
  for (let i = 0; i < cudaDevices; i++) defaultGenerator(`cuda:${i}`).manualSeed(state);
  return defaultGenerator('cpu').manualSeed(state);
}
