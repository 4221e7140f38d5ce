import {
  DropReason,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  type PacketBatch,
  TcpField,
  UdpField,
} from '@twinbore/core/packet'
import { V4_MAPPED } from './address.ts'
import type { Engine } from './engine.ts'
import type { PacketFacts } from './packet-facts.ts'
import { Protocol } from './packet-facts.ts'
import { fold } from './rewrite.ts'
import { outbound, trackTcpSegment } from './tcp-tracker.ts'

/** `translate` knows nothing of the packet's flow. */
export const UNKNOWN = -2

// Words of an entry: one cache line.
const entryWords = 16
const key = { location: 0, ports: 1, sourceD: 2, destinationD: 3, sourceA: 4, destinationA: 7 } as const
const value = {
  session: 10,
  serial: 11,
  /** The port that is put in. */
  port: 12,
  /** Delta of a whole checksum, and above it that of a partial one. */
  deltas: 13,
  /** The address that is put in: itself in IPv4, where its words are in IPv6. */
  address: 14,
  /** The outside address that numbers the packets. */
  outside: 15,
} as const

const leastPairs = 512
const mostPairs = 32_768
/** Packets whose entries are asked for at once; more than the processor keeps under way. */
const mostTouched = 256

// What `locateTransport` says of packets without options and extension headers that are no fragments.
const tcp4 = IpProtocol.tcp | (20 << 8)
const udp4 = IpProtocol.udp | (20 << 8)
const tcp6 = IpProtocol.tcp | (40 << 8)
const udp6 = IpProtocol.udp | (40 << 8)

/**
 * Sessions by the very packets that travel in them, one direction: what a packet's headers were found to mean when the
 * tables were asked, so that the next one like it costs a look at its entry and one at its session. A cache: entries push
 * each other out, and one whose session has ended is seen to by the session's serial number.
 *
 * It knows TCP and UDP packets without IP options, fragments and hairpins left out. Every rule that depends on more than
 * addresses and ports (hop limit, idle time, TCP windows, filters) is applied again to each packet, here or, after
 * `UNKNOWN`, by the translation proper.
 *
 * Memory: 64 bytes an entry, two to eight times as many as there are sessions, 64 KiB to 4 MiB. A flow has a choice of two.
 */
export class KnownFlows {
  private readonly engine: Engine
  private readonly direction: number
  private readonly isOutbound: boolean
  private readonly hops: number
  private readonly refreshes: boolean
  private readonly seed: number
  private readonly address4: number
  private readonly address6: number
  private readonly portAt: number
  private entries = new Int32Array(leastPairs * 2 * entryWords)
  private mask = leastPairs - 1
  /** Of the packets that `touch` looks at. */
  private readonly pairs = new Int32Array(mostTouched)
  /** Without a use for what was read, it would not be read. */
  protected seen = 0

  constructor(engine: Engine, direction: number) {
    const { config } = engine
    this.engine = engine
    this.direction = direction
    this.isOutbound = direction === outbound
    this.hops = config.decrementTtl ? 1 : 0
    this.refreshes = this.isOutbound || config.inboundRefresh
    this.seed = engine.hash.words2(direction, 0)
    this.address4 = this.isOutbound ? Ipv4Field.source : Ipv4Field.destination
    this.address6 = this.isOutbound ? Ipv6Field.source : Ipv6Field.destination
    this.portAt = this.isOutbound ? 0 : 2
  }

  get memoryBytes(): number {
    return this.entries.byteLength
  }

  /**
   * Translates the packet of a slot that passed `checkSlot`, if its flow is known. Returns 0, the reason to drop it, or
   * `UNKNOWN`; then nothing was changed.
   */
  translate(batch: PacketBatch, slot: number, now: number): number {
    const location = batch.locations[slot]!
    const { view } = batch
    const offset = batch.offsets[slot]!
    let entry: number
    if (location === tcp4 || location === udp4) entry = this.find4(view, offset, location)
    else if (location === tcp6 || location === udp6) entry = this.find6(view, offset, location)
    else return UNKNOWN
    if (entry === -1) return UNKNOWN
    const { entries, engine } = this
    const { sessions } = engine.mappings
    const session = entries[entry + value.session]!
    if (sessions.serial(session) !== entries[entry + value.serial] || sessions.expiresAt(session) <= now) return UNKNOWN
    const isIpv4 = location >>> 8 === 20
    const hopLimitAt = isIpv4 ? offset + Ipv4Field.timeToLive : offset + Ipv6Field.hopLimit
    if (this.hops !== 0 && view.getUint8(hopLimitAt) <= 1) return UNKNOWN
    const at = offset + (location >>> 8)
    if ((location & 0xff) === IpProtocol.tcp) {
      const length = batch.lengths[slot]! - (location >>> 8)
      if (!trackTcpSegment(sessions, session, this.direction, view, at, length, engine.config, now)) {
        engine.counts.outOfWindow++
        if (engine.config.dropOutOfWindow) return DropReason.filtered
      }
    } else if (this.refreshes) {
      sessions.expireAt(session, now + engine.mappings.ttl(Protocol.udp), now)
    }
    if (isIpv4) this.rewrite4(batch, slot, view, offset, entry)
    else this.rewrite6(view, offset, entry)
    this.rewriteTransport(view, at, entry, location & 0xff, batch.partialChecksums[slot]!)
    return 0
  }

  /**
   * Looks at the entries and the sessions of a batch's packets, and does nothing with them: where there are too many for the
   * processor's cache, they come from memory side by side, instead of one after the other when each packet has its turn.
   */
  touch(batch: PacketBatch): void {
    const { entries, pairs, engine } = this
    const { view, offsets, locations } = batch
    const { sessions } = engine.mappings
    const count = Math.min(batch.count, pairs.length)
    let seen = 0
    for (let slot = 0; slot < count; slot++) {
      const location = locations[slot]!
      const offset = offsets[slot]!
      let pair = 0
      if (location === tcp4 || location === udp4) {
        const source = view.getInt32(offset + Ipv4Field.source)
        pair = this.pairOf(location, view.getInt32(offset + 20), source, view.getInt32(offset + Ipv4Field.destination))
      } else if (location === tcp6 || location === udp6) {
        const source = view.getInt32(offset + Ipv6Field.source + 12)
        const destination = view.getInt32(offset + Ipv6Field.destination + 12)
        pair = this.pairOf(location, view.getInt32(offset + 40), source, destination)
      }
      pairs[slot] = pair
      seen ^= entries[pair + key.ports]! ^ entries[pair + entryWords + key.ports]!
    }
    for (let slot = 0; slot < count; slot++) seen ^= sessions.serial(entries[pairs[slot]! + value.session]!)
    this.seen = seen
  }

  private find4(view: DataView, offset: number, location: number): number {
    const source = view.getInt32(offset + Ipv4Field.source)
    const destination = view.getInt32(offset + Ipv4Field.destination)
    const ports = view.getInt32(offset + 20)
    const pair = this.pairOf(location, ports, source, destination)
    if (this.names(pair, location, ports, source, destination)) return pair
    return this.names(pair + entryWords, location, ports, source, destination) ? pair + entryWords : -1
  }

  private find6(view: DataView, offset: number, location: number): number {
    const source = view.getInt32(offset + Ipv6Field.source + 12)
    const destination = view.getInt32(offset + Ipv6Field.destination + 12)
    const ports = view.getInt32(offset + 40)
    const pair = this.pairOf(location, ports, source, destination)
    for (let entry = pair; entry <= pair + entryWords; entry += entryWords) {
      if (this.names(entry, location, ports, source, destination) && this.namesUpper(entry, view, offset)) return entry
    }
    return -1
  }

  private names(entry: number, location: number, ports: number, source: number, destination: number): boolean {
    const { entries } = this
    return (
      entries[entry + key.ports] === ports &&
      entries[entry + key.sourceD] === source &&
      entries[entry + key.destinationD] === destination &&
      entries[entry + key.location] === location
    )
  }

  /** Whether the upper parts of the IPv6 addresses are those of an entry too. */
  private namesUpper(entry: number, view: DataView, offset: number): boolean {
    const { entries } = this
    const source = offset + Ipv6Field.source
    const destination = offset + Ipv6Field.destination
    return (
      entries[entry + key.sourceA] === view.getInt32(source) &&
      entries[entry + key.sourceA + 1] === view.getInt32(source + 4) &&
      entries[entry + key.sourceA + 2] === view.getInt32(source + 8) &&
      entries[entry + key.destinationA] === view.getInt32(destination) &&
      entries[entry + key.destinationA + 1] === view.getInt32(destination + 4) &&
      entries[entry + key.destinationA + 2] === view.getInt32(destination + 8)
    )
  }

  /** Where the two entries stand that a flow may have. */
  private pairOf(location: number, ports: number, source: number, destination: number): number {
    let hash = Math.imul(this.seed ^ ports ^ location, 0x9e3779b1 | 0)
    hash = Math.imul(hash ^ (hash >>> 15) ^ source, 0x85ebca77 | 0)
    hash = Math.imul(hash ^ (hash >>> 13) ^ destination, 0xc2b2ae3d | 0)
    return ((hash >>> 8) & this.mask) * (2 * entryWords)
  }

  private rewrite4(batch: PacketBatch, slot: number, view: DataView, offset: number, entry: number): void {
    const { entries } = this
    let delta = entries[entry + value.deltas]! >>> 16
    view.setInt32(offset + this.address4, entries[entry + value.address]!)
    if (this.isOutbound) {
      const before = view.getUint16(offset + Ipv4Field.identification)
      let identification = 0
      if ((view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset) & 0x4000) === 0) {
        const protocol = view.getUint8(offset + Ipv4Field.protocol)
        const destination = entries[entry + key.destinationD]!
        const outsideAddress = entries[entry + value.outside]!
        identification =
          this.engine.identifications.next(outsideAddress, protocol, 0, V4_MAPPED, destination, batch.segments[slot]!) &
          0xffff
      }
      delta += (~before & 0xffff) + identification
      view.setUint16(offset + Ipv4Field.identification, identification)
    }
    if (this.hops !== 0) {
      view.setUint8(offset + Ipv4Field.timeToLive, view.getUint8(offset + Ipv4Field.timeToLive) - 1)
      // One less in the upper byte of a word.
      delta += 0xfeff
    }
    const checksum = offset + Ipv4Field.checksum
    view.setUint16(checksum, ~fold((~view.getUint16(checksum) & 0xffff) + delta))
  }

  private rewrite6(view: DataView, offset: number, entry: number): void {
    const { insides, outside } = this.engine.mappings
    const words = this.isOutbound ? outside.words : insides.words
    const from = this.entries[entry + value.address]!
    const to = offset + this.address6
    view.setInt32(to, words[from]!)
    view.setInt32(to + 4, words[from + 1]!)
    view.setInt32(to + 8, words[from + 2]!)
    view.setInt32(to + 12, words[from + 3]!)
    // The flow label tells one client's flows from another's (RFC 6437 §6.1).
    if (this.isOutbound) view.setInt32(offset, view.getInt32(offset) & 0xfff0_0000)
    if (this.hops !== 0) view.setUint8(offset + Ipv6Field.hopLimit, view.getUint8(offset + Ipv6Field.hopLimit) - 1)
  }

  private rewriteTransport(view: DataView, at: number, entry: number, protocol: number, partial: number): void {
    const { entries } = this
    const deltas = entries[entry + value.deltas]!
    view.setUint16(at + this.portAt, entries[entry + value.port]!)
    const field = at + (protocol === IpProtocol.tcp ? TcpField.checksum : UdpField.checksum)
    const checksum = view.getUint16(field)
    if (partial !== 0) {
      // The sum of the pseudo header, not inverted: there are no ports in it.
      view.setUint16(field, fold(checksum + (deltas >>> 16)))
      return
    }
    const patched = ~fold((~checksum & 0xffff) + (deltas & 0xffff)) & 0xffff
    if (protocol === IpProtocol.tcp) view.setUint16(field, patched)
    else if (checksum !== 0) view.setUint16(field, patched || 0xffff)
  }

  /**
   * Notes what the headers of a packet mean. `facts` are of the packet before it was changed.
   *
   * @param port - what is put in place of the source port (outbound) or the destination port (inbound)
   * @param address - where the four words of the new address begin in its table
   * @param addressDelta - of the address, as `rewriteIpv4` and `rewriteIpv6` return it
   */
  remember(
    facts: PacketFacts,
    session: number,
    port: number,
    address: number,
    addressDelta: number,
    outsideNumber: number,
  ): void {
    const { location } = facts
    if (location !== tcp4 && location !== udp4 && location !== tcp6 && location !== udp6) return
    const { mappings } = this.engine
    if (mappings.sessions.count > this.mask && this.mask + 1 < mostPairs) this.grow()
    const { entries } = this
    const ports = (facts.sourcePort << 16) | facts.destinationPort
    const entry = this.pairOf(location, ports, facts.sourceD, facts.destinationD)
    // The newer one stands first, the older of the two goes.
    entries.copyWithin(entry + entryWords, entry, entry + entryWords)
    const before = this.isOutbound ? facts.sourcePort : facts.destinationPort
    const partial = fold(addressDelta)
    entries[entry + key.location] = location
    entries[entry + key.ports] = ports
    entries[entry + key.sourceD] = facts.sourceD
    entries[entry + key.destinationD] = facts.destinationD
    entries[entry + key.sourceA] = facts.sourceA
    entries[entry + key.sourceA + 1] = facts.sourceB
    entries[entry + key.sourceA + 2] = facts.sourceC
    entries[entry + key.destinationA] = facts.destinationA
    entries[entry + key.destinationA + 1] = facts.destinationB
    entries[entry + key.destinationA + 2] = facts.destinationC
    entries[entry + value.session] = session
    entries[entry + value.serial] = mappings.sessions.serial(session)
    entries[entry + value.port] = port
    entries[entry + value.deltas] = fold(addressDelta + (~before & 0xffff) + port) | (partial << 16)
    const words = this.isOutbound ? mappings.outside.words : mappings.insides.words
    entries[entry + value.address] = facts.version === 4 ? words[address + 3]! : address
    entries[entry + value.outside] = outsideNumber
  }

  /** Four times the room. Flows are noted again as their packets come. */
  private grow(): void {
    const pairs = Math.min((this.mask + 1) * 4, mostPairs)
    this.entries = new Int32Array(pairs * 2 * entryWords)
    this.mask = pairs - 1
  }
}
