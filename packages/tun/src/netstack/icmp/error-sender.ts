import {
  buildIcmpError,
  IcmpType,
  Icmpv6Type,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  ipVersion,
  mayAnswerWithIcmpError,
  PacketBatch,
} from '@twinbore/core/packet'
import type { NetStackCounters } from '../counters.ts'
import type { DrainSchedule } from '../drain-schedule.ts'
import type { NetStackConfig } from '../options.ts'
import type { Source } from '../source.ts'
import { TokenBucket } from '../table/token-bucket.ts'
import { writeResetFor } from '../tcp/reset.ts'
import type { TcpSegment } from '../tcp/segment.ts'
import type { Complaint } from './complaints.ts'

/**
 * Resets and ICMP errors, few of them (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)): a bucket for each receiver and one for all,
 * and a bounded queue for each receiver. Never about packets that mustn't be answered.
 */
export class ErrorSender {
  private readonly config: NetStackConfig
  private readonly counters: NetStackCounters
  private readonly schedule: DrainSchedule
  private readonly all: TokenBucket
  private readonly own4: Uint8Array | undefined
  private readonly own6: Uint8Array | undefined
  /** Room for one reset. */
  private readonly scratch: PacketBatch = new PacketBatch({ capacity: 1, slotBytes: 128, headroom: 0, tailroom: 0 })

  constructor(config: NetStackConfig, counters: NetStackCounters, schedule: DrainSchedule) {
    this.config = config
    this.counters = counters
    this.schedule = schedule
    this.all = new TokenBucket(config.limits.errorsPerSecond)
    this.own4 = config.ownAddresses.find(address => address.length === 4)
    this.own6 = config.ownAddresses.find(address => address.length === 16)
  }

  /** Queues packets for a source. False when its queue is full; then none of them is sent. */
  answer(source: Source, packets: readonly Uint8Array[]): boolean {
    if (source.isGone || source.answers.length + packets.length > this.config.limits.maxAnswersPerSource) {
      this.counters.answersDropped++
      return false
    }
    source.answers.push(...packets)
    this.schedule.addSource(source)
    return true
  }

  /** Complains about a packet that passed `checkPacket`, whole or its beginning, to its sender. */
  complain(
    source: Source,
    complaint: Complaint,
    view: DataView,
    offset: number,
    length: number,
    now: number,
    pointer?: number,
  ): void {
    const v4 = ipVersion(view, offset) === 4
    const from = this.reporter(complaint, view, offset, v4)
    if (!from) return
    const about = {
      type: v4 ? complaint.type4 : complaint.type6,
      code: v4 ? complaint.code4 : complaint.code6,
      source: from,
      ...(pointer === undefined ? {} : { pointer }),
    }
    if (!mayAnswerWithIcmpError(view, offset, length, about) || !this.allows(source, now)) return
    const packet = buildIcmpError(view, offset, length, about)
    if (packet && this.answer(source, [packet])) this.counters.errorsSent++
  }

  /** Answers a segment of no connection (RFC 9293 §3.5.2). */
  reset(source: Source, segment: TcpSegment, now: number): void {
    this.scratch.reset()
    if (!writeResetFor(this.scratch, segment) || !this.allows(source, now)) return
    if (this.answer(source, [this.scratch.packet(0).slice()])) this.counters.resetsSent++
  }

  private allows(source: Source, now: number): boolean {
    if (source.errors.take(now) && this.all.take(now)) return true
    this.counters.errorsSuppressed++
    return false
  }

  /** Whose name is on the error: the destination's, or the stack's own, which it may not have. */
  private reporter(complaint: Complaint, view: DataView, offset: number, v4: boolean): Uint8Array | undefined {
    const own = v4 ? this.own4 : this.own6
    // In client mode a packet that came this far was sent to an own address.
    if (own && !complaint.isByDestination && this.config.acceptAnyDestination) return own
    const isByRouter =
      complaint.type4 === IcmpType.timeExceeded && complaint.code4 === 0 && this.config.acceptAnyDestination
    if (isByRouter) return undefined
    const at = offset + (v4 ? Ipv4Field.destination : Ipv6Field.destination)
    return new Uint8Array(view.buffer, view.byteOffset + at, v4 ? 4 : 16).slice()
  }
}

/** Where the next-header field stands that names the protocol at `transport`, counted from the start of an IPv6 packet. */
export function lastNextHeader(view: DataView, offset: number, transport: number): number {
  let field: number = Ipv6Field.nextHeader
  for (let at = offset + IPV6_HEADER_BYTES; at < transport; ) {
    const isFragmentHeader = view.getUint8(offset + field) === IpProtocol.fragment
    field = at - offset
    at += isFragmentHeader ? 8 : (view.getUint8(at + 1) + 1) << 3
  }
  return field
}

/** The complaint's type of a family tells which parameter problem it is: only that one has a pointer. */
export function wantsPointer(complaint: Complaint, v4: boolean): boolean {
  return !v4 && complaint.type6 === Icmpv6Type.parameterProblem
}
