// The peer of a conversation: makes real packets of steps, and reads answers back into relative numbers.
import {
  locateTransport,
  TcpFlag,
  tcpAcknowledgmentNumber,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  transportOffset,
} from '@twinbore/core/packet'
import { packetView, tcpPacket } from '@twinbore/core/testing'
import type { Conversation, SegmentStep } from './netstack-trace.ts'

/** An answer, relative to both initial sequence numbers. */
export interface Answer {
  /** Such as `A`, `SA`, `RA`, `FA`; PSH is left out. */
  readonly flags: string
  readonly at: number
  readonly ack: number
  readonly length: number
  /** Each block as `left-right`, in the order of the option. */
  readonly sack: readonly string[]
  /** Kinds of the options, for SYN-ACKs. */
  readonly kinds: readonly number[]
  readonly mss: number
  readonly timestamp: number
  readonly echo: number
  readonly payload: Uint8Array
}

export interface Ends {
  readonly peer: string
  readonly host: string
  readonly peerPort: number
  readonly hostPort: number
}

/** The byte at each position of our stream. */
export function streamByte(position: number): number {
  return (position * 31 + (position >>> 8) * 7 + 11) & 0xff
}

const letters: readonly [string, number][] = [
  ['S', TcpFlag.syn],
  ['F', TcpFlag.fin],
  ['R', TcpFlag.rst],
  ['A', TcpFlag.ack],
]

export class ConversationPeer {
  private readonly talk: Conversation
  private readonly ends: Ends
  /** The number of the first byte behind their SYN. */
  private theirFirst = 0
  /** How far they have sent, FIN included. */
  theirNext = 0
  private theirTimestamp = 0
  private timestamps: boolean

  constructor(talk: Conversation, ends: Ends) {
    this.talk = talk
    this.ends = ends
    this.timestamps = talk.syn.timestamps
  }

  syn(timestamp: number): Uint8Array {
    const { mss, windowScale, sack, timestamps } = this.talk.syn
    const options: number[] = []
    if (mss !== undefined) options.push(2, 4, mss >> 8, mss & 255)
    if (sack) options.push(4, 2)
    if (windowScale !== undefined) options.push(3, 3, windowScale)
    if (timestamps) options.push(1, 1, 8, 10, ...word(timestamp), ...word(0))
    return this.packet({ flags: TcpFlag.syn, at: -1, ack: 0, window: 65_535, options, payload: new Uint8Array(0) })
  }

  segment(step: SegmentStep): Uint8Array {
    const options: number[] = step.oddOptions ? [253, 4, 1, 2] : []
    if (this.timestamps) options.push(1, 1, 8, 10, ...word(step.timestamp), ...word(this.theirTimestamp))
    const payload = Uint8Array.from({ length: step.length }, (_, i) => streamByte(step.at + i))
    const packet = this.packet({ ...step, ack: this.theirNext + step.ack, options, payload })
    if (step.badChecksum) packet[packet.length - 1]! ^= 0x55
    return packet
  }

  /** Reads a packet of theirs; `heard` moves what is acknowledged from now on. */
  read(packet: Uint8Array): Answer {
    const view = packetView(packet)
    const at = transportOffset(locateTransport(view, 0, packet.length))
    const flags = tcpFlags(view, at)
    if (flags & TcpFlag.syn) this.theirFirst = (tcpSequenceNumber(view, at) + 1) >>> 0
    const end = at + tcpHeaderLength(view, at)
    const sack: string[] = []
    const kinds: number[] = []
    let mss = -1
    let timestamp = -1
    let echo = -1
    for (let o = at + 20; o < end && view.getUint8(o) !== 0; ) {
      const kind = view.getUint8(o)
      if (kind === 1) {
        o++
        continue
      }
      const length = view.getUint8(o + 1)
      kinds.push(kind)
      if (kind === 2) mss = view.getUint16(o + 2)
      if (kind === 8) [timestamp, echo] = [view.getUint32(o + 2), view.getUint32(o + 6)]
      for (let b = o + 2; kind === 5 && b < o + length; b += 8) {
        sack.push(`${this.ours(view.getUint32(b))}-${this.ours(view.getUint32(b + 4))}`)
      }
      o += length
    }
    const hasAck = (flags & TcpFlag.ack) !== 0
    const relative = (tcpSequenceNumber(view, at) - this.theirFirst) | 0
    const length = packet.length - end
    if (timestamp !== -1) this.theirTimestamp = timestamp
    if (!(flags & TcpFlag.rst)) {
      const next = relative + length + (flags & (TcpFlag.syn | TcpFlag.fin) ? 1 : 0)
      this.theirNext = Math.max(this.theirNext, next)
    }
    return {
      flags: letters.flatMap(([letter, bit]) => (flags & bit ? [letter] : [])).join(''),
      // The number of a RST without ACK is whatever the segment acknowledged.
      at: relative,
      ack: hasAck ? this.ours(tcpAcknowledgmentNumber(view, at)) : 0,
      length,
      sack,
      kinds: kinds.sort((a, b) => a - b),
      mss,
      timestamp,
      echo,
      payload: packet.subarray(end),
    }
  }

  private ours(number: number): number {
    return (number - this.talk.peerInitial - 1) | 0
  }

  private packet(fields: {
    flags: number
    at: number
    ack: number
    window: number
    options: number[]
    payload: Uint8Array
  }): Uint8Array {
    const { peer, host, peerPort, hostPort } = this.ends
    return tcpPacket({
      source: peer,
      destination: host,
      sourcePort: peerPort,
      destinationPort: hostPort,
      flags: fields.flags,
      sequenceNumber: (this.talk.peerInitial + 1 + fields.at) >>> 0,
      acknowledgmentNumber: fields.flags & TcpFlag.ack ? (this.theirFirst + fields.ack) >>> 0 : 0,
      window: fields.window,
      tcpOptions: Uint8Array.from(fields.options),
      payload: fields.payload,
    })
  }
}

function word(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
}
