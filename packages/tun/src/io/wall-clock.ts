const offset = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()

/** The wall clock in nanoseconds since 1970: where it stood at start, moved on by the monotonic clock, so it never goes back. */
export function wallClockNanoseconds(): bigint {
  return offset + process.hrtime.bigint()
}
