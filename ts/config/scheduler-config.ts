import { isPlainObject, nearest, showValue } from '../arguments';
import { ConfigError } from '../errors';
import { frozenCopy } from './frozen-copy';
import { bothSpellings, camelToSnake, FILE_MARKS, snakeToCamel, type SpelledValue } from './keys';
import { parseFields } from './parse-fields';
import { SCHEDULER_FIELDS, type ConfigOf, type SchedulerKind } from './scheduler-config-schema';

export type {
  BetaSchedule,
  CommonSchedulerConfig,
  ConfigOf,
  DDIMInverseSchedulerConfig,
  DDIMInverseTimestepSpacing,
  DDIMSchedulerConfig,
  DDIMTimestepSpacing,
  DDPMBetaSchedule,
  DDPMSchedulerConfig,
  PredictionType,
  PreviousTimestepRule,
  SchedulerConfigInput,
  SchedulerConfigs,
  SchedulerKind,
  ThresholdingConfig,
  TimestepSpacing,
  VarianceType,
} from './scheduler-config-schema';

/** The diffusers release whose keys and defaults these configs have, as `_diffusers_version` states it on disk. */
export const DIFFUSERS_VERSION = '0.40.0';

const USE_DEFAULT_VALUES = snakeToCamel('_use_default_values');

/** Every key that some scheduler here knows: kept for another class, it is still spelled Python's way on disk. */
const ALL_KEYS: ReadonlySet<string> = new Set(Object.values(SCHEDULER_FIELDS).flatMap((fields) => Object.keys(fields)));

/** A scheduler's config, and the keys of its file that the class has no use for. */
export interface ParsedSchedulerConfig<K extends SchedulerKind> {
  readonly config: Readonly<ConfigOf<K>>;
  readonly extra: Readonly<Record<string, unknown>>;
}

/**
 * Checks a scheduler's config and fills in diffusers' defaults. The result is a deeply frozen copy.
 *
 * From a `'constructor'`, keys are camelCase and an unknown one throws. From a `'file'` (or `fromConfig`), keys come in
 * either spelling, the file may be another scheduler's, and keys this class doesn't know are kept in `extra` as they
 * are; a known key with a value this class can't honour throws all the same. `undefined` stands for a missing key.
 *
 * @param overrides keys, as of a constructor, that take the place of the file's
 * @throws ConfigError naming the key in the caller's spelling, what it got and what it wants.
 */
export function parseSchedulerConfig<K extends SchedulerKind>(
  kind: K,
  input: unknown,
  source: 'constructor' | 'file',
  overrides?: Partial<ConfigOf<K>>,
): ParsedSchedulerConfig<K> {
  const given = input === undefined && source === 'constructor' ? {} : input;
  if (!isPlainObject(given)) {
    throw new ConfigError(`the config of ${kind} must be a plain object, got ${describeNonObject(given)}`);
  }
  const overriding = overridingEntries(kind, overrides);
  const entries = source === 'file' ? fileEntries(given, overriding) : constructorEntries(kind, given);
  honourSetAlphaToZero(kind, entries);
  const fields = SCHEDULER_FIELDS[kind];
  const config = parseFields(fields, entries) as unknown as ConfigOf<K>;
  checkTogether(config, entries);

  const extra: Record<string, unknown> = {};
  for (const [name, { key, value }] of entries) {
    if (!Object.hasOwn(fields, name) && !FILE_MARKS.has(key)) extra[key] = frozenCopy(value, key);
  }
  if (config.trainedBetas !== null) Object.freeze(config.trainedBetas);
  return { config: Object.freeze(config), extra: Object.freeze(extra) };
}

/**
 * What `scheduler_config.json` holds for a config: snake_case keys in alphabetical order, as diffusers writes them.
 * `previousTimestepRule` is left out at its default, since Python's DDIMScheduler doesn't know it.
 */
export function toDiskConfig<K extends SchedulerKind>(
  kind: K,
  config: Readonly<ConfigOf<K>>,
  extra: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const onDisk: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(extra)) {
    onDisk[ALL_KEYS.has(key) ? camelToSnake(key) : key] = value;
  }
  for (const [key, value] of Object.entries(config)) onDisk[camelToSnake(key)] = value;
  if (onDisk['previous_timestep_rule'] === 'stride') delete onDisk['previous_timestep_rule'];
  onDisk['_class_name'] = kind;
  onDisk['_diffusers_version'] = DIFFUSERS_VERSION;
  return Object.fromEntries(Object.entries(onDisk).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/** A file's entries by camelCase key. */
function fileEntries(given: Record<string, unknown>, overriding: ReadonlyMap<string, SpelledValue>): Map<string, SpelledValue> {
  const entries = bothSpellings(given);
  // The dumped config of a live Python scheduler lists the keys its user left alone: another class has its own defaults.
  const defaulted = entries.get(USE_DEFAULT_VALUES)?.value;
  if (Array.isArray(defaulted)) for (const key of defaulted) entries.delete(snakeToCamel(String(key)));
  entries.delete(USE_DEFAULT_VALUES);
  for (const [name, entry] of overriding) entries.set(name, entry);
  readNulls(entries);
  // diffusers doesn't look at the name where the values are there.
  if ((entries.get('trainedBetas')?.value ?? null) !== null && !isBetaSchedule(entries.get('betaSchedule')?.value)) {
    entries.delete('betaSchedule');
  }
  return entries;
}

const isBetaSchedule = (name: unknown): boolean => SCHEDULER_FIELDS.DDPMScheduler.betaSchedule.safeParse(name).success;

/** null where Python's schedulers run with None: a flag that is not set, a bound that then is not needed, the plain variance. */
function readNulls(entries: Map<string, SpelledValue>): void {
  for (const name of ['clipSample', 'thresholding', 'rescaleBetasZeroSnr', 'setAlphaToOne']) {
    const entry = entries.get(name);
    if (entry?.value === null) entries.set(name, { ...entry, value: false });
  }
  const isOff = (flag: string): boolean => entries.get(flag)?.value === false;
  const drop = (name: string, isUnneeded: boolean): void => {
    if (isUnneeded && entries.get(name)?.value === null) entries.delete(name);
  };
  drop('clipSampleRange', isOff('clipSample'));
  for (const name of ['sampleMaxValue', 'dynamicThresholdingRatio']) drop(name, !entries.has('thresholding') || isOff('thresholding'));
  drop('varianceType', true);
}

function overridingEntries(kind: SchedulerKind, overrides: unknown): Map<string, SpelledValue> {
  if (overrides === undefined) return new Map<string, SpelledValue>();
  if (isPlainObject(overrides)) return constructorEntries(kind, overrides);
  throw new ConfigError(`what overrides the config of ${kind} must be a plain object, got ${describeNonObject(overrides)}`);
}

/** A constructor's entries by key. @throws ConfigError for a key the class doesn't know. */
function constructorEntries(kind: SchedulerKind, given: Record<string, unknown>): Map<string, SpelledValue> {
  const known = knownKeys(kind);
  const entries = new Map<string, SpelledValue>();
  for (const [key, value] of Object.entries(given)) {
    if (!known.includes(key)) throw new ConfigError(unknownKeyMessage(kind, key, known));
    if (value !== undefined) entries.set(key, { key, value });
  }
  return entries;
}

function knownKeys(kind: SchedulerKind): readonly string[] {
  const keys = Object.keys(SCHEDULER_FIELDS[kind]);
  return kind === 'DDIMInverseScheduler' ? [...keys, 'setAlphaToZero'] : keys;
}

function unknownKeyMessage(kind: SchedulerKind, key: string, known: readonly string[]): string {
  const meant = known.includes(snakeToCamel(key)) ? snakeToCamel(key) : nearest(key, known);
  const advice = meant === undefined ? `it wants ${known.join(', ')}` : `did you mean ${meant}?`;
  return `unknown key ${showValue(key)} in the config of ${kind}: ${advice}`;
}

/** diffusers' deprecated name of `set_alpha_to_one` on DDIMInverseScheduler; where it isn't null, it wins. */
function honourSetAlphaToZero(kind: SchedulerKind, entries: Map<string, SpelledValue>): void {
  const old = entries.get('setAlphaToZero');
  if (kind !== 'DDIMInverseScheduler' || old === undefined) return;
  entries.delete('setAlphaToZero');
  if (old.value !== null) entries.set('setAlphaToOne', old);
}

/** What one key can't tell alone. */
function checkTogether(config: ConfigOf<SchedulerKind>, entries: ReadonlyMap<string, SpelledValue>): void {
  const spelled = (name: string): string => entries.get(name)?.key ?? name;
  const { trainedBetas, numTrainTimesteps } = config;
  if (trainedBetas !== null && trainedBetas.length !== numTrainTimesteps) {
    throw new ConfigError(
      `${spelled('trainedBetas')} must have ${spelled('numTrainTimesteps')} = ${numTrainTimesteps} entries, ` +
        `got ${trainedBetas.length}`,
    );
  }
  // Rescaling divides by √ᾱ₀ − √ᾱ_{T−1}, which is 0 when there is only one timestep.
  if (config.rescaleBetasZeroSnr && numTrainTimesteps === 1) {
    throw new ConfigError(
      `${spelled('rescaleBetasZeroSnr')} must be false when ${spelled('numTrainTimesteps')} is 1, got true`,
    );
  }
}

function describeNonObject(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return showValue(value);
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object of some class';
}
