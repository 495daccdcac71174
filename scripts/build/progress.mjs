// @ts-check

/**
 * @typedef {object} Progress
 * @property {(text: string) => void} step a line that stays
 * @property {(text: string) => void} update what is going on: redrawn on a terminal, a line every ten seconds in a pipe
 * @property {() => void} done ends the line that is being redrawn
 */

const PIPE_INTERVAL_MS = 10_000;

/**
 * Progress on stderr, so that a command's own output stays clean.
 *
 * @param {{ isTTY?: boolean | undefined, columns?: number | undefined, write(text: string): unknown }} [stream]
 * @param {() => number} [now]
 * @returns {Progress}
 */
export function createProgress(stream = process.stderr, now = Date.now) {
  const terminal = stream.isTTY === true;
  let drawn = false;
  let lastLine = now();
  const done = () => {
    if (drawn) stream.write('\r\u001b[K');
    drawn = false;
  };
  return {
    step(text) {
      done();
      lastLine = now();
      stream.write(`${text}\n`);
    },
    update(text) {
      if (terminal) {
        stream.write(`\r\u001b[K${text.slice(0, (stream.columns ?? 80) - 1)}`);
        drawn = true;
      } else if (now() - lastLine >= PIPE_INTERVAL_MS) {
        lastLine = now();
        stream.write(`${text}\n`);
      }
    },
    done,
  };
}

/** 191794682 → '192 MB'. @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
