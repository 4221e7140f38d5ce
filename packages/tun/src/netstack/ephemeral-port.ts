import type { NetStackRandom } from './options.ts'

/** A free port of a range, found by a walk from a random start (RFC 6056 §3.3.1 with the scan of §3.3.2); -1 when none is free. */
export function choosePort(
  range: readonly [number, number],
  random: NetStackRandom,
  isFree: (port: number) => boolean,
): number {
  const [first, last] = range
  const count = last - first + 1
  const start = random.uint32() % count
  for (let i = 0; i < count; i++) {
    const port = first + ((start + i) % count)
    if (isFree(port)) return port
  }
  return -1
}
