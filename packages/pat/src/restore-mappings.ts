// A translator's tables out of what a predecessor left in shared memory. Nothing of it is believed as it stands: lists,
// indexes, port bitmaps and counters are made anew from the records that are whole, agree with each other, and are what these
// options would allow. Rows keep their numbers and are only ever cleared here, so that whoever dies at this can be followed too.
import { isIpv4 } from './address.ts'
import type { RestoreStats } from './events.ts'
import { sessionScope } from './filtering-behavior.ts'
import type { Mappings } from './mappings.ts'
import type { PatConfig } from './options.ts'
import { Protocol } from './packet-facts.ts'
import { addressKey, type RestingRecords } from './table/resting-records.ts'
import { RecordState, RecordWord, type SessionRecords } from './table/session-records.ts'
import { TcpState } from './tcp-tracker.ts'

/** Why a session is not taken over. */
type Refusal = keyof RestoreStats['dropped']

/** Fills tables that are empty yet from their memory, if they have one. What is refused is cleared. */
export function restoreMappings(mappings: Mappings, config: PatConfig, now: number): RestoreStats | undefined {
  const { records, restingRecords } = mappings
  if (!records || !restingRecords) return undefined
  const restoration = new Restoration(mappings, records, config, now)
  const dropped = { broken: 0, refused: 0, conflicting: 0 }
  for (let row = 0; row < records.capacity; row++) {
    const state = records.look(row)
    if (state === RecordState.none) continue
    const refusal = state === RecordState.broken ? 'broken' : restoration.take(row)
    if (!refusal) continue
    records.clear(row)
    dropped[refusal]++
  }
  restoreResting(mappings, restingRecords, config, now)
  const [tcp, udp, icmp] = mappings.live
  return { mappings: tcp + udp + icmp, sessions: mappings.sessions.count, dropped }
}

class Restoration {
  private readonly mappings: Mappings
  private readonly records: SessionRecords
  private readonly config: PatConfig
  private readonly now: number
  /** By protocol: the longest that a session may have left. */
  private readonly longest: readonly number[]

  constructor(mappings: Mappings, records: SessionRecords, config: PatConfig, now: number) {
    const { tcpEstablishedTtlMs, tcpOpeningTtlMs, tcpClosingTtlMs, udpTtlMs, icmpQueryTtlMs } = config
    this.mappings = mappings
    this.records = records
    this.config = config
    this.now = now
    this.longest = [Math.max(tcpEstablishedTtlMs, tcpOpeningTtlMs, tcpClosingTtlMs), udpTtlMs, icmpQueryTtlMs]
  }

  /** Takes the session of a row with a whole record over; `undefined`, or why not. */
  take(row: number): Refusal | undefined {
    const { mappings, now, longest } = this
    const { sessions, insides, table } = mappings
    const { words } = this.records
    const at = row * 16
    const protocol = words[at + RecordWord.kind]! & 0xff
    const expiresAt = sessions.expiresAt(row)
    // A connection of which the first segment was being looked at has not begun.
    const state = sessions.state(row)
    const isTracked = state >= TcpState.openingOutbound && state <= TcpState.reset
    if (!Number.isFinite(expiresAt) || isTracked !== (protocol === Protocol.tcp)) return 'broken'
    if (!this.isAllowed(row) || sessions.full) return 'refused'
    const mapping = this.mappingOf(row)
    if (typeof mapping === 'string') return mapping
    const remote = at + RecordWord.remote
    const [a, b, c, d] = [words[remote]!, words[remote + 1]!, words[remote + 2]!, words[remote + 3]!]
    const port = words[at + RecordWord.remotePort]!
    if (sessions.find(mapping, a, b, c, d, port) !== -1) return 'conflicting'
    const inside = table.inside[mapping]!
    sessions.restore(row, mapping, a, b, c, d, port, table.firstSession[mapping]!)
    table.firstSession[mapping] = row
    insides.sessions[inside] = insides.sessions[inside]! + 1
    // Whose time is over ends as always, so that it is told and its port rests.
    sessions.schedule(row, Math.min(expiresAt, now + longest[protocol]!), now)
    return undefined
  }

  /** Whether these options would allow the record's endpoints, by themselves. */
  private isAllowed(row: number): boolean {
    const { mappings, config } = this
    const { words } = this.records
    const kind = words[row * 16 + RecordWord.kind]!
    const protocol = kind & 0xff
    if (protocol > Protocol.icmp || kind >>> 8 !== sessionScope(config.filteringBehavior, protocol)) return false
    const inside = row * 16 + RecordWord.inside
    if (isIpv4(words, inside) !== isIpv4(words, row * 16 + RecordWord.outside)) return false
    return mappings.mayBeInside(words[inside]!, words[inside + 1]!, words[inside + 2]!, words[inside + 3]!)
  }

  /** The mapping of a record, made if it is the first that names it. */
  private mappingOf(row: number): number | Refusal {
    const { mappings, config, now } = this
    const { insides, table, outside } = mappings
    const { words } = this.records
    const at = row * 16
    const protocol = words[at + RecordWord.kind]! & 0xff
    const insidePort = words[at + RecordWord.ports]! & 0xffff
    const outsidePort = words[at + RecordWord.ports]! >>> 16
    const to = at + RecordWord.outside
    const number = outside.find(words[to]!, words[to + 1]!, words[to + 2]!, words[to + 3]!)
    if (number === -1) return 'refused'
    const from = at + RecordWord.inside
    const [a, b, c, d] = [words[from]!, words[from + 1]!, words[from + 2]!, words[from + 3]!]
    let inside = insides.find(a, b, c, d)
    if (inside !== -1) {
      const mapping = table.findInside(inside, protocol, insidePort)
      if (mapping !== -1) {
        const same = table.outside[mapping] === number && table.outsidePort[mapping] === outsidePort
        return same ? mapping : 'conflicting'
      }
      if (insides.outside[inside] !== number) return 'conflicting'
    }
    if (table.findOutside(number, protocol, outsidePort) !== -1) return 'conflicting'
    if (table.full || !outside.pool(number, protocol).claim(outsidePort)) return 'refused'
    if (inside === -1) {
      outside.pairWith(number)
      inside = insides.add(a, b, c, d, number, config.newMappingBurst, now)
    }
    return mappings.attach(inside, protocol, insidePort, number, outsidePort)
  }
}

/** Ports that nobody has and that still rest. */
function restoreResting(mappings: Mappings, resting: RestingRecords, config: PatConfig, now: number): void {
  const { outside } = mappings
  const numbers = new Map(config.outside.map((words, number) => [addressKey(words, 0), number]))
  for (const { addressKey: key, protocol, port, until } of resting.resting(now, config.portQuarantineMs)) {
    const number = numbers.get(key)
    if (number === undefined || protocol > Protocol.icmp) continue
    const pool = outside.pool(number, protocol)
    if (pool.claim(port)) pool.release(port, until - now, now)
  }
}
