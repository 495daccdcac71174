import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { makeZip, type ZipEntry } from './make-zip';
import { scratchFolder } from './scratch';

const importUnzip = () => import('../../../scripts/build/unzip.mjs');
type UnzipModule = Awaited<ReturnType<typeof importUnzip>>;

describe('build/unzip', () => {
  const scratch = scratchFolder();
  let unzip: UnzipModule['unzip'];
  const target = () => path.join(scratch.folder, 'out');
  const unpack = (entries: ZipEntry[], options = {}) =>
    unzip(scratch.write('a.zip', makeZip(entries)), target(), options);
  const damaged = (message: RegExp) => ({ name: 'SetupError', message });

  before(async () => {
    ({ unzip } = await importUnzip());
  });

  it('writes files and folders with their executable bit', async () => {
    const count = await unpack([
      { name: 'lib/', mode: 0o040755 },
      { name: 'lib/a.so', data: 'abc', mode: 0o100755 },
      { name: 'share/x', data: '' },
    ]);
    assert.equal(count, 2);
    assert.equal(readFileSync(path.join(target(), 'lib/a.so'), 'utf8'), 'abc');
    assert.equal(statSync(path.join(target(), 'lib/a.so')).mode & 0o111, 0o111);
    assert.equal(statSync(path.join(target(), 'share/x')).mode & 0o111, 0);
  });

  for (const name of ['../evil', 'a/../../evil', '/evil', 'a\\..\\evil']) {
    it(`refuses the name ${name}`, async () => {
      await assert.rejects(
        unpack([{ name, data: 'x' }]),
        damaged(/a\.zip is damaged or not a zip archive: .*(relative path|absolute path|invalid characters)/),
      );
      assert.equal(existsSync(path.join(scratch.folder, 'evil')), false);
    });
  }

  it('refuses links and special files', async () => {
    await assert.rejects(
      unpack([{ name: 'link', data: '/etc/passwd', mode: 0o120777 }]),
      damaged(/link is a link or a special file/),
    );
    await assert.rejects(unpack([{ name: 'pipe', mode: 0o010644 }]), damaged(/pipe is a link or a special file/));
  });

  it('refuses content whose checksum does not fit', async () => {
    await assert.rejects(unpack([{ name: 'a', data: 'abc', crc: 1 }]), damaged(/the checksum of a does not fit/));
  });

  it('refuses one name twice', async () => {
    await assert.rejects(
      unpack([
        { name: 'a', data: '1' },
        { name: 'a', data: '2' },
      ]),
      damaged(/EEXIST/),
    );
  });

  it('refuses more than it was told to expect', async () => {
    const many = [
      { name: 'a', data: 'xxxx' },
      { name: 'b', data: 'xxxx' },
    ];
    await assert.rejects(unpack(many, { maxBytes: 7 }), damaged(/larger than 7 bytes/));
    await assert.rejects(unpack(many, { maxEntries: 1 }), damaged(/2 entries are more than 1/));
  });

  it('refuses a truncated archive and one that is none', async () => {
    const whole = makeZip([{ name: 'a', data: 'abcdef' }]);
    await assert.rejects(
      unzip(scratch.write('t.zip', whole.subarray(0, whole.length - 30)), target()),
      damaged(/t\.zip is damaged/),
    );
    await assert.rejects(
      unzip(scratch.write('h.zip', '<html>not found</html>'), target()),
      damaged(/h\.zip is damaged or not a zip/),
    );
  });
});
