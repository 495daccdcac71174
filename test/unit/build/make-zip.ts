import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** One entry of {@link makeZip}; `mode` and `crc` let a test lie. */
export interface ZipEntry {
  readonly name: string;
  readonly data?: string | Buffer;
  readonly mode?: number;
  readonly crc?: number;
}

/** A zip of stored entries, as small as the format allows. */
export function makeZip(entries: readonly ZipEntry[]): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, data = '', mode = 0o100644, crc } of entries) {
    const content = Buffer.from(data);
    const fileName = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    describe(local, 14, content, crc);
    local.writeUInt16LE(fileName.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE((3 << 8) | 20, 4);
    central.writeUInt16LE(20, 6);
    describe(central, 16, content, crc);
    central.writeUInt16LE(fileName.length, 28);
    central.writeUInt32LE((mode << 16) >>> 0, 38);
    central.writeUInt32LE(offset, 42);
    bodies.push(local, fileName, content);
    directory.push(central, fileName);
    offset += local.length + fileName.length + content.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...bodies, ...directory, end]);
}

function describe(header: Buffer, at: number, content: Buffer, crc = crc32(content)): void {
  header.writeUInt32LE(crc, at);
  header.writeUInt32LE(content.length, at + 4);
  header.writeUInt32LE(content.length, at + 8);
}

const VERSION_PY = (version: string, cuda: string) => `__version__ = '${version}'\ncuda: Optional[str] = ${cuda}\n`;

/** The files of a libtorch that the finder looks at, under `top`. */
export function libtorchEntries(top: string, version: string, padding = 0): ZipEntry[] {
  return [
    { name: `${top}/build-version`, data: `${version}+cpu\n` },
    { name: `${top}/include/torch/script.h`, data: '#pragma once\n' },
    { name: `${top}/lib/libtorch_cpu.so`, data: Buffer.alloc(64 + padding, 7), mode: 0o100755 },
  ];
}

/** A torch wheel with RECORD; `cuda` is version.py's, as Python writes it. */
export function torchWheel(version: string, cuda = 'None', tamper?: string): Buffer {
  const files: ZipEntry[] = [
    { name: 'torch/version.py', data: VERSION_PY(cuda === 'None' ? `${version}+cpu` : version, cuda) },
    { name: 'torch/__init__.py', data: 'raise SystemExit("must not be run")\n' },
    { name: 'torch/include/torch/script.h', data: '#pragma once\n' },
    { name: 'torch/lib/libtorch_cpu.so', data: Buffer.alloc(64, 9), mode: 0o100755 },
    { name: 'torch/share/cmake/Torch/TorchConfig.cmake', data: '# torch\n' },
  ];
  return wheel(`torch-${version}`, files, ['nvidia-fake-runtime==13.0; platform_system == "Linux"'], tamper);
}

/** A wheel of `files` with METADATA and RECORD; `tamper` names a file that is changed after RECORD was written. */
export function wheel(name: string, files: ZipEntry[], requires: string[], tamper?: string): Buffer {
  const info = `${name}.dist-info`;
  const metadata = ['Metadata-Version: 2.4', `Name: ${name}`, ...requires.map((line) => `Requires-Dist: ${line}`), ''];
  const all: ZipEntry[] = [...files, { name: `${info}/METADATA`, data: metadata.join('\n') }];
  const record = all.map(({ name: file, data = '' }) => {
    const sha = createHash('sha256').update(data).digest('base64url');
    return `${file},sha256=${sha},${Buffer.byteLength(data)}`;
  });
  const shipped = all.map((file) =>
    file.name === tamper ? { ...file, data: `${String(file.data)}# changed\n` } : file,
  );
  return makeZip([...shipped, { name: `${info}/RECORD`, data: `${record.join('\n')}\n${info}/RECORD,,\n` }]);
}
