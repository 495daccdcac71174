import { hash } from 'node:crypto';

/** The most entries for the slots there are: beyond, looking up takes long. */
const MAX_LOAD = 0.75;

const KEY_WORDS = 4;

/** What is known of an id. */
const FREE = 0;
const SEEN = 1;
const FINISHED = 2;
const ON_DISK = 3;

/**
 * The ids of a run: which line has each first, and which are finished with what options. A million take 61 MB and leave
 * nothing to the garbage collector: an open-addressing table of the ids' hashes (128 bits of SHA-256, as ids may be
 * chosen to collide) and 64 bits of the options'.
 */
export class BatchIds {
  private size = 0;
  private capacity = 1024;
  private keys = new Uint32Array(this.capacity * KEY_WORDS);
  private lines = new Uint32Array(this.capacity);
  private options = new BigUint64Array(this.capacity);
  private states = new Uint8Array(this.capacity);
  /** How many are finished. */
  finished = 0;

  /** The line that has the id: the first that asked. */
  claim(id: string, line: number): number {
    const slot = this.slotFor(id);
    return (this.lines[slot] ||= line);
  }

  /** Notes that an image was drawn with these options (`digestOptions`). Whether its file is there is for {@link found}. */
  finish(id: string, options: bigint): void {
    const slot = this.slotFor(id);
    if (this.states[slot] === SEEN) this.finished += 1;
    this.states[slot] = FINISHED;
    this.options[slot] = options;
  }

  /** Notes that the image's file is there. */
  found(id: string): void {
    const slot = this.find(keyOf(id));
    if (this.states[slot] === FINISHED) this.states[slot] = ON_DISK;
  }

  /** The options that the id was finished with, if it was and its file is there. */
  finishedWith(id: string): bigint | undefined {
    const slot = this.find(keyOf(id));
    return this.states[slot] === ON_DISK ? this.options[slot] : undefined;
  }

  /** The slot of the id, made if need be. */
  private slotFor(id: string): number {
    const key = keyOf(id);
    let slot = this.find(key);
    if (this.states[slot] !== FREE) return slot;
    if (++this.size > this.capacity * MAX_LOAD) {
      this.grow();
      slot = this.find(key);
    }
    this.keys.set(key, slot * KEY_WORDS);
    this.states[slot] = SEEN;
    return slot;
  }

  /** The slot of a key, or the free one where it would be. */
  private find(key: Uint32Array): number {
    const mask = this.capacity - 1;
    let slot = key[0]! & mask;
    while (this.states[slot] !== FREE && !this.has(slot, key)) slot = (slot + 1) & mask;
    return slot;
  }

  private has(slot: number, key: Uint32Array): boolean {
    const at = slot * KEY_WORDS;
    for (let i = 0; i < KEY_WORDS; i++) if (this.keys[at + i] !== key[i]) return false;
    return true;
  }

  private grow(): void {
    const { keys, lines, options, states, capacity } = this;
    this.capacity *= 2;
    this.keys = new Uint32Array(this.capacity * KEY_WORDS);
    this.lines = new Uint32Array(this.capacity);
    this.options = new BigUint64Array(this.capacity);
    this.states = new Uint8Array(this.capacity);
    for (let old = 0; old < capacity; old++) {
      if (states[old] === FREE) continue;
      const key = keys.subarray(old * KEY_WORDS, (old + 1) * KEY_WORDS);
      const slot = this.find(key);
      this.keys.set(key, slot * KEY_WORDS);
      this.lines[slot] = lines[old]!;
      this.options[slot] = options[old]!;
      this.states[slot] = states[old]!;
    }
  }
}

/** One for all calls: a key is copied or compared before the next is asked for. */
const scratch = new Uint32Array(KEY_WORDS);

function keyOf(id: string): Uint32Array {
  // A string of one character a byte: making one takes half the time of a Buffer.
  const digest = hash('sha256', id, 'binary');
  const byte = (i: number): number => digest.charCodeAt(i);
  for (let i = 0; i < KEY_WORDS; i++) {
    scratch[i] = byte(4 * i) | (byte(4 * i + 1) << 8) | (byte(4 * i + 2) << 16) | (byte(4 * i + 3) << 24);
  }
  return scratch;
}

/** 64 bits of SHA-256 of what an image was drawn with. */
export function digestOptions(seed: bigint, options: object): bigint {
  return hash('sha256', JSON.stringify([String(seed), options]), 'buffer').readBigUInt64LE();
}

/** The seed of a line that names none: 48 bits of its id's SHA-256, so that it fits JSON's numbers. */
export function seedOfId(id: string): bigint {
  return BigInt(hash('sha256', `seed of ${id}`, 'buffer').readUIntLE(0, 6));
}
