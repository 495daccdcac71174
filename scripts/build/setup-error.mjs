// @ts-check

/**
 * A failure of the ground the package stands on (a missing compiler, no network, an unsupported torch …). Its message
 * is complete: what is wrong, then what to install or run. Whoever catches it last prints it without a stack trace.
 */
export class SetupError extends Error {
  /**
   * @param {string} message
   * @param {{ cause?: unknown }} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = 'SetupError';
  }
}

/** A {@link SetupError} about a host that can't be reached or refused; another source may still serve. */
export class UnreachableError extends SetupError {
  /**
   * @param {string} message
   * @param {{ cause?: unknown }} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = 'UnreachableError';
  }
}

/** The innermost reason of an error, in one line: what a person needs of a chain of causes. @param {unknown} error */
export function reasonOf(error) {
  let reason = error;
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause;
  if (!(reason instanceof Error)) return String(reason);
  const code = /** @type {{ code?: unknown }} */ (reason).code;
  const text = reason.message || String(code ?? reason.name);
  return typeof code === 'string' && !text.includes(code) ? `${text} (${code})` : text;
}

/**
 * Runs a script's `main`; a SetupError is printed as one message, anything else with its stack; exit status 1 for both.
 *
 * @param {() => Promise<number | void>} main
 */
export async function runMain(main) {
  try {
    const status = await main();
    if (typeof status === 'number') process.exitCode = status;
  } catch (error) {
    const expected = error instanceof SetupError;
    process.stderr.write(`\nnode-diffusers: ${expected ? error.message : /** @type {Error} */ (error).stack}\n`);
    process.exitCode = 1;
  }
}
