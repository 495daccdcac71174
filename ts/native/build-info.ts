import { accessSync, constants, readFileSync } from 'node:fs';
import path from 'node:path';

/** What the build wrote down beside the addon (build/Release/build-info.json). */
export interface BuildInfo {
  /** The torch it was compiled against, e.g. 2.13.0. */
  readonly torchVersion: string;
  /** cpu, cu130, … */
  readonly variant: string;
  readonly libtorchRoot: string;
  readonly libtorchLib: string;
  readonly platform?: string;
  readonly arch?: string;
}

/** The build's own account of itself; undefined if there is none or it can't be read. */
export function readBuildInfo(file: string): BuildInfo | undefined {
  try {
    const info = JSON.parse(readFileSync(file, 'utf8')) as Partial<BuildInfo> | null;
    const isComplete = [info?.torchVersion, info?.libtorchRoot, info?.libtorchLib].every((x) => typeof x === 'string');
    return isComplete ? (info as BuildInfo) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Why the addon can't be loaded as it was built, in words; undefined if nothing speaks against it. Only files are read:
 * a libtorch of another minor would crash or misbehave instead of failing to load.
 */
export function buildProblem(info: BuildInfo, platform = process.platform, arch = process.arch): string | undefined {
  const built = `${info.platform ?? platform}-${info.arch ?? arch}`;
  if (built !== `${platform}-${arch}`) return `the addon was built for ${built}, and this is ${platform}-${arch}`;
  const reasons = ['libtorch_cpu.so', 'libtorch_cpu.dylib'].map((name) => whyUnreadable(path.join(info.libtorchLib, name)));
  if (!reasons.includes(undefined)) {
    const isThere = reasons.some((code) => code === 'EACCES' || code === 'EPERM');
    return `the addon was built against the libtorch in ${info.libtorchLib}, which ${isThere ? 'this user may not read' : 'is gone'}`;
  }
  const found = torchVersionIn(info.libtorchRoot);
  if (found !== undefined && minorOf(found) !== minorOf(info.torchVersion)) {
    return `the addon was built against torch ${info.torchVersion}, and ${info.libtorchRoot} now holds torch ${found}`;
  }
  return undefined;
}

/** The system's code; undefined for a file that can be read. */
function whyUnreadable(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO';
  }
}

/** '2.13.0+cpu' → '2.13': an addon is tied to one minor of torch. */
function minorOf(version: string): string {
  return version.split('.').slice(0, 2).join('.');
}

/** The version that a libtorch's build-version or a torch package's version.py states. */
function torchVersionIn(root: string): string | undefined {
  const patterns: [file: string, pattern: RegExp][] = [
    ['build-version', /^(\d+\.\d+\.\d+)/],
    ['version.py', /^__version__\s*(?::[^=]*)?=\s*['"](\d+\.\d+\.\d+)/m],
  ];
  for (const [name, pattern] of patterns) {
    try {
      const match = pattern.exec(readFileSync(path.join(root, name), 'utf8'));
      if (match?.[1] !== undefined) return match[1];
    } catch {
      // not this kind of folder
    }
  }
  return undefined;
}
