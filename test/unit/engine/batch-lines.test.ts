import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { countJobLines, linesOf, readJobLines, type BatchJobs, type JobLine } from '../../../ts/engine/batch-lines';
import { inFolder, rejects } from './batch-helpers';

const { signal } = new AbortController();

async function all(jobs: BatchJobs): Promise<JobLine[]> {
  const lines: JobLine[] = [];
  for await (const line of readJobLines(jobs, signal)) lines.push(line);
  return lines;
}

/** Texts of lines, the hostile ones among them. */
const text = fc.oneof(
  fc.json(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', ' ', '\t\r', '{"id":"a"}', '{"__proto__":null}', '['.repeat(5000), '\u0000', '{"id":"a"', '"\ud800"'),
);

describe('engine/batch-lines', () => {
  it('gives each line that is not blank once, with its number, whatever is in it', () =>
    inFolder((folder) =>
      fc.assert(
        fc.asyncProperty(fc.array(text), fc.array(fc.uint8Array(), { maxLength: 2 }), async (texts, rubbish) => {
          const bytes = Buffer.concat([Buffer.from(texts.join('\n')), ...rubbish.map((part) => Buffer.from(part))]);
          const wanted: number[] = [];
          for (const [i, line] of bytes.toString('latin1').split('\n').entries()) if (/[^ \t\r]/.test(line)) wanted.push(i + 1);
          const lines = await all(Readable.from([bytes]));
          assert.deepEqual(lines.map(({ number }) => number), wanted);
          for (const line of lines) assert.ok('value' in line !== (line.problem !== undefined));
          const file = join(folder, 'jobs.jsonl');
          await writeFile(file, bytes);
          assert.deepEqual(await all(file), lines);
          assert.equal(await countJobLines(file, () => true, signal), wanted.length);
          assert.equal(await countJobLines(file, (line) => line % 2 === 0, signal), wanted.filter((line) => line % 2 === 0).length);
        }),
        { numRuns: 60 },
      ),
    ));

  it('reads what JSON holds, a mark at the beginning of the file or none', async () => {
    const lines = await all(Readable.from([Buffer.from('\ufeff{"id":"a"}\r\n[1]\nnull\n"x"')]));
    assert.deepEqual(lines, [
      { number: 1, value: { id: 'a' } },
      { number: 2, value: [1] },
      { number: 3, value: null },
      { number: 4, value: 'x' },
    ]);
  });

  it('shows of a line that is no JSON only what can not write to a terminal', async () => {
    const [line] = await all(Readable.from([Buffer.from('{"a":1,\u001b]0;x\u0007\u009b31m')]));
    assert.equal(line!.problem, 'it is not JSON (at position 7), got "{\\"a\\":1,\\u001b]0;x\\u0007\\u009b31m"');
  });

  it('deals every line to one shard', () => {
    for (const count of [1, 2, 7]) {
      const shards = Array.from({ length: count }, (_, i) => linesOf({ index: i + 1, count }));
      for (let line = 1; line <= 30; line++) assert.equal(shards.filter((isOurs) => isOurs(line)).length, 1);
      assert.ok(shards[0]!(1));
    }
    assert.ok(linesOf(undefined)(5));
  });

  it('closes a generator that it leaves, and breaks off where the next never comes', async () => {
    let closed = 0;
    async function* jobs(): AsyncGenerator<{ id: string }> {
      try {
        yield { id: 'a' };
        yield { id: 'b' };
      } finally {
        closed += 1;
      }
    }
    for await (const { number } of readJobLines(jobs(), signal)) if (number === 1) break;
    assert.equal(closed, 1);
    const controller = new AbortController();
    const never: AsyncIterable<never> = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) };
    const reason = new Error('enough');
    const reading = readJobLines(never, controller.signal).next();
    controller.abort(reason);
    await assert.rejects(reading, reason);
    await assert.rejects(readJobLines([{ id: 'a' }], controller.signal).next(), reason);
    const open = new Readable({ read: () => undefined });
    const stuck = new AbortController();
    const waiting = readJobLines(open, stuck.signal).next();
    stuck.abort(reason);
    await assert.rejects(waiting, { name: 'AbortError' });
    assert.ok(open.destroyed);
  });

  it('says what can not be read', async () => {
    await rejects(() => all(join(__dirname, 'none.jsonl')), 'ERR_NOT_FOUND', /none\.jsonl does not exist$/);
    await rejects(() => all(__dirname), 'ERR_ARGUMENT', /^can't read .*engine: it is a folder$/);
    const broken = new Readable({ read: () => broken.destroy(new Error('lost')) });
    await rejects(() => all(broken), 'ERR_ARGUMENT', /^can't read the stream of jobs: lost$/);
  });
});
