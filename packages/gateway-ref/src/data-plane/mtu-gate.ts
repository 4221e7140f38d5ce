import { TokenBucket } from '@twinbore/core'
import {
  buildIcmpErrorAbout,
  cutPackets,
  DropReason,
  fragmentIpv4,
  IcmpType,
  Icmpv6Type,
  ipVersion,
  ipv4DontFragment,
  PacketBatch,
  type PacketBatchOptions,
  superPacketHeaderBytes,
  UnreachableCode,
  Verdict,
} from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { SessionTable } from './session-table.ts'

export interface MtuGateOptions {
  readonly sessions: SessionTable
  /** Who reports ICMP errors: 4 or 16 bytes. Without one of a family its packets are dropped silently. */
  readonly sourceOf: (family: 4 | 6) => Uint8Array | undefined
  /** Takes fragments, whose owners are sessions, as soon as a batch is full or done. */
  readonly sendFragments: (batch: PacketBatch, now: Milliseconds) => void
  /** Takes an ICMP error that is addressed to the sender of the packet. */
  readonly sendError: (error: Uint8Array, now: Milliseconds) => void
  readonly batch?: PacketBatchOptions
}

/** ICMP errors of one session: so many a second, and in a burst (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)). */
const ERRORS_PER_SECOND = 20
const ERRORS_BURST = 40

/**
 * The narrow end of a tunnel, where a packet may be longer than the MTU of its session:
 *
 *     IPv4 that may be fragmented   its fragments go on (RFC 791 §3.2)
 *     "don't fragment", IPv6        dropped; the sender learns what fits (RFC 1191 §4, RFC 4443 §3.2)
 *
 * Of a super-packet the packets count that it is cut into.
 */
export class MtuGate {
  /** Fragments on their way. Drops of whoever sends them are counted here. */
  readonly fragments: PacketBatch
  private readonly options: MtuGateOptions
  private readonly errorBuckets: (TokenBucket | undefined)[] = []

  constructor(options: MtuGateOptions) {
    this.options = options
    this.fragments = new PacketBatch(options.batch)
  }

  /** Stage: expects well-formed packets whose owners are sessions; what it leaves `forward` fits. */
  check(batch: PacketBatch, now: Milliseconds): void {
    const { mtus } = this.options.sessions
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const mtu = mtus[batch.owners[slot]!]!
      if (batch.lengths[slot]! > mtu && longestPacket(batch, slot) > mtu) this.handleTooBig(batch, slot, mtu, now)
    }
  }

  private handleTooBig(batch: PacketBatch, slot: number, mtu: number, now: Milliseconds): void {
    const { view } = batch
    const offset = batch.offsets[slot]!
    const v4 = ipVersion(view, offset) === 4
    if (v4 && !ipv4DontFragment(view, offset)) this.split(batch, slot, mtu, now)
    else this.refuse(batch, slot, mtu, v4, now)
  }

  private split(batch: PacketBatch, slot: number, mtu: number, now: Milliseconds): void {
    const { fragments } = this
    const session = batch.owners[slot]!
    fragments.reset()
    for (const packet of cutPackets(batch, slot)) {
      const pieces = fragmentIpv4(new DataView(packet.buffer), 0, packet.length, mtu)
      // All packets of a slot have the same header: none can be split, or all.
      if (!pieces) {
        batch.drop(slot, DropReason.tooBig)
        return
      }
      for (const piece of pieces) {
        fragments.push(piece, session)
        if (fragments.full) this.flush(now)
      }
    }
    this.flush(now)
    batch.divert(slot)
  }

  private flush(now: Milliseconds): void {
    if (this.fragments.count > 0) this.options.sendFragments(this.fragments, now)
    this.fragments.reset()
  }

  private refuse(batch: PacketBatch, slot: number, mtu: number, v4: boolean, now: Milliseconds): void {
    batch.drop(slot, DropReason.tooBig)
    const source = this.options.sourceOf(v4 ? 4 : 6)
    if (!source || !this.mayReport(batch.owners[slot]!, now)) return
    const error = buildIcmpErrorAbout(batch, slot, {
      type: v4 ? IcmpType.destinationUnreachable : Icmpv6Type.packetTooBig,
      code: v4 ? UnreachableCode.fragmentationNeeded : 0,
      source,
      mtu,
    })
    if (error) this.options.sendError(error, now)
  }

  private mayReport(session: number, now: Milliseconds): boolean {
    let bucket = this.errorBuckets[session]
    if (!bucket) {
      bucket = new TokenBucket(ERRORS_PER_SECOND, ERRORS_BURST, now)
      this.errorBuckets[session] = bucket
    }
    return bucket.take(now)
  }
}

/** The length of the longest packet that a slot stands for. */
function longestPacket(batch: PacketBatch, slot: number): number {
  if (batch.segments[slot] === 1) return batch.lengths[slot]!
  return superPacketHeaderBytes(batch, slot) + batch.segmentBytes[slot]!
}
