/**
 * Why a slot of a batch was dropped: a small closed set of numbers with names. A drop is not an error; it is counted.
 * Numbers are stable, new reasons go at the end.
 */
export const DropReason = {
  malformed: 1,
  badChecksum: 2,
  spoofedSource: 3,
  deniedDestination: 4,
  noRoute: 5,
  noSession: 6,
  noMapping: 7,
  filtered: 8,
  portsExhausted: 9,
  quotaExceeded: 10,
  ttlExceeded: 11,
  tooBig: 12,
  unsupportedProtocol: 13,
  fragmentLimit: 14,
  notAuthenticated: 15,
  replayed: 16,
  unknownPeer: 17,
  queueFull: 18,
  deviceError: 19,
  rateLimited: 20,
  unexpectedFrame: 21,
  draining: 22,
  refusedOptions: 23,
  /** Its sender takes more than a fair share of what is overloaded. */
  unfairShare: 24,
  notPermitted: 25,
} as const

export type DropReason = (typeof DropReason)[keyof typeof DropReason]

/** The name of a drop reason, for counters and logs. */
export function dropReasonName(reason: number): string {
  return names[reason] ?? `reason-${reason}`
}

/** One more than the largest drop reason: the size of a counter array indexed by reason. */
export const DROP_REASON_COUNT: number = Math.max(...Object.values(DropReason)) + 1

const names: string[] = []
for (const [name, reason] of Object.entries(DropReason)) names[reason] = name
