// Client to outside: look up or create, then put an outside source in place of the inside one.
//
//   read and check -> may this source and destination pass? -> hop limit -> fragment? -> TCP, UDP, echo or ICMP error
//     -> session (made if there is none) -> headers rewritten -> towards the network, or around to another client
//
// Nothing is changed before everything is decided, so that ICMP errors quote what the client sent. RFC 4787 §4, RFC 5382,
// RFC 5508, RFC 6146 §3.5.
import { cutPackets, DropReason, type PacketBatch, tcpFlags } from '@twinbore/core/packet'
import { isLinkLocal, namesOneHost } from './address.ts'
import { type Engine, TAKEN } from './engine.ts'
import type { FragmentedDatagram } from './fragment-cache.ts'
import { hopLimitExceeded, prohibited, protocolUnreachable, resourcesExhausted } from './icmp-errors.ts'
import { translateOutboundError } from './icmp-translation.ts'
import { KnownFlows, UNKNOWN } from './known-flows.ts'
import { hasRefusedOptions, IcmpKind, PacketFacts, Protocol } from './packet-facts.ts'
import { clearFlowLabel, rewriteIpv4, rewriteIpv6, rewriteTransport, Side } from './rewrite.ts'
import { isOpening, openTcpSession, outbound, trackTcpSegment } from './tcp-tracker.ts'
import type { InboundTranslation } from './translate-inbound.ts'

export class OutboundTranslation {
  private readonly engine: Engine
  private readonly inbound: InboundTranslation
  private readonly facts: PacketFacts = new PacketFacts()
  private readonly hops: number
  private readonly known: KnownFlows
  private now = 0
  /** The row of the source of the packet at hand, or -1. */
  private inside = -1
  /** Whether the packet at hand goes to an outside address of ours, that is to another client. */
  private turnsAround = false

  constructor(engine: Engine, inbound: InboundTranslation) {
    this.engine = engine
    this.inbound = inbound
    this.hops = engine.config.decrementTtl ? 1 : 0
    this.known = new KnownFlows(engine, outbound)
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
    if (known === 0) this.engine.counts.outbound += batch.segments[slot]!
    if (known !== UNKNOWN) return known
    this.now = now
    const { view } = batch
    const offset = batch.offsets[slot]!
    const result = this.translateSource(batch, slot, view, offset)
    if (result !== 0) return result
    this.engine.counts.outbound += this.facts.segments
    return this.turnsAround ? this.turn(view, offset) : 0
  }

  private translateSource(batch: PacketBatch, slot: number, view: DataView, offset: number): number {
    const { facts, engine } = this
    const reason = facts.readSlot(batch, slot)
    if (reason !== 0) return reason
    const policy = this.checkAddresses(view, offset)
    if (policy !== 0) return policy
    if (hasRefusedOptions(view, offset, facts.at - offset)) return DropReason.refusedOptions
    if (this.hops !== 0 && facts.hopLimit <= 1) {
      engine.errors.toInside(hopLimitExceeded, view, offset, facts, this.now)
      return DropReason.ttlExceeded
    }
    if (facts.isFragment) return this.translateFragment(view, offset)
    return this.translateWhole(view, offset, undefined)
  }

  private checkAddresses(view: DataView, offset: number): number {
    const { facts, engine } = this
    const { sourceA, sourceB, sourceC, sourceD, destinationA, destinationB, destinationC, destinationD } = facts
    const { mappings } = engine
    this.inside = mappings.insides.find(sourceA, sourceB, sourceC, sourceD)
    // Who holds mappings has been asked before.
    if (this.inside === -1 && !mappings.mayBeInside(sourceA, sourceB, sourceC, sourceD)) return DropReason.spoofedSource
    if (!namesOneHost(destinationA, destinationB, destinationC, destinationD)) return DropReason.deniedDestination
    if (isLinkLocal(destinationA, destinationB, destinationC, destinationD)) return DropReason.deniedDestination
    // Inside to inside without an outside address is not a translator's business.
    if (mappings.isKnownInside(destinationA, destinationB, destinationC, destinationD))
      return DropReason.deniedDestination
    this.turnsAround = mappings.outside.find(destinationA, destinationB, destinationC, destinationD) !== -1
    if (!this.turnsAround || !engine.config.clientIsolation) return 0
    engine.counts.hairpinRefused++
    engine.errors.toInside(prohibited, view, offset, facts, this.now)
    return DropReason.deniedDestination
  }

  /** A packet with a transport header: whole, or the first fragment of `datagram`. */
  private translateWhole(view: DataView, offset: number, datagram: FragmentedDatagram | undefined): number {
    const { facts, engine } = this
    if (facts.icmp === IcmpKind.error) {
      // No error is long enough to be fragmented on the way (RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c)).
      if (datagram) return DropReason.malformed
      return translateOutboundError(engine, facts, view, offset, this.hops, this.now)
    }
    if (facts.protocol === Protocol.none) {
      if (facts.icmp === IcmpKind.none) engine.errors.toInside(protocolUnreachable, view, offset, facts, this.now)
      return DropReason.unsupportedProtocol
    }
    const session = this.session(view)
    if (session < 0) {
      const reason = -session
      if (reason === DropReason.portsExhausted || reason === DropReason.quotaExceeded) {
        engine.errors.toInside(resourcesExhausted, view, offset, facts, this.now)
      } else if (reason === DropReason.noMapping && facts.protocol === Protocol.tcp && engine.config.resetUnknownTcp) {
        engine.errors.resetInside(view, offset, facts, this.now)
      }
      return reason
    }
    const { table, sessions, outside } = engine.mappings
    const mapping = sessions.mapping(session)
    const number = table.outside[mapping]!
    if (datagram) {
      datagram.address.set(outside.words.subarray(number * 4, number * 4 + 4))
      datagram.identification = this.nextIdentification(number)
    }
    const identification = datagram ? datagram.identification : facts.isAtomic ? 0 : this.nextIdentification(number)
    const delta = this.rewriteHeader(view, offset, outside.words, number * 4, identification)
    const port = table.outsidePort[mapping]!
    const { at, end, protocol, version, partialChecksum } = facts
    rewriteTransport(view, at, end, protocol, version, Side.source, port, delta, partialChecksum)
    if (!this.turnsAround) this.known.remember(facts, session, port, number * 4, delta, number)
    return 0
  }

  /** The session of the packet, refreshed and tracked; minus a reason when there is none and may be none. */
  private session(view: DataView): number {
    const { facts, engine, now } = this
    const { mappings } = engine
    const session = this.inside === -1 ? -1 : mappings.findOutbound(this.inside, facts, now)
    if (facts.protocol !== Protocol.tcp) {
      if (session === -1) {
        // An echo reply answers through the mapping that its request came by; it never makes one.
        return facts.icmp === IcmpKind.reply ? -DropReason.noMapping : mappings.open(facts, now)
      }
      mappings.sessions.expireAt(session, now + mappings.ttl(facts.protocol), now)
      return session
    }
    const length = facts.end - facts.at
    if (session === -1) {
      // Port 0 names nobody, and only a SYN may begin (RFC 6146 §3.5.2.2).
      if (facts.sourcePort === 0 || facts.destinationPort === 0) return -DropReason.malformed
      if (!isOpening(tcpFlags(view, facts.at))) return -DropReason.noMapping
      const opened = mappings.open(facts, now)
      if (opened >= 0) openTcpSession(mappings.sessions, opened, outbound, view, facts.at, length)
      return opened
    }
    if (!trackTcpSegment(mappings.sessions, session, outbound, view, facts.at, length, engine.config, now)) {
      engine.counts.outOfWindow++
      if (engine.config.dropOutOfWindow) return -DropReason.filtered
    }
    return session
  }

  private translateFragment(view: DataView, offset: number): number {
    const { facts, engine, now } = this
    const cache = engine.outboundFragments
    const datagram = cache.admit(facts, now)
    if (!datagram) return cache.reason
    if (facts.isLaterFragment) {
      if (datagram.state === 'waiting') {
        return cache.hold(datagram, view, offset, facts.end - offset) ? TAKEN : DropReason.fragmentLimit
      }
      this.rewriteHeader(view, offset, datagram.address, 0, datagram.identification)
      cache.finish(datagram)
      return 0
    }
    const result = this.translateWhole(view, offset, datagram)
    if (result !== 0) {
      cache.refuse(datagram)
      return result
    }
    datagram.state = 'open'
    this.releaseHeld(datagram)
    cache.finish(datagram)
    return 0
  }

  /** Sends the fragments that were early. They follow the first one, which is still in its slot. */
  private releaseHeld(datagram: FragmentedDatagram): void {
    const held = this.engine.outboundFragments.release(datagram)
    if (held.length === 0) return
    for (const bytes of held) {
      const view = new DataView(bytes.buffer)
      this.facts.readHeaders(view, 0, bytes.length)
      this.rewriteHeader(view, 0, datagram.address, 0, datagram.identification)
      this.engine.counts.outbound++
      if (!this.turnsAround) this.engine.outputs.push({ type: 'packet', direction: 'outbound', bytes })
      else this.turn(view, 0)
    }
  }

  /** Turns a translated packet around to the client behind its destination (hairpinning, RFC 4787 §6). */
  private turn(view: DataView, offset: number): number {
    const { engine, facts } = this
    const { batch, slot, segments } = facts
    const length = facts.end - offset
    const result = this.inbound.translateHairpin(facts, view, offset, this.now)
    if (result !== 0) {
      if (result > 0) engine.counts.drops[result] = engine.counts.drops[result]! + segments
      return TAKEN
    }
    engine.counts.hairpinned += segments
    // Outputs are packets as they are on a wire.
    const packets = batch
      ? cutPackets(batch, slot)
      : [new Uint8Array(view.buffer, view.byteOffset + offset, length).slice()]
    for (const bytes of packets) engine.outputs.push({ type: 'packet', direction: 'inbound', bytes })
    return TAKEN
  }

  private rewriteHeader(view: DataView, offset: number, words: Int32Array, at: number, identification: number): number {
    const { facts, hops } = this
    if (facts.version === 4) {
      return rewriteIpv4(view, offset, Side.source, words[at + 3]!, identification & 0xffff, hops)
    }
    clearFlowLabel(view, offset)
    if (facts.fragmentHeader !== -1) {
      // An atomic fragment belongs to no other (RFC 6946), so any identification will do.
      const value = facts.isFragment ? identification : this.engine.config.random.uint32()
      view.setInt32(facts.fragmentHeader + 4, value)
    }
    return rewriteIpv6(view, offset, Side.source, words, at, hops)
  }

  private nextIdentification(outside: number): number {
    const { facts } = this
    const { destinationB: b, destinationC: c, destinationD: d } = facts
    return this.engine.identifications.next(outside, facts.ipProtocol, b, c, d, facts.segments)
  }
}
