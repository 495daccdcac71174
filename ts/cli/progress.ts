import type { SingleBar } from 'cli-progress';
import { formatSeconds } from './format';

/** Tells on stderr how far a command is; stdout stays for results. */
export interface Progress {
  /** `done` of `total` (null where that is not known), and what the numbers don't say. The time left is told with it. */
  update(done: number, total: number | null, note: string): void;
  /** A line of its own, which stays. */
  line(text: string): void;
  /** Takes the bar away. */
  stop(): void;
}

const SILENT: Progress = { update: () => undefined, line: () => undefined, stop: () => undefined };

/** In a pipe, where lines stay, few are enough: the first after 5 s, then each after twice the time, a minute at most. */
const LINE_INTERVAL_MS = { first: 5000, longest: 60_000 };

/** A bar on a terminal, a line now and then elsewhere, nothing when `quiet`. */
export function openProgress(quiet: boolean, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (quiet) return SILENT;
  return stream.isTTY ? barProgress(stream) : lineProgress(stream);
}

function barProgress(stream: NodeJS.WriteStream): Progress {
  // Loaded here: `--help` and pipes need no bar.
  const { SingleBar: Bar } = require('cli-progress') as typeof import('cli-progress');
  let bar: SingleBar | undefined;
  let pace = new Pace();
  const stop = (): void => {
    bar?.stop();
    bar = undefined;
    pace = new Pace();
  };
  return {
    update(done, total, note) {
      const text = [note, pace.left(done, total)].filter(Boolean).join(' | ');
      if (bar === undefined) {
        bar = new Bar({
          stream,
          format: total === null ? '{text}' : '{bar} {percentage}% | {text}',
          barCompleteChar: '█',
          barIncompleteChar: '░',
          hideCursor: true,
          clearOnComplete: true,
          // The command handles SIGINT itself and stops the bar.
          gracefulExit: false,
        });
        bar.start(total ?? 0, done, { text });
      }
      bar.setTotal(total ?? 0);
      bar.update(done, { text });
    },
    line(text) {
      stop();
      stream.write(`${text}\n`);
    },
    stop,
  };
}

function lineProgress(stream: NodeJS.WriteStream): Progress {
  let pace = new Pace();
  let [last, interval] = [Date.now(), LINE_INTERVAL_MS.first];
  return {
    update(done, total, note) {
      const left = pace.left(done, total);
      if (Date.now() - last < interval) return;
      [last, interval] = [Date.now(), Math.min(2 * interval, LINE_INTERVAL_MS.longest)];
      const percent = total === null ? '' : `${Math.floor((100 * done) / total)}%`;
      stream.write(`${[percent, note, left].filter(Boolean).join(' | ')}\n`);
    },
    line(text) {
      pace = new Pace();
      stream.write(`${text}\n`);
    },
    stop: () => undefined,
  };
}

/** The time that is left, by what was done since there was first something to do; another work starts anew. */
class Pace {
  private started = 0;
  private first = 0;
  private last = Infinity;

  left(done: number, total: number | null): string {
    if (done < this.last || done === this.first) [this.started, this.first] = [Date.now(), done];
    const sinceFirst = done - this.first;
    this.last = done;
    if (total === null || sinceFirst === 0) return '';
    const seconds = ((Date.now() - this.started) / 1000 / sinceFirst) * Math.max(0, total - done);
    return `${seconds < 60 ? `${Math.ceil(seconds)} s` : formatSeconds(seconds)} left`;
  }
}
