/** A point in time or a span, in milliseconds. Points are monotonic: they never go backwards and mean nothing outside the process. */
export type Milliseconds = number

/** Turns seconds into milliseconds. */
export function seconds(value: number): Milliseconds {
  return value * 1000
}

/** Turns minutes into milliseconds. */
export function minutes(value: number): Milliseconds {
  return value * 60_000
}

/** Where the time comes from. The real one is `systemClock` in `core/io`; tests use `ManualClock` of `core/testing`. */
export interface Clock {
  /** The current monotonic time. */
  now(): Milliseconds
  /** The current wall-clock time, milliseconds since 1970-01-01T00:00:00Z, for logs and certificates only. */
  wallClock(): Milliseconds
}
