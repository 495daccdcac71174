/** A line of a stream of bytes. */
export interface Line {
  /** 1 for the first. */
  readonly number: number;
  /** Without its newline; null for a line of more bytes than the limit. */
  readonly bytes: Buffer | null;
  /** Whether a newline ends it; the stream's last line may have none. */
  readonly isTerminated: boolean;
}

export const NEWLINE = 10;

/** The lines of a stream, one after the other, holding no more than one line of at most `maxBytes`. */
export async function* readLines(
  stream: AsyncIterable<Uint8Array | string>,
  maxBytes: number,
): AsyncGenerator<Line, void, void> {
  const line = new GrowingLine(maxBytes);
  let number = 0;
  for await (const chunk of stream) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    let from = 0;
    for (let to = bytes.indexOf(NEWLINE); to >= 0; to = bytes.indexOf(NEWLINE, from)) {
      line.add(bytes.subarray(from, to));
      yield { number: ++number, bytes: line.take(), isTerminated: true };
      from = to + 1;
    }
    line.add(bytes.subarray(from));
  }
  if (line.length > 0) yield { number: ++number, bytes: line.take(), isTerminated: false };
}

/** The parts of a line that came so far; of one that is too long only its length. */
class GrowingLine {
  length = 0;
  private parts: Uint8Array[] = [];

  constructor(private readonly maxBytes: number) {}

  add(part: Uint8Array): void {
    this.length += part.length;
    if (this.length > this.maxBytes) this.parts = [];
    else if (part.length > 0) this.parts.push(part);
  }

  take(): Buffer | null {
    const bytes = this.length > this.maxBytes ? null : Buffer.concat(this.parts);
    [this.length, this.parts] = [0, []];
    return bytes;
  }
}
