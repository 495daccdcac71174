import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Generator, Tensor } from '../../ts/index';

/** Where the recordings are. */
export const FIXTURES = join(__dirname, '..', 'fixtures', 'parity');

export type RecordedDType = 'float32' | 'float64' | 'float16' | 'bfloat16' | 'int32' | 'int64';
/** A tensor in the binary file: dtype, shape, byte offset. */
export type Ref = readonly [RecordedDType, readonly number[], number];
export type ClassName = 'DDPMScheduler' | 'DDIMScheduler' | 'DDIMInverseScheduler';
export type Config = Readonly<Record<string, unknown>>;
export type Seeds = number | readonly number[] | null;

const VIEWS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
} as const;

/** One recording: the manifest NAME.json and the tensors of NAME.bin. */
export class Fixture<M> {
  readonly manifest: M;
  private readonly data: ArrayBuffer;

  constructor(name: string) {
    this.manifest = JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), 'utf8')) as M;
    const file = readFileSync(join(FIXTURES, `${name}.bin`));
    this.data = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength) as ArrayBuffer;
  }

  /** The recorded bytes as they are; halves as their 16 bits. */
  raw([dtype, shape, offset]: Ref): Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array {
    return new VIEWS[dtype](
      this.data,
      offset,
      shape.reduce((a, b) => a * b, 1),
    );
  }

  /** The recorded numbers, halves widened. */
  numbers(ref: Ref): number[] {
    const raw = this.raw(ref);
    if (ref[0] === 'float16') return Array.from(raw as Uint16Array, widenFloat16);
    if (ref[0] === 'bfloat16') return Array.from(raw as Uint16Array, widenBfloat16);
    return Array.from(raw as Float64Array, Number);
  }

  /** A tensor of ours with the recorded numbers and dtype. */
  tensor(ref: Ref): Tensor {
    return Tensor.from({ type: ref[0], data: this.raw(ref).slice(), dims: [...ref[1]] } as never);
  }
}

export function widenBfloat16(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}

export function widenFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** Fresh generators of recorded seeds: one, a list, or none. */
export function generatorsOf(seeds: Seeds | undefined): { generator?: Generator | Generator[] } {
  if (seeds === null || seeds === undefined) return {};
  if (typeof seeds === 'number') return { generator: new Generator({ seed: seeds }) };
  return { generator: seeds.map((seed) => new Generator({ seed })) };
}

/** The numbers of one of our tensors. */
export function numbersOf(tensor: Tensor): number[] {
  return Array.from(tensor.toTypedArray() as Float64Array, Number);
}

/** The largest |value| of a list, at least 1: what an absolute tolerance is scaled by. */
export function magnitude(values: readonly number[]): number {
  return values.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
}

/** The largest |got − want|; NaN or a different length makes it infinite. */
export function worstError(got: readonly number[], want: readonly number[]): number {
  if (got.length !== want.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < got.length; i++) {
    const error = Math.abs(got[i]! - want[i]!);
    if (!(error <= worst)) worst = Number.isNaN(error) ? Infinity : error;
  }
  return worst;
}

/** Gathers comparisons of a group, so that one failed assertion names every case and the worst error. */
export class Comparison {
  count = 0;
  private worst = { share: 0, what: 'none' };
  private readonly failures: string[] = [];

  check(what: string, got: readonly number[], want: readonly number[], tolerance: number): void {
    this.count++;
    const error = worstError(got, want);
    const share = error / tolerance;
    const line = `${what}: max error ${error.toExponential(2)}, allowed ${tolerance.toExponential(2)}`;
    if (share > this.worst.share) this.worst = { share, what: line };
    if (!(error <= tolerance)) this.failures.push(line);
  }

  /** A case that threw instead of giving numbers. */
  fail(what: string, error: unknown): void {
    this.count++;
    this.failures.push(`${what}: ${String(error)}`);
  }

  assertAll(): void {
    assert.ok(this.count > 0, 'no case was compared');
    if (this.failures.length === 0) return;
    const shown = this.failures.slice(0, 40).join('\n  ');
    assert.fail(
      `${this.failures.length} of ${this.count} comparisons differ; worst: ${this.worst.what} ` +
        `(${this.worst.share.toPrecision(3)} of its tolerance)\n  ${shown}`,
    );
  }
}
