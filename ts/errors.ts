import { escapeControls } from './escape-controls';

/** The stable codes of {@link DiffusersError}; a program may switch on them. */
export const ERROR_CODES = [
  'ERR_ARGUMENT',
  'ERR_SHAPE',
  'ERR_DTYPE',
  'ERR_DEVICE',
  'ERR_CONFIG',
  'ERR_TIMESTEP',
  'ERR_CHECKPOINT',
  'ERR_NOT_FOUND',
  'ERR_NETWORK',
  'ERR_QUEUE_FULL',
  'ERR_DEADLINE',
  'ERR_ABORTED',
  'ERR_CLOSED',
  'ERR_DISPOSED',
  'ERR_LIBTORCH',
  'ERR_OUT_OF_MEMORY',
  'ERR_OP',
] as const;

/** One of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * The base of every failure this package reports. `code` is stable; `message` names the argument, what it got and what
 * it wants. An underlying error, where there is one, is the `cause`.
 */
export class DiffusersError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

const coded = (code: ErrorCode) =>
  class extends DiffusersError {
    constructor(message: string, options?: { cause?: unknown }) {
      super(code, message, options);
    }
  };

/** An unknown or mistyped option, or a value out of its range. */
export class ArgumentError extends coded('ERR_ARGUMENT') {}

/** A tensor of the wrong shape. */
export class ShapeError extends coded('ERR_SHAPE') {}

/** A tensor or model of the wrong dtype. */
export class DTypeError extends coded('ERR_DTYPE') {}

/** A device that does not exist here, or tensors on different devices. */
export class DeviceError extends coded('ERR_DEVICE') {}

/** A configuration key or value that can't be honoured. */
export class ConfigError extends coded('ERR_CONFIG') {}

/** A timestep out of range, out of order or not of the schedule. */
export class TimestepError extends coded('ERR_TIMESTEP') {}

/** A checkpoint or archive that is missing parts, damaged or not of the expected kind. */
export class CheckpointError extends coded('ERR_CHECKPOINT') {}

/** A file, folder or repository that does not exist. */
export class NotFoundError extends coded('ERR_NOT_FOUND') {}

/** A hub or mirror that can't be reached, or that refused. */
export class NetworkError extends coded('ERR_NETWORK') {}

/** A queue that has no place left; ask again later, or with `wait: true`. */
export class QueueFullError extends coded('ERR_QUEUE_FULL') {}

/** A request that was not done by its deadline. */
export class DeadlineError extends coded('ERR_DEADLINE') {}

/** Something asked of an engine after its close(), or under way when it closed. */
export class ClosedError extends coded('ERR_CLOSED') {}

/** Work cancelled through an AbortSignal; `cause` is the signal's reason. */
export class AbortError extends coded('ERR_ABORTED') {}

/** A handle used after its dispose(). */
export class DisposedError extends coded('ERR_DISPOSED') {}

/** libtorch or the compiled addon is missing, or does not fit; the message says which command sets it up. */
export class LibtorchError extends coded('ERR_LIBTORCH') {}

/** The device has no memory left for a tensor. */
export class OutOfMemoryError extends coded('ERR_OUT_OF_MEMORY') {}

/** An operator that failed inside libtorch. */
export class OpError extends coded('ERR_OP') {}

type CodedErrorClass = new (message: string, options?: { cause?: unknown }) => DiffusersError;

const CLASS_OF_CODE: Record<ErrorCode, CodedErrorClass> = {
  ERR_ARGUMENT: ArgumentError,
  ERR_SHAPE: ShapeError,
  ERR_DTYPE: DTypeError,
  ERR_DEVICE: DeviceError,
  ERR_CONFIG: ConfigError,
  ERR_TIMESTEP: TimestepError,
  ERR_CHECKPOINT: CheckpointError,
  ERR_NOT_FOUND: NotFoundError,
  ERR_NETWORK: NetworkError,
  ERR_QUEUE_FULL: QueueFullError,
  ERR_DEADLINE: DeadlineError,
  ERR_ABORTED: AbortError,
  ERR_CLOSED: ClosedError,
  ERR_DISPOSED: DisposedError,
  ERR_LIBTORCH: LibtorchError,
  ERR_OUT_OF_MEMORY: OutOfMemoryError,
  ERR_OP: OpError,
};

/** Makes the error of `code`; the addon throws through it, so that native and TypeScript failures are of one kind. */
export function makeError(code: ErrorCode, message: string): DiffusersError {
  // Names from a stranger's file may be in it. Operators' overloads, and what a TorchScript program says, have lines.
  const text = code === 'ERR_ARGUMENT' || code === 'ERR_OP' ? message.split('\n').map(escapeControls).join('\n') : escapeControls(message);
  return new CLASS_OF_CODE[code](text);
}

/** What a rejected promise carries after `signal` fired: code ERR_ABORTED, cause the signal's reason. */
export function abortError(signal: AbortSignal): AbortError {
  return new AbortError('the operation was aborted by its signal', { cause: signal.reason });
}

/** Throws {@link abortError} if the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortError(signal);
}
