import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { isPlainObject } from '../arguments';
import { readJsonFile } from '../config/json-file';
import { ArgumentError, CheckpointError, LibtorchError, NotFoundError } from '../errors';
import { EMBEDDED_MODEL } from '../models/embedded-model';
import { readTorchScriptRecords } from '../models/torchscript-records';
import { shardsOf } from '../models/weight-files';
import { addon } from '../native/addon';
import { formatBytes, formatCount, formatTable, formatValue, plural } from './format';
import { readSafetensorsHeader } from './safetensors-header';

/** A file of weights. `tensors` and `parameters` are null where the file doesn't tell. */
export interface WeightsReport {
  readonly file: string;
  readonly format: 'safetensors' | 'torchscript' | 'bin';
  readonly bytes: number;
  readonly tensors: number | null;
  readonly parameters: number | null;
  /** The dtypes of its tensors, in alphabetical order. */
  readonly dtypes: readonly string[];
}

/** A folder or file with a config, weights or both. */
export interface ComponentReport {
  /** The folder's name in the pipeline, else the path's own. */
  readonly name: string;
  /** What the config's `_class_name` says. */
  readonly className: string | null;
  readonly config: Readonly<Record<string, unknown>> | null;
  readonly weights: readonly WeightsReport[];
}

/** What `inspect` prints, as `--json` prints it. */
export interface InspectReport {
  readonly path: string;
  readonly kind: 'pipeline' | 'component' | 'file';
  /** The pipeline's class, else the only component's. */
  readonly className: string | null;
  /** Of each component's first file of weights (or its shards): a folder may hold the same weights in two formats. */
  readonly parameters: number | null;
  /** Of all files of weights. */
  readonly bytes: number;
  readonly components: readonly ComponentReport[];
}

/** Prints what `path` holds. */
export async function runInspect(path: string = EMBEDDED_MODEL, json: boolean): Promise<void> {
  const report = await inspect(path);
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : describe(report));
}

/**
 * Looks into a folder or file without running or loading anything of it.
 *
 * @throws NotFoundError if there is none, ArgumentError for a file of another kind, CheckpointError for a damaged one.
 */
export async function inspect(path: string): Promise<InspectReport> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) throw new NotFoundError(`${path} is neither a file nor a folder`);
  if (!stats.isDirectory()) return summary(path, 'file', null, [await inspectFile(path)]);

  const index = await readIfThere(join(path, 'model_index.json'));
  if (index === null) {
    const component = await inspectFolder(path, basename(path));
    if (component === null) {
      throw new CheckpointError(`${path} holds no model: no model_index.json, config.json, .safetensors, .bin or .pt`);
    }
    return summary(path, 'component', component.className, [component]);
  }
  const components: ComponentReport[] = [];
  for (const [name, entry] of Object.entries(index)) {
    // A component is a [library, class] pair; its folder's name is a plain one, whatever the file says.
    if (!Array.isArray(entry) || !/^[\w-]+$/.test(name)) continue;
    const component = await inspectFolder(join(path, name), name);
    if (component !== null) components.push(component);
  }
  // The oldest checkpoints keep everything in one folder.
  const root = components.length === 0 ? await inspectFolder(path, basename(path)) : null;
  return summary(path, 'pipeline', classOf(index), root === null ? components : [root]);
}

function summary(
  path: string,
  kind: InspectReport['kind'],
  className: string | null,
  components: readonly ComponentReport[],
): InspectReport {
  const counts = components.flatMap(({ weights }) => firstCopy(weights)).map((weights) => weights.parameters);
  const parameters = counts.length === 0 || counts.includes(null) ? null : counts.reduce((a, b) => a! + b!, 0);
  const bytes = components.flatMap(({ weights }) => weights).reduce((sum, weights) => sum + weights.bytes, 0);
  return { path, kind, className: className ?? components[0]?.className ?? null, parameters, bytes, components };
}

/** The first of a component's files, with the other shards of the same model where it is one. */
function firstCopy(weights: readonly WeightsReport[]): readonly WeightsReport[] {
  const modelOf = ({ file }: WeightsReport): string => file.replace(/-\d{5}-of-\d{5}(?=\.)/, '');
  return weights.filter((one) => modelOf(one) === modelOf(weights[0]!));
}

async function inspectFile(path: string): Promise<ComponentReport> {
  const name = basename(path);
  switch (extname(path).toLowerCase()) {
    case '.safetensors':
      return { name, className: null, config: null, weights: [await safetensorsReport(path)] };
    case '.bin':
      return { name, className: null, config: null, weights: [await binReport(path)] };
    case '.pt': {
      const { config, weights } = await torchScriptReport(path);
      return { name, className: classOf(config), config, weights: [weights] };
    }
    case '.json': {
      const config = await readJsonFile(path);
      if (isPlainObject(config['weight_map'])) {
        return { name, className: null, config: null, weights: await shardReports(path, config['weight_map']) };
      }
      return { name, className: classOf(config), config, weights: [] };
    }
    default:
      throw new ArgumentError(`inspect reads a folder, .safetensors, .bin, .pt or .json, got ${path}`);
  }
}

async function inspectFolder(folder: string, name: string): Promise<ComponentReport | null> {
  const files = (await readdir(folder).catch(() => [])).sort();
  const config =
    (await readIfThere(join(folder, 'config.json'))) ?? (await readIfThere(join(folder, 'scheduler_config.json')));
  const weights: WeightsReport[] = [];
  for (const file of files.filter((one) => one.endsWith('.safetensors')))
    weights.push(await safetensorsReport(join(folder, file)));
  for (const file of files.filter((one) => one.endsWith('.bin'))) weights.push(await binReport(join(folder, file)));
  for (const file of files.filter((one) => one.endsWith('.pt')))
    weights.push((await torchScriptReport(join(folder, file))).weights);
  return config === null && weights.length === 0 ? null : { name, className: classOf(config), config, weights };
}

async function safetensorsReport(path: string): Promise<WeightsReport> {
  return { file: basename(path), format: 'safetensors', ...(await readSafetensorsHeader(path)) };
}

/** A torch.save file is read by the addon; without it, only its size is known. */
async function binReport(path: string): Promise<WeightsReport> {
  const { size: bytes } = await stat(path);
  const report = { file: basename(path), format: 'bin', bytes } as const;
  try {
    const entries = await addon().openCheckpoint(path);
    const parameters = entries.reduce((sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1), 0);
    const dtypes = [...new Set(entries.map(({ dtype }) => dtype))].sort();
    return { ...report, tensors: entries.length, parameters, dtypes };
  } catch (error) {
    if (!(error instanceof LibtorchError)) throw error;
    return { ...report, tensors: null, parameters: null, dtypes: [] };
  }
}

/** The shards that an index names; they lie beside it. */
async function shardReports(index: string, map: Readonly<Record<string, unknown>>): Promise<WeightsReport[]> {
  const reports: WeightsReport[] = [];
  for (const path of shardsOf(index, map)) {
    if (!(await stat(path).catch(() => undefined))?.isFile()) throw new NotFoundError(`${path} does not exist`);
    reports.push(await (path.endsWith('.safetensors') ? safetensorsReport : binReport)(path));
  }
  return reports;
}

async function torchScriptReport(
  path: string,
): Promise<{ config: Record<string, unknown> | null; weights: WeightsReport }> {
  const { dtype, config, ...counts } = await readTorchScriptRecords(path);
  const dtypes = dtype === null ? [] : [dtype];
  return { config, weights: { file: basename(path), format: 'torchscript', ...counts, dtypes } };
}

async function readIfThere(file: string): Promise<Record<string, unknown> | null> {
  try {
    return await readJsonFile(file);
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    throw error;
  }
}

function classOf(config: Readonly<Record<string, unknown>> | null): string | null {
  const name = config?.['_class_name'];
  return typeof name === 'string' ? name : null;
}

function describe(report: InspectReport): string {
  const { path, className, parameters, bytes, components } = report;
  const head: [string, string][] = [['class', className === null ? 'not stated' : plainName(className)]];
  if (components.some(({ weights }) => weights.length > 0)) {
    head.push(['parameters', parameters === null ? 'not stated' : formatCount(parameters)]);
    head.push(['weights', formatBytes(bytes)]);
  }
  return [path, formatTable(head), ...components.map(describeComponent)].join('\n') + '\n';
}

function describeComponent({ name, className, config, weights }: ComponentReport): string {
  const lines = ['', className === null ? plainName(name) : `${plainName(name)}: ${plainName(className)}`];
  for (const { file, format, bytes, tensors, parameters, dtypes } of weights) {
    const count = parameters === null ? 'parameters not stated' : `${formatCount(parameters)} parameters`;
    const facts = [format, tensors === null ? '' : plural(tensors, 'tensor'), count, dtypes.join(' '), formatBytes(bytes)];
    lines.push(`  ${plainName(file)}  ${facts.filter(Boolean).join(', ')}`);
  }
  const rows = Object.entries(config ?? {}).filter(([key]) => key !== '_class_name');
  if (rows.length > 0) lines.push(formatTable(rows.map(([key, value]) => [plainName(key), formatValue(value)])));
  return lines.join('\n');
}

/** A name out of a file as it stands if it is a plain one, else quoted and escaped. */
const plainName = (name: string): string => (/^[\w.-]{1,100}$/.test(name) ? name : formatValue(name));
