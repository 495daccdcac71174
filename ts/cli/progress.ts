import type { SingleBar } from 'cli-progress';

/** Tells on stderr how far a command is; stdout stays for results. */
export interface Progress {
  /** `done` of `total`, and what the numbers don't say. */
  update(done: number, total: number, note: string): void;
  /** A line of its own, which stays. */
  line(text: string): void;
  /** Takes the bar away. */
  stop(): void;
}

const SILENT: Progress = { update: () => undefined, line: () => undefined, stop: () => undefined };

/** In a pipe, where lines stay, one in so many milliseconds is enough. */
const LINE_INTERVAL_MS = 5000;

/** A bar on a terminal, a line every five seconds elsewhere, nothing when `quiet`. */
export function openProgress(quiet: boolean, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (quiet) return SILENT;
  return stream.isTTY ? barProgress(stream) : lineProgress(stream);
}

function barProgress(stream: NodeJS.WriteStream): Progress {
  // Loaded here: `--help` and pipes need no bar.
  const { SingleBar: Bar } = require('cli-progress') as typeof import('cli-progress');
  let bar: SingleBar | undefined;
  const stop = (): void => {
    bar?.stop();
    bar = undefined;
  };
  return {
    update(done, total, note) {
      if (bar === undefined) {
        bar = new Bar({
          stream,
          format: '{bar} {percentage}% | {note} | {eta_formatted} left',
          barCompleteChar: '█',
          barIncompleteChar: '░',
          hideCursor: true,
          clearOnComplete: true,
          // The command handles SIGINT itself and stops the bar.
          gracefulExit: false,
        });
        bar.start(total, done, { note });
      }
      bar.setTotal(total);
      bar.update(done, { note });
    },
    line(text) {
      stop();
      stream.write(`${text}\n`);
    },
    stop,
  };
}

function lineProgress(stream: NodeJS.WriteStream): Progress {
  let last = Date.now();
  return {
    update(done, total, note) {
      if (Date.now() - last < LINE_INTERVAL_MS) return;
      last = Date.now();
      stream.write(`${Math.floor((100 * done) / total)}% | ${note}\n`);
    },
    line: (text) => void stream.write(`${text}\n`),
    stop: () => undefined,
  };
}
