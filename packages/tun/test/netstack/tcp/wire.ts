// One connection and a peer made by hand: segments in as fields, segments out as fields, numbers relative to both
// initial sequence numbers, so that the SYN has 0 and the first byte 1.
import { IpAddress } from '@twinbore/core/address'
import { checkPacket, locateTransport, PacketBatch, TcpFlag, transportOffset } from '@twinbore/core/packet'
import { tcpPacket } from '@twinbore/core/testing'
import { MemoryBudget } from '../../../src/netstack/tcp/memory-budget.ts'
import { TcpSegment } from '../../../src/netstack/tcp/segment.ts'
import { type TcpOptions, tcpConfig } from '../../../src/netstack/tcp/tcp-config.ts'
import { TcpConnection } from '../../../src/netstack/tcp/tcp-connection.ts'
import type { TcpOutput } from '../../../src/netstack/tcp/tcp-events.ts'
import {
  writeMss,
  writeSack,
  writeSackPermitted,
  writeTimestamps,
  writeWindowScale,
} from '../../../src/netstack/tcp/tcp-options.ts'

export interface Incoming {
  /** Names as in `describe`: 'S', 'SA', 'A', 'PA', 'FA', 'R', 'RA'. @defaultValue 'A' */
  readonly flags?: string
  readonly seq?: number
  readonly ack?: number
  /** As it stands in the field. @defaultValue 65535 */
  readonly window?: number
  /** Length of the payload; its bytes follow `byteAt`. */
  readonly length?: number
  readonly payload?: Uint8Array
  readonly mss?: number
  readonly scale?: number
  readonly sackPermitted?: boolean
  readonly timestamps?: readonly [value: number, echo: number]
  readonly sack?: readonly (readonly [number, number])[]
  /** Options as bytes, in place of those above. */
  readonly rawOptions?: Uint8Array
}

export interface Outgoing {
  readonly flags: string
  readonly seq: number
  /** -1 without ACK. */
  readonly ack: number
  readonly window: number
  readonly length: number
  readonly payload: Uint8Array
  readonly mss: number
  readonly scale: number
  readonly sackPermitted: boolean
  readonly timestamps: readonly [number, number] | undefined
  readonly sack: readonly (readonly [number, number])[]
  readonly packetBytes: number
}

const letters: readonly (readonly [string, number])[] = [
  ['S', TcpFlag.syn],
  ['F', TcpFlag.fin],
  ['R', TcpFlag.rst],
  ['P', TcpFlag.psh],
  ['A', TcpFlag.ack],
  ['U', TcpFlag.urg],
]

export const ourInitial = 0xffff_ff00
export const peerInitial = 0x7fff_ff00

const addresses4 = [IpAddress.of('10.0.0.2'), IpAddress.of('192.0.2.1')] as const
const addresses6 = [IpAddress.of('fd00::2'), IpAddress.of('2001:db8::1')] as const
const arriving = new PacketBatch({ capacity: 1, slotBytes: 2048 })
const leaving = new PacketBatch({ capacity: 64, slotBytes: 2048 })

/** The byte that both streams have at a position. */
export function byteAt(position: number): number {
  return (position * 7 + (position >>> 8)) & 0xff
}

export function streamBytes(position: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => byteAt(position + i))
}

export interface WireOptions extends Partial<Omit<TcpOptions, 'initialSequences'>> {
  readonly mtu?: number
  readonly v6?: boolean
  readonly memory?: MemoryBudget
  /** How long the peer takes to answer in `establishedWire`. @defaultValue 0 */
  readonly roundTripMs?: number
}

export class Wire {
  now = 10_000
  readonly connection: TcpConnection
  readonly memory: MemoryBudget
  private readonly v6: boolean
  private readonly batch = leaving
  private readonly segment = new TcpSegment()
  private readonly lookAt = new TcpSegment()

  /** With `syn`, the peer opens with it; without, we do. Nothing is confirmed yet. */
  constructor(options: WireOptions = {}, syn?: Incoming) {
    const { mtu = 1500, v6 = false, memory = new MemoryBudget(2 ** 26), roundTripMs: _, ...rest } = options
    this.v6 = v6
    this.memory = memory
    const config = tcpConfig({
      ...rest,
      initialSequences: { sequenceNumber: () => ourInitial, timestampOffset: () => 0 },
    })
    const path = { mtu, memory }
    if (syn) {
      this.read(this.packet({ flags: 'S', seq: 0, ...syn }))
      this.connection = TcpConnection.accept(config, path, this.segment, this.now)
    } else {
      const [peer, us] = this.addresses
      const local = { address: us.bytes, port: 443 }
      this.connection = TcpConnection.open(config, path, local, { address: peer.bytes, port: 5000 }, this.now)
    }
  }

  /** The peer's and ours. */
  private get addresses(): readonly [IpAddress, IpAddress] {
    return this.v6 ? addresses6 : addresses4
  }

  /** The bytes of a segment of the peer. */
  packet(fields: Incoming): Uint8Array {
    const { seq = 1, ack = 1, window = 65_535, length = 0 } = fields
    const flags = letters.reduce((sum, [letter, bit]) => sum + ((fields.flags ?? 'A').includes(letter) ? bit : 0), 0)
    return tcpPacket({
      source: this.addresses[0],
      destination: this.addresses[1],
      sourcePort: 5000,
      destinationPort: 443,
      flags,
      sequenceNumber: (seq + peerInitial) >>> 0,
      acknowledgmentNumber: flags & TcpFlag.ack ? (ack + ourInitial) >>> 0 : 0,
      window,
      tcpOptions: fields.rawOptions ?? optionsOf(fields),
      payload: fields.payload ?? streamBytes(seq, length),
    })
  }

  private read(packet: Uint8Array): number {
    const batch = arriving
    batch.reset()
    const slot = batch.push(packet)
    const offset = batch.offsets[slot]!
    const location = locateTransport(batch.view, offset, packet.length)
    return this.segment.read(batch.bytes, batch.view, offset, packet.length, transportOffset(location))
  }

  /** Hands segments to the connection as one batch. */
  receive(...segments: Incoming[]): void {
    for (const fields of segments) {
      if (this.read(this.packet(fields)) !== 0) throw new Error('the checksum of a test segment is wrong')
      this.connection.handleSegment(this.segment, this.now)
    }
    this.connection.handleBatchEnd(this.now)
  }

  /** Whether a SYN begins a new connection in place of this one. */
  isReplacedBy(fields: Incoming): boolean {
    this.read(this.packet(fields))
    return this.connection.isReplacedBy(this.segment, this.now)
  }

  /** Takes what the connection sends now. */
  sent(): Outgoing[] {
    const result: Outgoing[] = []
    while (this.connection.wantsToSend) {
      this.batch.reset()
      if (this.connection.emit(this.batch, this.now) === 0) throw new Error('wants to send and does not')
      for (let slot = 0; slot < this.batch.count; slot++) result.push(this.describe(slot))
    }
    return result
  }

  /** Segments in short: `SA 0 1`, `A 1+100 1`. */
  sentText(): string[] {
    return this.sent().map(({ flags, seq, ack, length }) => `${flags} ${seq}${length ? `+${length}` : ''} ${ack}`)
  }

  outputs(): TcpOutput['type'][] {
    const result: TcpOutput['type'][] = []
    for (let output = this.connection.poll(); output; output = this.connection.poll()) result.push(output.type)
    return result
  }

  /** Time passes; what is due on the way happens. Returns what was sent, each with when. */
  advance(ms: number): (Outgoing & { at: number })[] {
    const end = this.now + ms
    const result: (Outgoing & { at: number })[] = []
    for (;;) {
      for (const segment of this.sent()) result.push({ ...segment, at: this.now })
      const { deadline } = this.connection
      if (deadline === undefined || deadline > end) break
      this.now = Math.max(this.now, deadline)
      this.connection.handleDeadline(this.now)
    }
    this.now = end
    return result
  }

  private describe(slot: number): Outgoing {
    const { batch, lookAt } = this
    const offset = batch.offsets[slot]!
    const length = batch.lengths[slot]!
    if (checkPacket(batch.view, offset, length) !== 0) throw new Error('the connection sent a malformed packet')
    const location = locateTransport(batch.view, offset, length)
    if (lookAt.read(batch.bytes, batch.view, offset, length, transportOffset(location)) !== 0)
      throw new Error('the connection sent a wrong checksum')
    const { options } = lookAt
    const relative = (number: number, initial: number): number => (number - initial) | 0
    const hasAck = lookAt.has(TcpFlag.ack)
    return {
      flags: letters.map(([letter, bit]) => (lookAt.has(bit) ? letter : '')).join(''),
      seq: relative(lookAt.sequenceNumber, ourInitial),
      ack: hasAck ? relative(lookAt.acknowledgmentNumber, peerInitial) : -1,
      window: lookAt.window,
      length: lookAt.payloadLength,
      payload: batch.bytes.slice(lookAt.payloadOffset, lookAt.payloadOffset + lookAt.payloadLength),
      mss: options.mss,
      scale: options.windowScale,
      sackPermitted: options.sackPermitted,
      timestamps: options.hasTimestamps ? [options.timestampValue, options.timestampEcho] : undefined,
      sack: Array.from({ length: options.sackCount }, (_, i) => [
        relative(options.sackEdges[2 * i]!, peerInitial),
        relative(options.sackEdges[2 * i + 1]!, peerInitial),
      ]),
      packetBytes: length,
    }
  }
}

/** An accepted connection after its handshake; all that was sent is taken. */
export function establishedWire(options: WireOptions = {}, syn: Incoming = {}, ack: Incoming = {}): Wire {
  const wire = new Wire(options, { mss: 1460, sackPermitted: true, scale: 0, ...syn })
  wire.connection.confirm(wire.now)
  wire.sent()
  const sentAt = wire.now
  wire.now += options.roundTripMs ?? 0
  wire.receive({ ...(syn.timestamps ? { timestamps: [syn.timestamps[0], sentAt] } : {}), ...ack })
  wire.outputs()
  wire.sent()
  return wire
}

function optionsOf(fields: Incoming): Uint8Array {
  const bytes = new Uint8Array(64)
  const view = new DataView(bytes.buffer)
  let at = 0
  if (fields.mss !== undefined) at = writeMss(view, at, fields.mss)
  if (fields.sackPermitted) at = writeSackPermitted(view, at)
  if (fields.scale !== undefined) at = writeWindowScale(view, at, fields.scale)
  if (fields.timestamps) at = writeTimestamps(view, at, fields.timestamps[0], fields.timestamps[1])
  if (fields.sack) {
    const edges = Uint32Array.from(fields.sack.flat(), edge => (edge + ourInitial) >>> 0)
    at = writeSack(view, at, edges, fields.sack.length)
  }
  return bytes.subarray(0, at)
}
