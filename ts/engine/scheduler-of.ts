import { isPlainObject, showValue } from '../arguments';
import { snakeToCamel } from '../config/keys';
import type { SchedulerConfigInput, SchedulerKind } from '../config/scheduler-config';
import { ArgumentError, ConfigError } from '../errors';
import { DDIMInverseScheduler, DDIMScheduler, DDPMScheduler } from '../schedulers';
import { kindOfConfig } from '../schedulers/scheduler';

/** A scheduler that the engine samples with. */
export type EngineScheduler = DDPMScheduler | DDIMScheduler | DDIMInverseScheduler;

const CLASSES = { DDPMScheduler, DDIMScheduler, DDIMInverseScheduler } as const;

/** Keys that tell the class of a config that does not name it: a DDIMInverseScheduler's must. */
const TELLING_KEYS = { varianceType: 'DDPMScheduler', setAlphaToOne: 'DDIMScheduler' } as const;

/** A scheduler's class and config, from itself or from its config. */
export interface SchedulerSource {
  readonly kind: SchedulerKind;
  readonly config: SchedulerConfigInput;
}

/**
 * Reads a request's `scheduler`: a scheduler, its `config`, or a config in either spelling that names its class
 * (`_class_name`) or has a key that tells it.
 *
 * @throws ArgumentError, ConfigError
 */
export function readSchedulerSource(given: unknown): SchedulerSource {
  for (const kind of Object.keys(CLASSES) as SchedulerKind[]) {
    if (given instanceof CLASSES[kind]) return { kind, config: (given as EngineScheduler).config };
  }
  if (!isPlainObject(given)) {
    throw new ArgumentError(
      `scheduler must be a DDPMScheduler, DDIMScheduler or DDIMInverseScheduler, or the config of one, got ${showValue(given)}`,
    );
  }
  return { kind: kindOfConfig(given) ?? kindOf(given), config: given };
}

function kindOf(config: Record<string, unknown>): SchedulerKind {
  const name = config['_class_name'];
  if (name !== undefined) {
    if (typeof name === 'string' && Object.hasOwn(CLASSES, name)) return name as SchedulerKind;
    throw new ConfigError(`_class_name of scheduler must be one of ${Object.keys(CLASSES).join(', ')}, got ${showValue(name)}`);
  }
  const keys = new Set(Object.keys(config).map(snakeToCamel));
  const kinds = Object.entries(TELLING_KEYS).filter(([key]) => keys.has(key));
  if (kinds.length === 1) return kinds[0]![1];
  throw new ConfigError(
    "scheduler must be a scheduler, or a config that names its class: { _class_name: 'DDIMScheduler', … }",
  );
}

/** A scheduler of one's own. @throws ConfigError */
export const makeScheduler = ({ kind, config }: SchedulerSource): EngineScheduler => CLASSES[kind].fromConfig(config);
