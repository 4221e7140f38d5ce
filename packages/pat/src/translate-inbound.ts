// Outside to client: find the mapping by the outside endpoint, ask its filter, put the inside destination in place.
//
//   read and check -> source not ours -> destination ours -> fragment? -> TCP, UDP, echo or ICMP error
//     -> mapping -> hop limit -> session (filter) -> headers rewritten
//
// Nothing here makes a mapping, and nobody is answered who doesn't meet one: unsolicited packets get silence
// (RFC 5382 REQ-4 allows it). Inbound packets refresh nothing by default (RFC 4787 REQ-6, RFC 7857 §7).
import { DropReason, type PacketBatch, tcpFlags } from '@twinbore/core/packet'
import { isLinkLocal, namesOneHost } from './address.ts'
import { type Engine, TAKEN } from './engine.ts'
import type { FragmentedDatagram } from './fragment-cache.ts'
import { hopLimitExceeded } from './icmp-errors.ts'
import { translateInboundError } from './icmp-translation.ts'
import { KnownFlows, UNKNOWN } from './known-flows.ts'
import { hasRefusedOptions, IcmpKind, PacketFacts, Protocol } from './packet-facts.ts'
import { keepIdentification, rewriteIpv4, rewriteIpv6, rewriteTransport, Side } from './rewrite.ts'
import { inbound, isOpening, openTcpSession, trackTcpSegment } from './tcp-tracker.ts'

export class InboundTranslation {
  private readonly engine: Engine
  private readonly facts: PacketFacts = new PacketFacts()
  private readonly hopsOnTheWay: number
  private readonly known: KnownFlows
  private hops = 0
  private now = 0
  private isHairpin = false

  constructor(engine: Engine) {
    this.engine = engine
    this.hopsOnTheWay = engine.config.decrementTtl ? 1 : 0
    this.known = new KnownFlows(engine, inbound)
  }

  /** Bytes of what is remembered of known flows. */
  get memoryBytes(): number {
    return this.known.memoryBytes
  }

  /** For batches of many flows: see `KnownFlows.touch`. */
  touch(batch: PacketBatch): void {
    this.known.touch(batch)
  }

  /** Translates the packet of a slot that passed `checkSlot`, in place. Returns 0, `TAKEN` or the reason to drop it. */
  translate(batch: PacketBatch, slot: number, now: number): number {
    const known = this.known.translate(batch, slot, now)
    if (known === 0) this.engine.counts.inbound += batch.segments[slot]!
    if (known !== UNKNOWN) return known
    const { facts, engine } = this
    const { view } = batch
    const offset = batch.offsets[slot]!
    this.now = now
    this.hops = this.hopsOnTheWay
    this.isHairpin = false
    const reason = facts.readSlot(batch, slot)
    if (reason !== 0) return reason
    const { sourceA, sourceB, sourceC, sourceD } = facts
    const { mappings } = engine
    if (!namesOneHost(sourceA, sourceB, sourceC, sourceD) || isLinkLocal(sourceA, sourceB, sourceC, sourceD)) {
      return DropReason.spoofedSource
    }
    const isOurs = mappings.outside.find(sourceA, sourceB, sourceC, sourceD) !== -1
    if (isOurs || mappings.isKnownInside(sourceA, sourceB, sourceC, sourceD)) {
      // The host's own kernel reports errors about what it should forward, from whichever address it has.
      if (facts.icmp !== IcmpKind.error || !(isOurs || mappings.isGateway(facts))) return DropReason.spoofedSource
    }
    if (hasRefusedOptions(view, offset, facts.at - offset)) return DropReason.refusedOptions
    const result = this.translateDestination(view, offset)
    if (result === 0) engine.counts.inbound += facts.segments
    return result
  }

  /** The same for a packet of another client, whose source has been translated and whose hop is counted already. */
  translateHairpin(packet: PacketFacts, view: DataView, offset: number, now: number): number {
    this.now = now
    this.hops = 0
    this.isHairpin = true
    const reason = packet.batch
      ? this.facts.readSlot(packet.batch, packet.slot)
      : this.facts.readHeaders(view, offset, packet.end - offset)
    return reason || this.translateDestination(view, offset)
  }

  private translateDestination(view: DataView, offset: number): number {
    const { facts, engine } = this
    const { destinationA, destinationB, destinationC, destinationD } = facts
    const outside = engine.mappings.outside.find(destinationA, destinationB, destinationC, destinationD)
    if (outside === -1) return DropReason.noRoute
    if (facts.isFragment) return this.translateFragment(view, offset, outside)
    return this.translateWhole(view, offset, outside, undefined)
  }

  /** A packet with a transport header: whole, or the first fragment of `datagram`. */
  private translateWhole(
    view: DataView,
    offset: number,
    outside: number,
    datagram: FragmentedDatagram | undefined,
  ): number {
    const { facts, engine, now } = this
    if (facts.icmp === IcmpKind.error) {
      if (datagram || facts.hopLimit <= this.hops) return datagram ? DropReason.malformed : DropReason.ttlExceeded
      return translateInboundError(engine, facts, outside, view, offset, this.hops, now)
    }
    if (facts.protocol === Protocol.none) return DropReason.unsupportedProtocol
    const { mappings } = engine
    const mapping = mappings.table.findOutside(outside, facts.protocol, facts.destinationPort)
    if (mapping === -1) return DropReason.noMapping
    const session = this.passFilter(view, mapping)
    if (session < 0) return -session
    if (facts.hopLimit <= this.hops) {
      engine.errors.toOutside(hopLimitExceeded, mappings.outside.words, outside, view, offset, facts, now)
      return DropReason.ttlExceeded
    }
    const at = mappings.table.inside[mapping]! * 4
    const { words } = mappings.insides
    if (datagram) datagram.address.set(words.subarray(at, at + 4))
    const delta = this.rewriteHeader(view, offset, words, at)
    const port = mappings.table.insidePort[mapping]!
    const { end, protocol, version, partialChecksum } = facts
    rewriteTransport(view, facts.at, end, protocol, version, Side.destination, port, delta, partialChecksum)
    if (!this.isHairpin) this.known.remember(facts, session, port, at, delta, outside)
    return 0
  }

  /**
   * The session by which the packet may use the mapping (RFC 4787 §5), minus a reason when there is none; TCP sessions are
   * tracked on the way.
   */
  private passFilter(view: DataView, mapping: number): number {
    const { facts, engine, now } = this
    const { mappings } = engine
    const { sourceA, sourceB, sourceC, sourceD, protocol } = facts
    const port = protocol === Protocol.icmp ? 0 : facts.sourcePort
    const session = mappings.findSession(mapping, sourceA, sourceB, sourceC, sourceD, port, now)
    if (protocol !== Protocol.tcp) {
      if (session === -1) return -DropReason.filtered
      if (engine.config.inboundRefresh) mappings.sessions.expireAt(session, now + mappings.ttl(protocol), now)
      return session
    }
    const length = facts.end - facts.at
    if (session !== -1) {
      if (!trackTcpSegment(mappings.sessions, session, inbound, view, facts.at, length, engine.config, now)) {
        engine.counts.outOfWindow++
        if (engine.config.dropOutOfWindow) return -DropReason.filtered
      }
      return session
    }
    if (port === 0 || !isOpening(tcpFlags(view, facts.at)) || !this.mayOpen(mapping)) return -DropReason.filtered
    const opened = mappings.addSession(mapping, sourceA, sourceB, sourceC, sourceD, port, now)
    if (opened < 0) return opened
    openTcpSession(mappings.sessions, opened, inbound, view, facts.at, length)
    return opened
  }

  /** Whether a SYN from outside may begin a session of an existing TCP mapping. */
  private mayOpen(mapping: number): boolean {
    const { facts, engine } = this
    switch (engine.config.filteringBehavior) {
      case 'endpoint-independent':
        return true
      case 'address-dependent':
        return engine.mappings.knowsAddress(mapping, facts.sourceA, facts.sourceB, facts.sourceC, facts.sourceD)
      default:
        return false
    }
  }

  private translateFragment(view: DataView, offset: number, outside: number): number {
    const { facts, engine, now } = this
    const cache = engine.inboundFragments
    if (facts.isLaterFragment && facts.hopLimit <= this.hops) return DropReason.ttlExceeded
    const datagram = cache.admit(facts, now)
    if (!datagram) return cache.reason
    if (facts.isLaterFragment) {
      if (datagram.state === 'waiting') {
        return cache.hold(datagram, view, offset, facts.end - offset) ? TAKEN : DropReason.fragmentLimit
      }
      this.rewriteHeader(view, offset, datagram.address, 0)
      cache.finish(datagram)
      return 0
    }
    const result = this.translateWhole(view, offset, outside, datagram)
    if (result !== 0) {
      cache.refuse(datagram)
      return result
    }
    datagram.state = 'open'
    for (const bytes of cache.release(datagram)) {
      this.rewriteHeader(new DataView(bytes.buffer), 0, datagram.address, 0)
      engine.counts.inbound++
      engine.outputs.push({ type: 'packet', direction: 'inbound', bytes })
    }
    cache.finish(datagram)
    return 0
  }

  private rewriteHeader(view: DataView, offset: number, words: Int32Array, at: number): number {
    return this.facts.version === 4
      ? rewriteIpv4(view, offset, Side.destination, words[at + 3]!, keepIdentification, this.hops)
      : rewriteIpv6(view, offset, Side.destination, words, at, this.hops)
  }
}
