import { hash } from 'node:crypto';
import { parseSchedulerConfig, toDiskConfig, type SchedulerKind } from '../config/scheduler-config';
import type { DiffusersError } from '../errors';
import { DDIMScheduler, DDPMScheduler } from '../schedulers';
import type { BatchScheduler } from './batch-job';
import type { BatchRunRecord } from './batch-records';

/** The schedulers that a run's lines may name, each of the class it names with the config of the run's. */
export class BatchSchedulers {
  private readonly made = new Map<BatchScheduler, DDIMScheduler | DDPMScheduler | DiffusersError>();

  constructor(private readonly given: DDIMScheduler | DDPMScheduler) {}

  /** The one that lines get that name none. */
  get default(): BatchScheduler {
    return this.given instanceof DDIMScheduler ? 'ddim' : 'ddpm';
  }

  /** @throws ConfigError where the class can't honour the config. */
  get(name: BatchScheduler): DDIMScheduler | DDPMScheduler {
    let scheduler = this.made.get(name);
    if (scheduler === undefined) this.made.set(name, (scheduler = this.make(name)));
    if (scheduler instanceof Error) throw scheduler;
    return scheduler;
  }

  private make(name: BatchScheduler): DDIMScheduler | DDPMScheduler | DiffusersError {
    try {
      return (name === 'ddim' ? DDIMScheduler : DDPMScheduler).fromConfig(this.given.config);
    } catch (error) {
      return error as DiffusersError;
    }
  }

  /** Their configs, for the manifest. */
  configs(): BatchRunRecord['schedulers'] {
    const { config } = this.given;
    return { ddim: configOnDisk('DDIMScheduler', config), ddpm: configOnDisk('DDPMScheduler', config) };
  }
}

/** Trained betas, which may be a million numbers, as their hash. */
function configOnDisk(kind: SchedulerKind, given: object): Readonly<Record<string, unknown>> | null {
  try {
    const { trained_betas: betas, ...config } = toDiskConfig(kind, parseSchedulerConfig(kind, given, 'file').config, {});
    return { ...config, trained_betas: betas === null ? null : `sha256 ${hash('sha256', JSON.stringify(betas))}` };
  } catch {
    return null;
  }
}
