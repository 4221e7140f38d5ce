import { checkSlot, DropReason, dropReasonName, type PacketBatch, packetLength, Verdict } from '@twinbore/core/packet'
import { type AddressInput, addressWords } from './address.ts'
import { createEngine, type Engine } from './engine.ts'
import type { PatOutput, PatStats, RestoreStats } from './events.ts'
import { type PatConfig, type PatOptions, resolvePatOptions } from './options.ts'
import { Protocol } from './packet-facts.ts'
import { restoreMappings } from './restore-mappings.ts'
import { InboundTranslation } from './translate-inbound.ts'
import { OutboundTranslation } from './translate-outbound.ts'
import { checkTranslatorMemory, type KeptState } from './translator-memory.ts'

/** More than what the processor's nearest cache holds of them. */
const manySessions = 1000

/**
 * Translates between many inside endpoints and few outside addresses: NAPT for TCP, UDP and echo, IPv4 and IPv6, packet by
 * packet and in place.
 *
 * A machine: it owns no clock, no socket and no timer. `now` is monotonic milliseconds; a time before the latest one
 * counts as the latest one. After each input take all outputs with `poll()`, then look at `deadline`.
 *
 * @example
 * const translator = new Translator({ random: systemRandom, outsideAddresses: ['203.0.113.7'] })
 * translator.translateOutbound(batch, now)   // packets of clients; those still `forward` go to the network
 * translator.translateInbound(batch, now)    // packets from the network; those still `forward` go to their clients
 */
export class Translator {
  /** The options in force, defaults filled in. */
  readonly config: PatConfig
  private readonly engine: Engine
  private readonly outbound: OutboundTranslation
  private readonly inbound: InboundTranslation
  private readonly restored: RestoreStats | undefined
  private now = Number.NEGATIVE_INFINITY

  /**
   * @param kept - where a successor finds mappings, sessions and resting ports when this translator is gone, its thread
   * having stopped anywhere; what a predecessor left there is taken over now. Fragments and what `poll()` would have told
   * are not kept. Nothing is told of mappings that are taken over, or refused (`stats().restored`).
   * @throws TypeError | RangeError for wrong options, or memory that is too small for them
   */
  constructor(options: PatOptions, kept?: KeptState) {
    this.config = resolvePatOptions(options)
    if (kept) checkTranslatorMemory(kept.memory, this.config.maxSessions)
    this.engine = createEngine(this.config, kept?.memory)
    if (kept) {
      this.now = kept.now
      this.restored = restoreMappings(this.engine.mappings, this.config, kept.now)
    }
    this.inbound = new InboundTranslation(this.engine)
    this.outbound = new OutboundTranslation(this.engine, this.inbound)
  }

  /**
   * A stage: packets of clients get an outside source. What can't be translated is dropped; early fragments and packets
   * for other clients are diverted and come back as `packet` outputs. `owners` are left alone.
   */
  translateOutbound(batch: PacketBatch, now: number): void {
    this.translate(batch, this.outbound, this.advance(now))
  }

  /**
   * A stage: packets from outside get the inside destination of their mapping. What has none is dropped; early fragments
   * are diverted. Whose packet it is, the destination address tells: `owners` are left alone.
   */
  translateInbound(batch: PacketBatch, now: number): void {
    this.translate(batch, this.inbound, this.advance(now))
  }

  /** When `handleDeadline` wants to be called next: idle sessions have to go, or fragments that were waited for. */
  get deadline(): number | undefined {
    const { mappings, outboundFragments, inboundFragments } = this.engine
    let earliest = mappings.deadline
    for (const deadline of [outboundFragments.deadline, inboundFragments.deadline]) {
      if (deadline !== undefined && (earliest === undefined || deadline < earliest)) earliest = deadline
    }
    return earliest
  }

  /** Ends what is due by `now`. After a long pause it works in slices and leaves a deadline in the past for the next one. */
  handleDeadline(now: number): void {
    const { outboundFragments, inboundFragments } = this.engine
    const time = this.advance(now)
    outboundFragments.expire(time)
    inboundFragments.expire(time)
  }

  /** Takes the next output, or `undefined`. Untaken outputs are bounded: further ones are discarded and counted. */
  poll(): PatOutput | undefined {
    return this.engine.outputs.take()
  }

  /**
   * Forgets every mapping and fragment of an inside address at once, for when its session ends or its lease goes to
   * somebody else. Its ports rest for `portQuarantineMs`. Returns how many mappings went.
   *
   * @throws TypeError when it is no address
   */
  removeInside(address: AddressInput, now: number): number {
    const words = addressWords(address, 'address')
    const time = this.advance(now)
    this.engine.outboundFragments.removeInside(words)
    this.engine.inboundFragments.removeInside(words)
    return this.engine.mappings.removeInside(words[0]!, words[1]!, words[2]!, words[3]!, time)
  }

  stats(): PatStats {
    const { mappings, errors, counts, outputs, outboundFragments, inboundFragments } = this.engine
    const [tcp, udp, icmp] = mappings.live
    const drops: Record<string, number> = {}
    const abandoned = outboundFragments.abandoned + inboundFragments.abandoned
    for (const [reason, dropped] of counts.drops.entries()) {
      const count = reason === DropReason.fragmentLimit ? dropped + abandoned : dropped
      if (count > 0) drops[dropReasonName(reason)] = count
    }
    const resting = (protocol: number) => mappings.outside.resting(protocol, this.now)
    return {
      mappings: { tcp, udp, icmp },
      sessions: mappings.sessions.count,
      insideAddresses: mappings.insides.count,
      quarantinedPorts: { tcp: resting(Protocol.tcp), udp: resting(Protocol.udp), icmp: resting(Protocol.icmp) },
      translated: { outbound: counts.outbound, inbound: counts.inbound },
      drops,
      mappingsCreated: mappings.created,
      mappingsRemoved: mappings.removed,
      icmpErrorsSent: errors.sent,
      icmpErrorsSuppressed: errors.suppressed,
      hairpinRefused: counts.hairpinRefused,
      hairpinned: counts.hairpinned,
      outOfWindowSegments: counts.outOfWindow,
      fragments: {
        datagrams: outboundFragments.count + inboundFragments.count,
        heldBytes: outboundFragments.heldBytes + inboundFragments.heldBytes,
        overlaps: outboundFragments.overlaps + inboundFragments.overlaps,
      },
      outputsDiscarded: outputs.discarded,
      ...(this.restored && { restored: this.restored }),
      memoryBytes:
        mappings.memoryBytes +
        errors.memoryBytes +
        outboundFragments.memoryBytes +
        inboundFragments.memoryBytes +
        this.outbound.memoryBytes +
        this.inbound.memoryBytes,
    }
  }

  /** Moves time on; sessions that are due end before anything else happens. */
  private advance(now: number): number {
    if (now > this.now) this.now = now
    this.engine.mappings.expire(this.now)
    return this.now
  }

  private translate(batch: PacketBatch, direction: OutboundTranslation | InboundTranslation, now: number): void {
    const { verdicts, locations } = batch
    for (let slot = 0; slot < batch.count; slot++) {
      if (verdicts[slot] !== Verdict.forward || locations[slot] !== 0) continue
      const reason = admit(batch, slot)
      if (reason !== 0) this.drop(batch, slot, reason)
    }
    if (this.engine.mappings.sessions.count > manySessions) direction.touch(batch)
    for (let slot = 0; slot < batch.count; slot++) {
      if (verdicts[slot] !== Verdict.forward) continue
      const result = direction.translate(batch, slot, now)
      if (result < 0) batch.divert(slot)
      else if (result > 0) this.drop(batch, slot, result as DropReason)
    }
  }

  private drop(batch: PacketBatch, slot: number, reason: DropReason): void {
    const { drops } = this.engine.counts
    batch.drop(slot, reason)
    drops[reason] = drops[reason]! + batch.segments[slot]!
  }
}

/** Checks a packet that no stage before did. Padding behind it is cut off. */
function admit(batch: PacketBatch, slot: number): 0 | DropReason {
  const available = batch.lengths[slot]!
  const length = packetLength(batch.view, batch.offsets[slot]!, available)
  if (length === -1 || length > available) return DropReason.malformed
  if (batch.next[slot] === -1) batch.lengths[slot] = length
  return checkSlot(batch, slot)
}
