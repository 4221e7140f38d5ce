import {
  buildIcmpError,
  buildIcmpErrorAbout,
  IcmpType,
  Icmpv6Type,
  type KeyedHash,
  mayAnswerWithIcmpError,
  UnreachableCode,
  Unreachablev6Code,
} from '@twinbore/core/packet'
import { type AddressWords, addressBytes } from './address.ts'
import type { PatConfig } from './options.ts'
import type { Outputs } from './outputs.ts'
import type { PacketFacts } from './packet-facts.ts'
import { buildReset } from './tcp-reset.ts'
import { TokenBuckets } from './token-buckets.ts'

/** What the translator says about a packet that it can't forward, for both families. */
export interface Complaint {
  readonly type4: number
  readonly code4: number
  readonly type6: number
  readonly code6: number
}

/** 11/0 and 3/0. */
export const hopLimitExceeded: Complaint = {
  type4: IcmpType.timeExceeded,
  code4: 0,
  type6: Icmpv6Type.timeExceeded,
  code6: 0,
}
/** 3/1 and 1/3, a soft error that a TCP connection survives (RFC 6888 REQ-11, not the 3/13 of RFC 5508 REQ-8). */
export const resourcesExhausted: Complaint = {
  type4: IcmpType.destinationUnreachable,
  code4: UnreachableCode.host,
  type6: Icmpv6Type.destinationUnreachable,
  code6: Unreachablev6Code.address,
}
/** 3/2 and 4/1. */
export const protocolUnreachable: Complaint = {
  type4: IcmpType.destinationUnreachable,
  code4: UnreachableCode.protocol,
  type6: Icmpv6Type.parameterProblem,
  code6: 1,
}
/** 3/13 and 1/1. */
export const prohibited: Complaint = {
  type4: IcmpType.destinationUnreachable,
  code4: UnreachableCode.communicationProhibited,
  type6: Icmpv6Type.destinationUnreachable,
  code6: Unreachablev6Code.communicationProhibited,
}

const receiverBuckets = 1024

/** Makes ICMP errors, few of them (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)): a bucket for all and one per receiver. */
export class IcmpErrors {
  sent = 0
  suppressed = 0
  private readonly all: TokenBuckets
  /** By hash of the receiver, so that no number of receivers costs memory. */
  private readonly perReceiver: TokenBuckets
  private readonly gateway4: Uint8Array | undefined
  private readonly gateway6: Uint8Array | undefined
  private readonly hash: KeyedHash
  private readonly outputs: Outputs

  constructor(config: PatConfig, hash: KeyedHash, outputs: Outputs) {
    this.hash = hash
    this.outputs = outputs
    this.all = new TokenBuckets(1, config.icmpErrorsPerSecond, Math.max(1, config.icmpErrorsPerSecond))
    const each = config.icmpErrorsPerSecondPerReceiver
    this.perReceiver = new TokenBuckets(receiverBuckets, each, Math.max(1, each))
    this.gateway4 = config.gateway4 && addressBytes(config.gateway4)
    this.gateway6 = config.gateway6 && addressBytes(config.gateway6)
  }

  get memoryBytes(): number {
    return this.all.memoryBytes + this.perReceiver.memoryBytes
  }

  /** Complains to the inside source of a packet that wasn't changed yet. */
  toInside(complaint: Complaint, view: DataView, offset: number, facts: PacketFacts, now: number): void {
    const source = facts.version === 4 ? this.gateway4 : this.gateway6
    if (source) this.send('inbound', source, complaint, view, offset, facts, now)
  }

  /** Complains to the outside source, in the name of the outside address that the packet came to. */
  toOutside(
    complaint: Complaint,
    outsideWords: AddressWords,
    outside: number,
    view: DataView,
    offset: number,
    facts: PacketFacts,
    now: number,
  ): void {
    this.send('outbound', addressBytes(outsideWords, outside * 4), complaint, view, offset, facts, now)
  }

  /** Answers a segment that belongs to no session. */
  resetInside(view: DataView, offset: number, facts: PacketFacts, now: number): void {
    const bytes = buildReset(view, offset, facts)
    if (!bytes || !this.allows(facts, now)) return
    this.sent++
    this.outputs.push({ type: 'packet', direction: 'inbound', bytes })
  }

  private send(
    direction: 'inbound' | 'outbound',
    source: Uint8Array,
    complaint: Complaint,
    view: DataView,
    offset: number,
    facts: PacketFacts,
    now: number,
  ): void {
    const v4 = facts.version === 4
    const about = {
      type: v4 ? complaint.type4 : complaint.type6,
      code: v4 ? complaint.code4 : complaint.code6,
      source,
      // Only the unknown next header has a place to point at (RFC 4443 §3.4).
      ...(complaint === protocolUnreachable && !v4 ? { pointer: lastNextHeader(view, offset, facts) } : {}),
    }
    const length = facts.end - offset
    if (!mayAnswerWithIcmpError(view, offset, length, about) || !this.allows(facts, now)) return
    const { batch, slot } = facts
    const bytes = batch ? buildIcmpErrorAbout(batch, slot, about) : buildIcmpError(view, offset, length, about)
    if (!bytes) return
    this.sent++
    this.outputs.push({ type: 'packet', direction, bytes })
  }

  /** Takes a token for the source of a packet, and one for all; false when either is lacking. */
  private allows(facts: PacketFacts, now: number): boolean {
    const { sourceA, sourceB, sourceC, sourceD } = facts
    const receiver = this.hash.words4(sourceA, sourceB, sourceC, sourceD) & (receiverBuckets - 1)
    if (this.perReceiver.take(receiver, now) && this.all.take(0, now)) return true
    this.suppressed++
    return false
  }
}

/** Where the next-header field stands that names the transport protocol, counted from the start of the packet. */
function lastNextHeader(view: DataView, offset: number, facts: PacketFacts): number {
  let field = 6
  for (let at = offset + 40; at < facts.at; ) {
    const isFragmentHeader = view.getUint8(offset + field) === 44
    field = at - offset
    at += isFragmentHeader ? 8 : (view.getUint8(at + 1) + 1) << 3
  }
  return field
}
