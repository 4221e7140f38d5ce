import type { RestoreStats } from '@twinbore/pat'
import type { PlaneStats } from './engine.ts'

/** The counts of a data plane together with those of the ones before it that have died; what is a level is the newest's. */
export function addStats(before: PlaneStats, now: PlaneStats): PlaneStats {
  return {
    sessions: now.sessions,
    translator: now.translator,
    drops: sum(before.drops, now.drops),
    device: sum(before.device, now.device),
    socket: before.socket && now.socket && sum(before.socket, now.socket),
    datagram: before.datagram && now.datagram && sum(before.datagram, now.datagram),
    roaming: before.roaming && now.roaming && sum({ ...before.roaming, endpoints: 0 }, now.roaming),
  }
}

/** The counts of the workers of one data plane, of which there is at least one. Each of them knows all sessions. */
export function joinStats(parts: readonly PlaneStats[]): PlaneStats {
  return parts.slice(1).reduce(
    (joined, part) => ({
      sessions: Math.max(joined.sessions, part.sessions),
      translator: joined.translator && part.translator && sum(joined.translator, part.translator),
      drops: sum(joined.drops, part.drops),
      device: sum(joined.device, part.device),
      socket: joined.socket && part.socket && sum(joined.socket, part.socket),
      datagram: joined.datagram && part.datagram && sum(joined.datagram, part.datagram),
      roaming: joined.roaming && part.roaming && sum(joined.roaming, part.roaming),
    }),
    parts[0]!,
  )
}

/** Adds numbers of the same name, at every depth. */
function sum<Counts extends object>(one: Counts, other: Counts): Counts {
  const total: { [name: string]: unknown } = Object.fromEntries(Object.entries(one))
  for (const [name, value] of Object.entries(other)) {
    const before = total[name]
    if (typeof value === 'number') total[name] = (typeof before === 'number' ? before : 0) + value
    else if (typeof value === 'object' && value !== null && typeof before === 'object' && before !== null) {
      total[name] = sum(before, value)
    } else total[name] = value
  }
  return total as Counts
}

/** What a translator has of its predecessor's flows, for the log. */
export function flowFacts(restored: RestoreStats | undefined): Readonly<Record<string, number>> {
  if (!restored) return {}
  const { broken, refused, conflicting } = restored.dropped
  return { flowsKept: restored.sessions, flowsDropped: broken + refused + conflicting }
}
