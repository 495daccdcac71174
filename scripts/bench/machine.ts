import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** The instruction sets that decide which kernels run. */
  readonly isa: readonly string[];
  readonly os: string;
}

const SETS = ['avx2', 'fma', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'asimd', 'bf16', 'sve'];

/** The machine this process runs on. */
export function describeMachine(cpuinfo: string = readCpuInfo()): Machine {
  const flags = new Set((/^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(/\s+/));
  return {
    cpu: (cpus()[0]?.model ?? 'unknown CPU').replace(/\s+/g, ' ').trim(),
    cores: availableParallelism(),
    isa: SETS.filter((name) => flags.has(name)),
    os: `${process.platform} ${process.arch} ${release()}`,
  };
}

function readCpuInfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return ''; // not Linux: no flags
  }
}

/** 'AMD EPYC, 2 cores (avx2, …)'. */
export const machineLine = ({ cpu, cores, isa }: Machine): string =>
  `${cpu}, ${cores} ${cores === 1 ? 'core' : 'cores'}${isa.length > 0 ? ` (${isa.join(', ')})` : ''}`;
