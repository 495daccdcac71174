import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MAX_JSON_BYTES, readJsonFile, writeJsonFile } from '../../../ts/config/json-file';
import { timesOpen } from '../files/open-files';

describe('config/json-file', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'json-file-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('writes keys in order, in folders that it makes, and reads them back', async () => {
    const file = join(folder, 'a/b/config.json');
    await writeJsonFile(file, { b: 1, a: { d: [{ z: 1, y: 2 }], c: null } });
    assert.equal(
      await readFile(file, 'utf8'),
      `{
  "a": {
    "c": null,
    "d": [
      {
        "y": 2,
        "z": 1
      }
    ]
  },
  "b": 1
}
`,
    );
    assert.deepEqual(await readJsonFile(file), { a: { c: null, d: [{ y: 2, z: 1 }] }, b: 1 });
    assert.deepEqual(await readdir(join(folder, 'a/b')), ['config.json']);
  });

  it('leaves nothing behind where it can not write', async () => {
    await mkdir(join(folder, 'taken'));
    await assert.rejects(writeJsonFile(join(folder, 'taken'), {}), {
      code: 'ERR_ARGUMENT',
      message: /can't write .*taken/,
    });
    assert.deepEqual(await readdir(folder), ['taken']);
    await writeFile(join(folder, 'file'), '');
    await assert.rejects(writeJsonFile(join(folder, 'file/x.json'), {}), { message: /a part of its path is a file/ });
  });

  it("reads past the mark that Windows' editors begin a file with", async () => {
    const file = join(folder, 'marked.json');
    await writeFile(file, '\u{feff}{"a": 1}');
    assert.deepEqual(await readJsonFile(file), { a: 1 });
  });

  it('says what is missing', async () => {
    const file = join(folder, 'none.json');
    await assert.rejects(readJsonFile(file), { code: 'ERR_NOT_FOUND', message: `${file} does not exist` });
    await writeFile(file, '{}');
    const below = join(file, 'config.json');
    await assert.rejects(readJsonFile(below), { code: 'ERR_NOT_FOUND', message: `${below} does not exist` });
  });

  it('holds no file open', async function () {
    if (process.platform !== 'linux') this.skip();
    const file = join(folder, 'config.json');
    await writeFile(file, '{}');
    await readJsonFile(file);
    assert.equal(timesOpen(file), 0);
    await truncate(file, MAX_JSON_BYTES + 1);
    await assert.rejects(readJsonFile(file), { code: 'ERR_CHECKPOINT' });
    assert.equal(timesOpen(file), 0);
  });

  it('reads what nests 64 deep and no deeper', async () => {
    const file = join(folder, 'deep.json');
    const nest = (depth: number): string => `{"a": ${'['.repeat(depth)}${']'.repeat(depth)}}`;
    await writeFile(file, nest(64));
    assert.deepEqual(Object.keys(await readJsonFile(file)), ['a']);
    await writeFile(file, nest(65));
    await assert.rejects(readJsonFile(file), { code: 'ERR_CHECKPOINT', message: /must nest at most 64 deep$/ });
  });

  const bad: [string, string | Buffer, RegExp][] = [
    ['a truncated file', '{"a": 1', /is not valid JSON: /],
    ['an empty file', '', /is not valid JSON: /],
    ["Python's NaN", '{"a": NaN}', /is not valid JSON: /],
    ['a list', '[1]', /must hold a JSON object$/],
    ['bytes that are no text', Buffer.from([0x7b, 0xff, 0x7d]), /is not valid JSON: it is not UTF-8$/],
    ['bottomless nesting', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /must nest at most 64 deep$/],
  ];
  for (const [what, content, message] of bad) {
    it(`refuses ${what}`, async () => {
      const file = join(folder, 'bad.json');
      await writeFile(file, content);
      await assert.rejects(readJsonFile(file), (error: Error & { code: string }) => {
        assert.equal(error.code, 'ERR_CHECKPOINT');
        assert.ok(error.message.startsWith(file));
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it('refuses a folder and a file too large, before reading it', async () => {
    await assert.rejects(readJsonFile(folder), { code: 'ERR_CHECKPOINT', message: `${folder} must be a file` });
    const file = join(folder, 'large.json');
    await writeFile(file, '');
    await truncate(file, MAX_JSON_BYTES);
    await assert.rejects(readJsonFile(file), { code: 'ERR_CHECKPOINT', message: /is not valid JSON/ });
    await truncate(file, MAX_JSON_BYTES + 1);
    await assert.rejects(readJsonFile(file), {
      code: 'ERR_CHECKPOINT',
      message: `${file} must be at most ${MAX_JSON_BYTES} bytes of JSON, got ${MAX_JSON_BYTES + 1}`,
    });
  });
});
