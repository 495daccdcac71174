import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { readLines } from '../../../ts/files/read-lines';

/** The lines of a text that comes in chunks of so many bytes. */
async function linesOf(text: string, chunkBytes: number, maxBytes = 100): Promise<unknown[]> {
  const bytes = Buffer.from(text);
  const chunks: Buffer[] = [];
  for (let i = 0; i < bytes.length; i += chunkBytes) chunks.push(bytes.subarray(i, i + chunkBytes));
  const lines: unknown[] = [];
  for await (const line of readLines(Readable.from(chunks), maxBytes)) {
    lines.push([line.number, line.bytes === null ? null : line.bytes.toString('utf8'), line.isTerminated]);
  }
  return lines;
}

describe('files/read-lines', () => {
  it('gives the same lines however the bytes come', async () => {
    const text = 'ab\n\ncé…d\r\nlast';
    const wanted = [[1, 'ab', true], [2, '', true], [3, 'cé…d\r', true], [4, 'last', false]];
    for (let chunk = 1; chunk <= text.length + 4; chunk++) assert.deepEqual(await linesOf(text, chunk), wanted);
  });

  it('ends with the last newline', async () => {
    assert.deepEqual(await linesOf('a\nb\n', 3), [[1, 'a', true], [2, 'b', true]]);
    assert.deepEqual(await linesOf('', 3), []);
    assert.deepEqual(await linesOf('\n', 3), [[1, '', true]]);
  });

  it('says of a line that is too long only that, and goes on behind it', async () => {
    for (const chunk of [1, 3, 50]) {
      assert.deepEqual(await linesOf('1234\n12345\n123456789\nab\n99999', chunk, 4), [
        [1, '1234', true],
        [2, null, true],
        [3, null, true],
        [4, 'ab', true],
        [5, null, false],
      ]);
    }
  });

  it('holds no more than a line', async () => {
    const before = process.memoryUsage().arrayBuffers;
    let [largest, chunks] = [0, 0];
    async function* endless(): AsyncGenerator<Buffer> {
      for (; chunks < 256; chunks++) {
        largest = Math.max(largest, process.memoryUsage().arrayBuffers - before);
        yield Buffer.alloc(1024 * 1024, 'x');
        await new Promise(setImmediate);
      }
    }
    for await (const { bytes } of readLines(endless(), 1000)) assert.equal(bytes, null);
    assert.equal(chunks, 256);
    assert.ok(largest < 200 * 1024 * 1024, `${largest} bytes`);
  });
});
