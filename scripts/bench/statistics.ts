/** What a list of measurements comes to. */
export interface Summary {
  readonly median: number;
  /** First quartile. */
  readonly lower: number;
  /** Third quartile. */
  readonly upper: number;
  readonly count: number;
}

/** The q-quantile of a sorted list, between its neighbours in proportion (NumPy's `linear`). */
export function quantile(sorted: readonly number[], q: number): number {
  if (sorted.length === 0) throw new RangeError('no measurement to take a quantile of');
  const place = q * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  const above = sorted[Math.ceil(place)]!;
  return below + (above - below) * (place - Math.floor(place));
}

/** Median and quartiles. */
export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const [lower, median, upper] = [0.25, 0.5, 0.75].map((q) => quantile(sorted, q)) as [number, number, number];
  return { median, lower, upper, count: values.length };
}

/** ‖y − reference‖ / ‖reference‖; NaN where y has a NaN, so that it compares as wrong. */
export function relativeError(y: ArrayLike<number>, reference: ArrayLike<number>): number {
  if (y.length !== reference.length) throw new RangeError(`${y.length} numbers against ${reference.length}`);
  let [difference, norm] = [0, 0];
  for (let i = 0; i < reference.length; i += 1) {
    difference += (y[i]! - reference[i]!) ** 2;
    norm += reference[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
