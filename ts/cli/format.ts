import { escapeControls } from '../escape-controls';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** A size as people read it: 7239188 → `6.9 MiB`. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < UNITS.length - 1) [value, unit] = [value / 1024, unit + 1];
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
}

/** A number with its thousands apart: 1805057 → `1,805,057`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 image`, `2 images`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** A time as people read it: `0.35 s`, `12.3 s`, `2 min 5 s`, `3 h 20 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${formatCount(Math.floor(minutes / 60))} h ${minutes % 60} min`;
}

/** Three digits of a rate: `4.68`, `12.3`, `104`. */
export function formatRate(rate: number): string {
  return rate >= 100 ? formatCount(Math.round(rate)) : rate.toPrecision(3);
}

/**
 * A value out of a file on one line. Strings are quoted and control characters escaped, so that a hostile config can't
 * write to the terminal.
 */
export function formatValue(value: unknown): string {
  const safe = escapeControls(JSON.stringify(value) ?? String(value));
  return safe.length <= 100 ? safe : `${safe.slice(0, 99)}…`;
}

/** Names and values in two columns, each line indented. */
export function formatTable(rows: readonly (readonly [string, string])[], indent = '  '): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${indent}${name.padEnd(width)}  ${value}`).join('\n');
}
