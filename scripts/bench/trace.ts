/** One request: an image of DDIM. */
export interface TraceRequest {
  /** When it comes, in seconds from the trace's start. */
  readonly arrival: number;
  /** numInferenceSteps. */
  readonly steps: number;
  /** Of its generator. */
  readonly seed: number;
}

/** Requests in the order in which they come; every server plays the very same. */
export type Trace = readonly TraceRequest[];

/** What a trace is drawn from. */
export interface TraceOptions {
  readonly seed: number;
  readonly count: number;
  /** The step counts, each as likely as the others. */
  readonly steps: readonly number[];
}

/** Numbers of [0, 1), the same for a seed everywhere: a counter through a mixing function (splitmix32). */
function uniforms(seed: number): () => number {
  let counter = seed >>> 0;
  return () => {
    counter = (counter + 0x9e3779b9) >>> 0;
    let bits = counter;
    bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
    bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
    return ((bits ^ (bits >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** The steps of all requests together. */
export const stepsOf = (trace: Trace): number => trace.reduce((sum, { steps }) => sum + steps, 0);

/**
 * A Poisson process that brings `stepsPerSecond` sample steps a second. The gaps are exponential, −ln(1 − u), and scaled so
 * that the trace as a whole has exactly that rate: a Poisson process given its count and its length. Otherwise chance alone
 * would make a load of 0.9 one of 0.8 or 1. A seed gives the same pattern at every rate.
 */
export function poissonTrace({ seed, count, steps, stepsPerSecond }: TraceOptions & { stepsPerSecond: number }): Trace {
  const uniform = uniforms(seed);
  const chosen = Array.from({ length: count }, () => steps[Math.floor(uniform() * steps.length)]!);
  // One gap more than requests: the last is that from the last request to the end.
  const gaps = Array.from({ length: count + 1 }, () => -Math.log(1 - uniform()));
  const total = gaps.reduce((sum, gap) => sum + gap, 0);
  const seconds = chosen.reduce((sum, one) => sum + one, 0) / stepsPerSecond;
  let elapsed = 0;
  return chosen.map((one, index) => {
    elapsed += gaps[index]!;
    return { arrival: (seconds * elapsed) / total, steps: one, seed: index };
  });
}

/** The requests of a trace, all there at once. */
export const burstOf = (options: TraceOptions): Trace =>
  poissonTrace({ ...options, stepsPerSecond: Infinity });
