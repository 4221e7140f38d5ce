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
  }
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
