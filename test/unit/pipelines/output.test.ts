import assert from 'node:assert/strict';
import sharp from 'sharp';
import { DDIMPipeline, DiffusionImage, Tensor, zeros } from '../../../ts/index';
import { toOutput } from '../../../ts/pipelines/to-output';
import { freedBy } from '../tensor/freed';
import { drawing, isDisposed } from './helpers';

/** Draws exactly these samples, `[B, C, H, W]`. */
function draws(target: Tensor) {
  const pipe = new DDIMPipeline(drawing(target));
  return <O extends 'image' | 'tensor' | 'uint8'>(outputType: O) =>
    pipe.run({ batchSize: target.shape[0]!, timesteps: [0], outputType });
}

/** What float32 arithmetic makes of x: 255·(x/2 + 0.5). */
const scaled = (x: number): number => Math.fround(Math.fround(Math.fround(x / 2) + 0.5) * 255);

/** A float32 x that is scaled to k + 1/2 to the bit, where there is one near. */
function halfway(k: number): number | undefined {
  const x = Math.fround(2 * ((k + 0.5) / 255 - 0.5));
  const bits = new Int32Array(Float32Array.of(x).buffer);
  for (let move = -40; move <= 40; move++) {
    const near = new Float32Array(Int32Array.of(bits[0]! + move).buffer)[0]!;
    if (scaled(near) === k + 0.5) return near;
  }
  return undefined;
}

describe('pipelines: output', () => {
  it('frees the samples, and the pixels that images have copied', async () => {
    for (const [outputType, count] of [['tensor', 1], ['uint8', 1], ['image', 2]] as const) {
      const samples = zeros([2, 1, 4, 4]);
      const freed = await freedBy(() => toOutput(samples, outputType));
      assert.deepEqual([freed.length, freed.includes(samples)], [count, true], outputType);
    }
  });

  it("'tensor' is float32 NHWC: x/2 + 0.5, in [0, 1]", async () => {
    const x = Float32Array.of(-1, -0.5, 0, 0.25, 0.5, 1, 3, -3, 1.0001, -1.0001, 0.75, -0.75);
    const target = Tensor.from(x, [1, 2, 2, 3]);
    const { images } = await draws(target)('tensor');
    assert.deepEqual([images.dtype, images.shape], ['float32', [1, 2, 3, 2]]);
    const expected: number[] = [];
    for (let place = 0; place < 6; place++) {
      for (const channel of [0, 1]) expected.push(Math.min(1, Math.max(0, x[channel * 6 + place]! / 2 + 0.5)));
    }
    assert.deepEqual([...images.toTypedArray()], expected.map(Math.fround));
  });

  it("'uint8' is NHWC, rounded half to even, and bounded", async () => {
    const halves = Array.from({ length: 255 }, (_, k) => [k, halfway(k)] as const).filter(([, x]) => x !== undefined);
    assert.ok(halves.length > 150, `only ${halves.length} halves were found`);
    const x = Float32Array.from([...halves.map(([, x]) => x!), -9, 9, -1, 1, 0]);
    const { images } = await draws(Tensor.from(x, [1, 1, 1, x.length]))('uint8');
    assert.deepEqual([images.dtype, images.shape], ['uint8', [1, 1, x.length, 1]]);
    const even = halves.map(([k]) => (k % 2 === 0 ? k : k + 1));
    assert.deepEqual([...images.toTypedArray()], [...even, 0, 255, 0, 255, 128]);
  });

  it("'image' is the default, and has the pixels of 'uint8'", async () => {
    const target = Tensor.from(Float32Array.from({ length: 2 * 3 * 4 * 5 }, (_, i) => Math.sin(i)), [2, 3, 4, 5]);
    const run = draws(target);
    const bytes = (await run('uint8')).images;
    assert.deepEqual(bytes.shape, [2, 4, 5, 3]);
    const pipe = new DDIMPipeline(drawing(target));
    const { images } = await pipe.run({ batchSize: 2, timesteps: [0] });
    assert.equal(images.length, 2);
    for (const [i, image] of images.entries()) {
      assert.ok(image instanceof DiffusionImage);
      assert.deepEqual([image.width, image.height, image.channels], [5, 4, 3]);
      assert.deepEqual(image.data, bytes.narrow(0, i, 1).contiguous().toTypedArray());
    }
    const { data, info } = await sharp(await images[1]!.toBuffer('png')).raw().toBuffer({ resolveWithObject: true });
    assert.deepEqual([info.width, info.height, info.channels], [5, 4, 3]);
    assert.deepEqual(new Uint8Array(data), images[1]!.data);
  });

  it("'tensor' times 255 rounds to 'uint8'", async () => {
    const target = Tensor.from(Float32Array.from({ length: 256 }, (_, i) => Math.cos(i * 7)), [4, 1, 8, 8]);
    const run = draws(target);
    const floats = (await run('tensor')).images.toTypedArray() as Float32Array;
    const bytes = (await run('uint8')).images.toTypedArray() as Uint8Array;
    for (const [i, byte] of bytes.entries()) assert.ok(Math.abs(floats[i]! * 255 - byte) <= 0.5 + 1e-4);
  });

  it('belongs to the caller: one run’s is not freed or changed by the next', async () => {
    const run = draws(Tensor.from(Float32Array.of(0.5, -0.5), [2, 1, 1, 1]));
    const first = (await run('tensor')).images;
    await run('tensor');
    assert.ok(!isDisposed(first));
    assert.deepEqual([...first.toTypedArray()], [0.75, 0.25]);
  });
});
