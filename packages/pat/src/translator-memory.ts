import { defaultPatOptions, type PatOptions, resolveMaxSessions } from './options.ts'

/**
 * Where a translator keeps what its successor needs, when its thread dies: shared memory, made by
 * `allocateTranslatorMemory`. Plain, for the message that starts a thread. One translator at a time may use it.
 */
export interface TranslatorMemory {
  /** What changes with each packet of a session: when it ends, TCP state and windows. Grows. */
  readonly sessions: SharedArrayBuffer
  /** What a session is: its endpoints, inside, outside and remote. Grows. */
  readonly records: SharedArrayBuffer
  /** Ports that rest. */
  readonly resting: SharedArrayBuffer
}

/** State that is kept outside of a translator. */
export interface KeptState {
  /** Of `allocateTranslatorMemory`, for at least as many sessions as the translator's options allow. */
  readonly memory: TranslatorMemory
  /** The time, on the clock that the predecessor was given too. */
  readonly now: number
}

/** Rows of a table begin as many as these. */
export const LEAST_SESSION_ROWS = 64
/** Of `sessions` and of `records`. */
export const SESSION_ROW_BYTES = 64
/** Of `resting`, for each port, and once for where the next one goes. */
export const RESTING_BYTES = 16

/** What TypeScript's library of ES2023 doesn't know yet. */
interface GrowableBuffer extends SharedArrayBuffer {
  readonly maxByteLength: number
  grow(bytes: number): void
}

/**
 * Memory for a translator with these options, empty. It takes 128 bytes for each session at once, in powers of two from 64
 * sessions on, and 16 bytes for each of `maxQuarantinedPorts`, rounded up to a power of two; addresses are reserved for
 * `maxSessions`.
 *
 * @throws RangeError
 */
export function allocateTranslatorMemory(
  options: Pick<PatOptions, 'maxMappings' | 'maxSessions' | 'maxQuarantinedPorts'> = {},
): TranslatorMemory {
  const most = sessionRowsFor(resolveMaxSessions(options)) * SESSION_ROW_BYTES
  const { maxQuarantinedPorts = defaultPatOptions.maxQuarantinedPorts } = options
  return {
    sessions: growable(LEAST_SESSION_ROWS * SESSION_ROW_BYTES, most),
    records: growable(LEAST_SESSION_ROWS * SESSION_ROW_BYTES, most),
    resting: new SharedArrayBuffer(
      (maxQuarantinedPorts === 0 ? 1 : 1 + powerOfTwo(maxQuarantinedPorts)) * RESTING_BYTES,
    ),
  }
}

/** @throws TypeError | RangeError when it isn't memory for so many sessions */
export function checkTranslatorMemory({ sessions, records, resting }: TranslatorMemory, maxSessions: number): void {
  const least = sessionRowsFor(maxSessions) * SESSION_ROW_BYTES
  for (const buffer of [sessions, records, resting]) {
    if (!(buffer instanceof SharedArrayBuffer)) throw new TypeError('memory: made by allocateTranslatorMemory')
  }
  if ((sessions as GrowableBuffer).maxByteLength < least || (records as GrowableBuffer).maxByteLength < least) {
    throw new RangeError(`memory: too small for ${maxSessions} sessions`)
  }
}

/** Lets a buffer have at least so many bytes. What it has stays in its place. */
export function extend(buffer: SharedArrayBuffer, bytes: number): void {
  if (buffer.byteLength < bytes) (buffer as GrowableBuffer).grow(bytes)
}

function growable(bytes: number, most: number): SharedArrayBuffer {
  const make = SharedArrayBuffer as new (
    bytes: number,
    options: { readonly maxByteLength: number },
  ) => SharedArrayBuffer
  return new make(bytes, { maxByteLength: most })
}

function sessionRowsFor(sessions: number): number {
  return Math.max(LEAST_SESSION_ROWS, powerOfTwo(sessions))
}

/** The next power of two. */
function powerOfTwo(count: number): number {
  return 2 ** Math.ceil(Math.log2(count))
}
