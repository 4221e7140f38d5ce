// A translator with packets in and out as plain bytes, a seeded generator and a clock that the test turns.
import {
  checkPacket,
  dropReasonName,
  ipv4Text,
  ipv6Text,
  isFragment,
  locateTransport,
  PacketBatch,
  transportOffset,
  transportProtocol,
  udpDestinationPort,
  udpSourcePort,
  Verdict,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { packetView, type TcpFields, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { type KeptState, type PatOptions, type PatOutput, Translator } from '../src/index.ts'

export const client = '10.8.0.2'
export const neighbour = '10.8.0.3'
export const outside = '203.0.113.7'
export const server = '198.51.100.10'
export const router = '192.0.2.1'
export const client6 = 'fd00:8::2'
export const outside6 = '2001:db8:1::7'
export const server6 = '2001:db8:ff::10'
export const router6 = '2001:db8:ee::1'

/** What became of a packet: its bytes, `'taken'`, or why it was dropped. */
export type Fate = Uint8Array | string

export class Harness {
  readonly translator: Translator
  now: number
  readonly outputs: PatOutput[] = []
  private readonly batch = new PacketBatch({ capacity: 1, slotBytes: 65_600 })

  constructor(options: Partial<PatOptions> = {}, kept?: KeptState) {
    const needed = { random: seededRandom(1), outsideAddresses: [outside, outside6] }
    this.translator = new Translator({ ...needed, ...options }, kept)
    this.now = kept?.now ?? 1_000_000
  }

  out(packet: Uint8Array): Fate {
    return this.translate(packet, 'translateOutbound')
  }

  in(packet: Uint8Array): Fate {
    return this.translate(packet, 'translateInbound')
  }

  /** Like `out`, for packets that must pass. */
  sent(packet: Uint8Array): Uint8Array {
    return passed(this.out(packet))
  }

  received(packet: Uint8Array): Uint8Array {
    return passed(this.in(packet))
  }

  /** Moves time and serves every deadline on the way. */
  advance(ms: number): void {
    const end = this.now + ms
    for (;;) {
      const { deadline } = this.translator
      if (deadline === undefined || deadline > end) break
      this.now = Math.max(this.now, deadline)
      this.translator.handleDeadline(this.now)
      this.drain()
    }
    this.now = end
    this.translator.handleDeadline(end)
    this.drain()
  }

  /** Packets that the translator made, since the last call. */
  packets(direction: 'inbound' | 'outbound'): Uint8Array[] {
    const result: Uint8Array[] = []
    for (let i = 0; i < this.outputs.length; ) {
      const output = this.outputs[i]!
      if (output.type === 'packet' && output.direction === direction) {
        result.push(output.bytes)
        this.outputs.splice(i, 1)
      } else i++
    }
    return result
  }

  private translate(packet: Uint8Array, stage: 'translateOutbound' | 'translateInbound'): Fate {
    const { batch } = this
    batch.reset()
    batch.drops.fill(0)
    batch.push(packet, 42)
    this.translator[stage](batch, this.now)
    this.drain()
    if (batch.owners[0] !== 42) throw new Error('owners must be left alone')
    if (batch.verdicts[0] === Verdict.divert) return 'taken'
    if (batch.verdicts[0] === Verdict.forward) return batch.packet(0).slice()
    return dropReasonName(batch.drops.findIndex(count => count > 0))
  }

  private drain(): void {
    for (let output = this.translator.poll(); output; output = this.translator.poll()) this.outputs.push(output)
  }
}

function passed(fate: Fate): Uint8Array {
  if (typeof fate === 'string') throw new Error(`not forwarded: ${fate}`)
  return fate
}

/** Whether bytes occur anywhere in a packet. */
export function contains(packet: Uint8Array, needle: Uint8Array): boolean {
  return Buffer.from(packet).indexOf(needle) !== -1
}

/** Where the transport header begins. */
export function transportAt(packet: Uint8Array): number {
  return transportOffset(locateTransport(packetView(packet), 0, packet.length))
}

/** Whether a packet passes the door and its transport checksum is right (of an unfragmented one). */
export function isWellFormed(packet: Uint8Array): boolean {
  const view = packetView(packet)
  if (checkPacket(view, 0, packet.length) !== 0) return false
  const location = locateTransport(view, 0, packet.length)
  if (isFragment(location)) return true
  const at = transportOffset(location)
  return verifyTransportChecksum(view, 0, at, packet.length - at, transportProtocol(location))
}

export function sourceOf(packet: Uint8Array): string {
  return packet[0]! >>> 4 === 4 ? ipv4Text(packet, 12) : ipv6Text(packet, 8)
}

export function destinationOf(packet: Uint8Array): string {
  return packet[0]! >>> 4 === 4 ? ipv4Text(packet, 16) : ipv6Text(packet, 24)
}

/** Source port of TCP and UDP. */
export function sourcePortOf(packet: Uint8Array): number {
  return udpSourcePort(packetView(packet), transportAt(packet))
}

export function destinationPortOf(packet: Uint8Array): number {
  return udpDestinationPort(packetView(packet), transportAt(packet))
}

/** Echo identifier. */
export function identifierOf(packet: Uint8Array): number {
  return packetView(packet).getUint16(transportAt(packet) + 4)
}

/**
 * A packet without what a translator may change for good: TTL or hop limit, IPv4 identification and header checksum,
 * flow label.
 */
export function essence(packet: Uint8Array): string {
  const copy = packet.slice()
  const view = packetView(copy)
  if (copy[0]! >>> 4 === 4) {
    copy[8] = 0
    view.setUint16(4, 0)
    view.setUint16(10, 0)
  } else {
    copy[7] = 0
    view.setUint32(0, view.getUint32(0) & 0xfff00000)
  }
  return Buffer.from(copy).toString('hex')
}

export interface Flow {
  source?: string
  destination?: string
  sourcePort?: number
  destinationPort?: number
}

const flowDefaults = { source: client, destination: server, sourcePort: 5000, destinationPort: 80 }

export function udp(flow: Flow = {}, payload: Uint8Array = new Uint8Array(4)): Uint8Array {
  return udpPacket({ ...flowDefaults, ...flow, payload })
}

export function tcp(flow: Flow & Partial<TcpFields> = {}): Uint8Array {
  return tcpPacket({ ...flowDefaults, ...flow })
}

/** A UDP answer to a packet that left. */
export function udpAnswer(packet: Uint8Array, flow: Flow = {}): Uint8Array {
  return udp({
    source: destinationOf(packet),
    destination: sourceOf(packet),
    sourcePort: destinationPortOf(packet),
    destinationPort: sourcePortOf(packet),
    ...flow,
  })
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
