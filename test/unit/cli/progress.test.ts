import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { interruptible, Interrupted } from '../../../ts/cli/interrupt';
import { openProgress } from '../../../ts/cli/progress';

function fakeStream(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  const chunks: string[] = [];
  const pass = new PassThrough();
  pass.on('data', (chunk) => chunks.push(String(chunk)));
  const extras = { isTTY, columns: 80, cursorTo: () => true, clearLine: () => true, moveCursor: () => true };
  return { stream: Object.assign(pass, extras) as unknown as NodeJS.WriteStream, text: () => chunks.join('') };
}

describe('cli/progress', () => {
  it('draws a bar on a terminal', () => {
    const { stream, text } = fakeStream(true);
    const progress = openProgress(false, stream);
    progress.update(0, 10, 'starting');
    progress.update(5, 10, 'half way');
    progress.stop();
    assert.match(text(), /░/);
    assert.match(text(), /starting/);
    progress.line('a line');
    assert.match(text(), /a line\n$/);
  });

  it('is all but quiet in a pipe', () => {
    const { stream, text } = fakeStream(false);
    const progress = openProgress(false, stream);
    for (let i = 0; i < 1000; i++) progress.update(i, 1000, 'many');
    assert.equal(text(), '');
    progress.line('a line');
    progress.stop();
    assert.equal(text(), 'a line\n');
  });

  /** Uses the progress of a pipe, with a clock to set: seconds since it began. */
  function withClock(use: (progress: ReturnType<typeof openProgress>, text: () => string, setClock: (seconds: number) => void) => void): void {
    const { now } = Date;
    let time = 1_000_000;
    Date.now = () => time;
    try {
      const { stream, text } = fakeStream(false);
      use(openProgress(false, stream), text, (seconds) => void (time = 1_000_000 + 1000 * seconds));
    } finally {
      Date.now = now;
    }
  }

  it('tells the time that is left, of this work alone', () =>
    withClock((progress, text, setClock) => {
      const at = (seconds: number, done: number, total: number | null) => {
        setClock(seconds);
        progress.update(done, total, `${done}`);
      };
      at(0, 100, 400); // the first 100 were there before
      at(6, 103, 400);
      at(8, 150, 400); // too soon for a line
      at(20, 200, 400);
      progress.line('another work');
      at(21, 0, null);
      at(90, 5, null);
      assert.equal(text(), '25% | 103 | 9 min 54 s left\n50% | 200 | 40 s left\nanother work\n5\n');
    }));

  it('writes fewer lines the longer it goes on in a pipe, one a minute in the end', () =>
    withClock((progress, text, setClock) => {
      for (let second = 0; second <= 260; second++) {
        setClock(second);
        progress.update(second, 1000, `${second}`);
      }
      const told = text().trim().split('\n').map((line) => Number(line.split(' | ')[1])); // prettier-ignore
      assert.deepEqual(told, [5, 15, 35, 75, 135, 195, 255]);
    }));

  it('draws a bar without an end where there is none', () => {
    const { stream, text } = fakeStream(true);
    const progress = openProgress(false, stream);
    progress.update(1, null, 'going on');
    progress.stop();
    assert.match(text(), /going on/);
    assert.doesNotMatch(text(), /░|%/);
  });

  it('says nothing when quiet', () => {
    const { stream, text } = fakeStream(true);
    const progress = openProgress(true, stream);
    progress.update(1, 2, 'x');
    progress.line('x');
    progress.stop();
    assert.equal(text(), '');
  });
});

describe('cli/interrupt', () => {
  for (const [name, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`ends the work at ${name} with status ${status}, and takes its handlers away`, async () => {
      const before = process.listenerCount(name);
      const work = interruptible(
        (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted')))),
      );
      process.emit(name, name);
      await assert.rejects(work, (error: unknown) => {
        assert.ok(error instanceof Interrupted);
        assert.equal(error.exitCode, status);
        return true;
      });
      assert.equal(process.listenerCount(name), before);
    });
  }

  it('passes results and failures through', async () => {
    assert.equal(await interruptible(async () => 7), 7);
    await assert.rejects(
      interruptible(() => Promise.reject(new Error('own'))),
      { message: 'own' },
    );
  });
});
