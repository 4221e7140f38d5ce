import {
  ICMP_HEADER_BYTES,
  IcmpField,
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  icmpIdentifier,
  icmpSequenceNumber,
} from '@twinbore/core/packet'
import { isV4, textOfWords, wordsOfText } from '../address-words.ts'
import type { EchoMessage, RefuseReason } from '../outputs.ts'
import type { PacketHead } from '../packet-head.ts'
import type { Source } from '../source.ts'
import type { StackContext } from '../stack-context.ts'
import { complaintOf } from './complaints.ts'

/** The longest payload that one IP packet can carry, for both families. */
const maxPayload = 65_535 - 20 - ICMP_HEADER_BYTES

/** Echo requests and replies (RFC 792, RFC 4443 §4). Nothing is remembered of a request. */
export class Echo {
  private readonly context: StackContext

  constructor(context: StackContext) {
    this.context = context
  }

  /** A request that is for the stack itself is answered, another one surfaced. False when there were too many. */
  handleRequest(head: PacketHead, source: Source, now: number): boolean {
    const { context } = this
    if (!source.echoes.take(now)) {
      context.counters.echoRequestsSuppressed++
      return false
    }
    const message = echoMessage(head, head.source, head.destination)
    if (context.isOwn(head.destination)) this.reply(source, message, head.destination, head.source)
    else context.outputs.push({ type: 'echo-requested', ...message })
    return true
  }

  /** A reply for an own address. */
  handleReply(head: PacketHead, source: Source, now: number): boolean {
    if (!source.echoes.take(now)) return false
    this.context.outputs.push({ type: 'echo-replied', ...echoMessage(head, head.destination, head.source) })
    return true
  }

  /** Sends a reply from the destination of a request to its source, or the request itself. */
  send(message: EchoMessage, isReply: boolean): void {
    if (message.payload.length > maxPayload) throw new RangeError('payload must fit an IP packet')
    const source = wordsOfText(message.source, 'source')
    const destination = wordsOfText(message.destination, 'destination')
    if (isV4(source) !== isV4(destination)) throw new RangeError('source and destination must be of one family')
    // The sender of the request is inside in both modes.
    const inside = this.context.sources.find(source)
    if (!inside) return
    if (isReply) this.reply(inside, message, destination, source)
    else this.transmit(inside, message, false, source, destination)
  }

  /** Says that a request didn't reach its destination. The request is built again, as far as an error needs it. */
  refuse(message: EchoMessage, reason: RefuseReason, now: number): void {
    const complaint = complaintOf[reason]
    const source = wordsOfText(message.source, 'source')
    const destination = wordsOfText(message.destination, 'destination')
    const inside = this.context.sources.find(source)
    if (!complaint || !inside) return
    const protocol = isV4(destination) ? IpProtocol.icmp : IpProtocol.icmpv6
    const request = echoBytes(message, false, isV4(destination))
    const [packet] = this.context.writer.packets(source, destination, protocol, request, 65_575)
    this.context.errors.complain(inside, complaint, new DataView(packet!.buffer), 0, packet!.length, now)
  }

  private reply(inside: Source, message: EchoMessage, from: Int32Array, to: Int32Array): void {
    this.transmit(inside, message, true, from, to)
  }

  private transmit(inside: Source, message: EchoMessage, isReply: boolean, from: Int32Array, to: Int32Array): void {
    const v4 = isV4(to)
    const protocol = v4 ? IpProtocol.icmp : IpProtocol.icmpv6
    const bytes = echoBytes(message, isReply, v4)
    this.context.errors.answer(inside, this.context.writer.packets(from, to, protocol, bytes, inside.mtu))
  }
}

function echoMessage(head: PacketHead, source: Int32Array, destination: Int32Array): EchoMessage {
  return {
    source: textOfWords(source),
    destination: textOfWords(destination),
    identifier: icmpIdentifier(head.view, head.at),
    sequenceNumber: icmpSequenceNumber(head.view, head.at),
    payload: head.bytes.slice(head.at + ICMP_HEADER_BYTES, head.end),
  }
}

function echoBytes(message: EchoMessage, isReply: boolean, v4: boolean): Uint8Array {
  const bytes = new Uint8Array(ICMP_HEADER_BYTES + message.payload.length)
  const view = new DataView(bytes.buffer)
  const types = v4 ? IcmpType : Icmpv6Type
  view.setUint8(0, isReply ? types.echoReply : types.echoRequest)
  view.setUint16(IcmpField.identifier, message.identifier)
  view.setUint16(IcmpField.sequenceNumber, message.sequenceNumber)
  bytes.set(message.payload, ICMP_HEADER_BYTES)
  return bytes
}
