// Mappings and sessions and everything that says whether there may be one more: quotas, rate, ports, room.
//
//   inside address (row) --< mapping: (protocol, inside port) <-> (outside address, outside port) --< session: remote end
//
// A session has the timer. The last session takes its mapping along, the last mapping its inside address, so that
// nothing has to be swept. Live mappings are never evicted (RFC 6888 REQ-11).
import { DropReason, type KeyedHash } from '@twinbore/core/packet'
import { formatAddress, namesOneHost, prefixContains } from './address.ts'
import type { Endpoint, PatProtocol, PortsExhaustedOutput } from './events.ts'
import { SessionScope, sessionScope } from './filtering-behavior.ts'
import type { PatConfig } from './options.ts'
import type { Outputs } from './outputs.ts'
import { OutsideAddresses } from './outside-addresses.ts'
import { type PacketFacts, Protocol } from './packet-facts.ts'
import { InsideTable } from './table/inside-table.ts'
import { MappingTable } from './table/mapping-table.ts'
import { RestingRecords } from './table/resting-records.ts'
import { SessionRecords } from './table/session-records.ts'
import { SessionTable } from './table/session-table.ts'
import { TcpState } from './tcp-tracker.ts'
import type { TranslatorMemory } from './translator-memory.ts'

export const protocolNames: readonly PatProtocol[] = ['tcp', 'udp', 'icmp']

/** Sessions met per `expire`: what one call may cost, about 5 ms. */
const expiryBudget = 20_000
/** How many sessions of a TCP mapping are asked whether they know an address that opens from outside. */
const knownAddressSearch = 256

export class Mappings {
  readonly insides: InsideTable
  readonly table: MappingTable
  readonly sessions: SessionTable
  readonly outside: OutsideAddresses
  readonly live: [tcp: number, udp: number, icmp: number] = [0, 0, 0]
  created = 0
  removed = 0
  /** For a successor; `undefined` without memory that outlives this. */
  readonly records: SessionRecords | undefined
  readonly restingRecords: RestingRecords | undefined
  private readonly config: PatConfig
  private readonly outputs: Outputs
  private readonly quotas: readonly number[]
  private readonly scopes: readonly number[]
  private readonly ttls: readonly number[]
  /** Refusals since the last report, by cause. */
  private readonly refusals: Map<number, { refused: number; reportedAt: number }> = new Map()

  /** @param memory - what is in it is for `restoreMappings` to take over, first of all */
  constructor(config: PatConfig, hash: KeyedHash, outputs: Outputs, memory?: TranslatorMemory) {
    this.config = config
    this.outputs = outputs
    this.insides = new InsideTable(hash, config.maxMappings)
    this.table = new MappingTable(hash, config.maxMappings)
    this.sessions = new SessionTable(hash, config.maxSessions, memory?.sessions)
    this.outside = new OutsideAddresses(config, hash)
    this.records = memory && new SessionRecords(memory.records, this)
    this.restingRecords = memory && new RestingRecords(memory.resting)
    this.quotas = [config.maxTcpMappingsPerInside, config.maxUdpMappingsPerInside, config.maxIcmpMappingsPerInside]
    this.scopes = [0, 1, 2].map(protocol => sessionScope(config.filteringBehavior, protocol))
    this.ttls = [config.tcpOpeningTtlMs, config.udpTtlMs, config.icmpQueryTtlMs]
  }

  get memoryBytes(): number {
    const kept = (this.records?.memoryBytes ?? 0) + (this.restingRecords?.memoryBytes ?? 0)
    return (
      this.insides.memoryBytes + this.table.memoryBytes + this.sessions.memoryBytes + this.outside.memoryBytes + kept
    )
  }

  get deadline(): number | undefined {
    return this.sessions.wheel.deadline
  }

  /** Idle life of a new session of a protocol. */
  ttl(protocol: number): number {
    return this.ttls[protocol]!
  }

  /** Whether an address is of the `insidePrefixes`; without them none is known to be. */
  isKnownInside(a: number, b: number, c: number, d: number): boolean {
    const { inside } = this.config
    if (!inside) return false
    for (let i = 0; i < inside.length; i++) if (prefixContains(inside[i]!, a, b, c, d)) return true
    return false
  }

  /** Whether a packet comes from a gateway address. */
  isGateway(facts: PacketFacts): boolean {
    const own = facts.version === 4 ? this.config.gateway4 : this.config.gateway6
    return (
      own !== undefined &&
      own[0] === facts.sourceA &&
      own[1] === facts.sourceB &&
      own[2] === facts.sourceC &&
      own[3] === facts.sourceD
    )
  }

  /** Whether an address may hold mappings: it names one host, is of the `insidePrefixes` and not one of ours. */
  mayBeInside(a: number, b: number, c: number, d: number): boolean {
    if (!namesOneHost(a, b, c, d) || this.outside.find(a, b, c, d) !== -1) return false
    return this.config.inside === undefined || this.isKnownInside(a, b, c, d)
  }

  /** The live session of a mapping with a remote end, or -1. */
  findSession(mapping: number, a: number, b: number, c: number, d: number, port: number, now: number): number {
    const scope = this.scopes[this.table.protocol[mapping]!]!
    const session =
      scope === SessionScope.endpoint
        ? this.sessions.find(mapping, a, b, c, d, port)
        : scope === SessionScope.address
          ? this.sessions.find(mapping, a, b, c, d, 0)
          : this.sessions.find(mapping, 0, 0, 0, 0, 0)
    if (session === -1 || this.sessions.expiresAt(session) > now) return session
    return -1
  }

  /** The live session of an outbound packet from a row of `insides`, or -1. */
  findOutbound(inside: number, facts: PacketFacts, now: number): number {
    const mapping = this.table.findInside(inside, facts.protocol, facts.sourcePort)
    if (mapping === -1) return -1
    const { destinationA, destinationB, destinationC, destinationD, destinationPort, protocol } = facts
    const port = protocol === Protocol.icmp ? 0 : destinationPort
    return this.findSession(mapping, destinationA, destinationB, destinationC, destinationD, port, now)
  }

  /** Whether a TCP mapping has a session with an address, on any port. */
  knowsAddress(mapping: number, a: number, b: number, c: number, d: number): boolean {
    const { remote } = this.sessions
    let session = this.table.firstSession[mapping]!
    for (let n = 0; session !== -1 && n < knownAddressSearch; n++) {
      const i = session * 4
      if (remote[i] === a && remote[i + 1] === b && remote[i + 2] === c && remote[i + 3] === d) return true
      session = this.sessions.nextOfMapping(session)
    }
    return false
  }

  /**
   * Makes a session for an outbound packet that has none, and its mapping when that isn't there. Returns the session,
   * or minus the reason why not.
   */
  open(facts: PacketFacts, now: number): number {
    const { sourceA, sourceB, sourceC, sourceD, protocol, sourcePort } = facts
    if (this.sessions.full) return this.refuse('sessions', protocol, 0, now)
    let inside = this.insides.find(sourceA, sourceB, sourceC, sourceD)
    let mapping = inside === -1 ? -1 : this.table.findInside(inside, protocol, sourcePort)
    if (mapping === -1) {
      if (inside === -1) {
        if (this.table.full) return this.refuse('mappings', protocol, 0, now)
        const outside = this.outside.pair(facts.version)
        if (outside === -1) return -DropReason.noRoute
        inside = this.insides.add(sourceA, sourceB, sourceC, sourceD, outside, this.config.newMappingBurst, now)
      }
      mapping = this.addMapping(inside, protocol, sourcePort, now)
      if (mapping < 0) {
        if (this.insides.firstMapping[inside] === -1) this.forgetInside(inside)
        return mapping
      }
    }
    const { destinationA, destinationB, destinationC, destinationD, destinationPort } = facts
    const port = protocol === Protocol.icmp ? 0 : destinationPort
    return this.addSession(mapping, destinationA, destinationB, destinationC, destinationD, port, now)
  }

  /** Adds a session to a mapping. Returns it, or minus the reason why not. */
  addSession(mapping: number, a: number, b: number, c: number, d: number, port: number, now: number): number {
    const { sessions, table } = this
    const protocol = table.protocol[mapping]!
    const inside = table.inside[mapping]!
    const scope = this.scopes[protocol]!
    const known = scope !== SessionScope.anybody
    const keyPort = scope === SessionScope.endpoint ? port : 0
    // One of the same key may be there, due but not yet met by the wheel. It is continued.
    const stale = known ? sessions.find(mapping, a, b, c, d, keyPort) : sessions.find(mapping, 0, 0, 0, 0, 0)
    if (stale !== -1) {
      sessions.setState(stale, 0)
      sessions.expireAt(stale, now + this.ttls[protocol]!, now)
      return stale
    }
    const count = this.insides.sessions[inside]!
    if (sessions.full) return this.refuse('sessions', protocol, table.outside[mapping]!, now)
    if (count >= this.config.maxSessionsPerInside) return -DropReason.quotaExceeded
    const first = table.firstSession[mapping]!
    const session = known
      ? sessions.add(mapping, a, b, c, d, keyPort, first)
      : sessions.add(mapping, 0, 0, 0, 0, 0, first)
    table.firstSession[mapping] = session
    this.insides.sessions[inside] = count + 1
    sessions.schedule(session, now + this.ttls[protocol]!, now)
    this.records?.write(session, scope)
    return session
  }

  /** Forgets every mapping of an inside address. Returns how many there were. */
  removeInside(a: number, b: number, c: number, d: number, now: number): number {
    const inside = this.insides.find(a, b, c, d)
    if (inside === -1) return 0
    let count = 0
    let mapping = this.insides.firstMapping[inside]!
    while (mapping !== -1) {
      count++
      // With its last session the mapping goes, with its last mapping the inside address.
      const next = this.table.nextOfInside[mapping]!
      for (let session = this.table.firstSession[mapping]!; session !== -1; ) {
        const following = this.sessions.nextOfMapping(session)
        this.sessions.wheel.cancel(session)
        this.removeSession(session, 'removed', now)
        session = following
      }
      mapping = next
    }
    return count
  }

  /** Removes sessions whose time has come, up to a budget. */
  expire(now: number): void {
    const { sessions } = this
    const { wheel } = sessions
    for (let met = 0; met < expiryBudget; met++) {
      const session = wheel.take(now)
      if (session === -1) return
      const at = sessions.expiresAt(session)
      if (at > now) wheel.schedule(session, at, now)
      else this.removeSession(session, 'idle', now)
    }
  }

  /** Removes a session that isn't on the wheel, and what was there only because of it. */
  private removeSession(session: number, reason: 'idle' | 'removed', now: number): void {
    const { sessions, table, insides } = this
    const mapping = sessions.mapping(session)
    const inside = table.inside[mapping]!
    const wasTracked = sessions.state(session) >= TcpState.closing
    const isLast = table.firstSession[mapping] === session && sessions.nextOfMapping(session) === -1
    // A successor must find a port in use or resting at any moment.
    if (isLast) this.releasePort(mapping, reason, wasTracked, now)
    this.records?.clear(session)
    const first = sessions.remove(session, table.firstSession[mapping]!)
    table.firstSession[mapping] = first
    insides.sessions[inside] = insides.sessions[inside]! - 1
    if (isLast) this.removeMapping(mapping, reason, now)
  }

  private releasePort(mapping: number, reason: 'idle' | 'removed', wasTracked: boolean, now: number): void {
    const { table, config, outside } = this
    const protocol = table.protocol[mapping]!
    const number = table.outside[mapping]!
    const port = table.outsidePort[mapping]!
    // RFC 6888 REQ-8 A: where TCP was tracked to its end, its port may be used again at once.
    const rests = protocol !== Protocol.tcp || (reason === 'removed' && !wasTracked)
    const restMs = rests ? config.portQuarantineMs : 0
    if (restMs > 0) this.restingRecords?.note(outside.words, number * 4, protocol, port, now + restMs)
    outside.pool(number, protocol).release(port, restMs, now)
  }

  private addMapping(inside: number, protocol: number, insidePort: number, now: number): number {
    const { insides, table, config } = this
    const outside = insides.outside[inside]!
    if (table.full) return this.refuse('mappings', protocol, outside, now)
    const counter = inside * 3 + protocol
    if (insides.mappings[counter]! >= this.quotas[protocol]!) return -DropReason.quotaExceeded
    if (!insides.takeToken(inside, config.newMappingsPerSecond, config.newMappingBurst, now)) {
      return -DropReason.rateLimited
    }
    const port = this.outside.pool(outside, protocol).allocate(now)
    if (port === -1) return this.refuse('ports', protocol, outside, now)
    const mapping = this.attach(inside, protocol, insidePort, outside, port)
    this.created++
    if (config.logMappings) this.outputs.push({ type: 'mapping-created', ...this.record(mapping, now) })
    return mapping
  }

  /** Adds a mapping, whose port is taken, to its inside address. */
  attach(inside: number, protocol: number, insidePort: number, outside: number, outsidePort: number): number {
    const { insides, table } = this
    const counter = inside * 3 + protocol
    const mapping = table.add(inside, protocol, insidePort, outside, outsidePort, insides.firstMapping[inside]!)
    insides.firstMapping[inside] = mapping
    insides.mappings[counter] = insides.mappings[counter]! + 1
    this.live[protocol]!++
    return mapping
  }

  private removeMapping(mapping: number, reason: 'idle' | 'removed', now: number): void {
    const { insides, table, config } = this
    const inside = table.inside[mapping]!
    const protocol = table.protocol[mapping]!
    if (config.logMappings) this.outputs.push({ type: 'mapping-expired', ...this.record(mapping, now), reason })
    const first = table.remove(mapping, insides.firstMapping[inside]!)
    insides.firstMapping[inside] = first
    insides.mappings[inside * 3 + protocol] = insides.mappings[inside * 3 + protocol]! - 1
    this.live[protocol]!--
    this.removed++
    if (first === -1) this.forgetInside(inside)
  }

  private forgetInside(inside: number): void {
    this.outside.unpair(this.insides.outside[inside]!)
    this.insides.remove(inside)
  }

  private record(
    mapping: number,
    at: number,
  ): { protocol: PatProtocol; inside: Endpoint; outside: Endpoint; at: number } {
    const { table, insides } = this
    const inside = formatAddress(insides.words, table.inside[mapping]! * 4)
    const outside = formatAddress(this.outside.words, table.outside[mapping]! * 4)
    return {
      protocol: protocolNames[table.protocol[mapping]!]!,
      inside: { address: inside, port: table.insidePort[mapping]! },
      outside: { address: outside, port: table.outsidePort[mapping]! },
      at,
    }
  }

  /** Counts a refusal for want of a resource and reports it, seldom. */
  private refuse(resource: PortsExhaustedOutput['resource'], protocol: number, outside: number, now: number): number {
    const cause = outside * 16 + protocol * 4 + (resource === 'ports' ? 0 : resource === 'mappings' ? 1 : 2)
    let refusal = this.refusals.get(cause)
    if (!refusal) {
      refusal = { refused: 0, reportedAt: Number.NEGATIVE_INFINITY }
      this.refusals.set(cause, refusal)
    }
    refusal.refused++
    if (now - refusal.reportedAt >= this.config.exhaustionReportIntervalMs) {
      this.outputs.push({
        type: 'ports-exhausted',
        resource,
        protocol: protocolNames[protocol]!,
        outsideAddress: formatAddress(this.outside.words, outside * 4),
        refused: refusal.refused,
        at: now,
      })
      refusal.refused = 0
      refusal.reportedAt = now
    }
    return -DropReason.portsExhausted
  }
}
