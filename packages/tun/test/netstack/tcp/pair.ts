// Two connections, a seeded link between them, and virtual time.
import { checkPacket, DropReason, locateTransport, PacketBatch, transportOffset } from '@twinbore/core/packet'
import { type LinkConditions, NetworkEmulator } from '@twinbore/core/testing'
import { MemoryBudget } from '../../../src/netstack/tcp/memory-budget.ts'
import { writeResetFor } from '../../../src/netstack/tcp/reset.ts'
import { TcpSegment } from '../../../src/netstack/tcp/segment.ts'
import { type TcpOptions, tcpConfig } from '../../../src/netstack/tcp/tcp-config.ts'
import { TcpConnection } from '../../../src/netstack/tcp/tcp-connection.ts'
import type { FlowEnd, TcpOutput } from '../../../src/netstack/tcp/tcp-events.ts'

export const clientEnd: FlowEnd = { address: Uint8Array.of(10, 0, 0, 2), port: 40_000 }
export const serverEnd: FlowEnd = { address: Uint8Array.of(192, 0, 2, 1), port: 443 }
export const clientEnd6: FlowEnd = { address: Uint8Array.of(0xfd, ...new Array(14).fill(0), 2), port: 40_000 }
export const serverEnd6: FlowEnd = {
  address: Uint8Array.of(0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 1),
  port: 443,
}

export type Options = Partial<Omit<TcpOptions, 'initialSequences'>> & { initialSequence?: number; mtu?: number }

export interface PairOptions {
  readonly seed?: number
  readonly link?: Partial<LinkConditions>
  readonly client?: Options
  readonly server?: Options
  readonly v6?: boolean
  /** How many packets the receiver takes as one batch. @defaultValue 16 */
  readonly batch?: number
}

/** One of the two: a connection, what its user wants to send, and what that user got. */
export class Side {
  connection: TcpConnection | undefined
  readonly memory: MemoryBudget
  readonly outputs: TcpOutput['type'][] = []
  /** What is still to be written; `next` counts the bytes written. */
  toSend = 0
  written = 0
  shutdownAfter = true
  received = 0
  /** Bytes of the received stream that differ from what was sent. */
  wrong = 0
  /** How many bytes are read in one go, and whether they are read at all. */
  reading = true
  private readonly salt: number

  constructor(salt: number, memoryBytes: number) {
    this.salt = salt
    this.memory = new MemoryBudget(memoryBytes)
  }

  /** The stream of this side: a byte that depends on its position, with a period that is no power of two. */
  byteAt(position: number): number {
    return ((position % 251) ^ (position >>> 10) ^ this.salt) & 0xff
  }

  write(now: number): void {
    const { connection } = this
    if (!connection) return
    while (this.written < this.toSend) {
      const length = Math.min(16_384, this.toSend - this.written)
      const bytes = new Uint8Array(length)
      for (let i = 0; i < length; i++) bytes[i] = this.byteAt(this.written + i)
      const taken = connection.write(bytes, now)
      this.written += taken
      if (taken < length) break
    }
    if (this.written === this.toSend && this.shutdownAfter) connection.shutdown(now)
  }

  read(peer: Side): void {
    for (let bytes = this.connection?.read(); bytes; bytes = this.connection?.read()) this.check(bytes, peer)
  }

  check(bytes: Uint8Array, peer: Side): void {
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== peer.byteAt(this.received + i)) this.wrong++
    this.received += bytes.length
  }
}

export class Pair {
  now = 1000
  readonly client: Side
  readonly server: Side
  readonly link: NetworkEmulator
  /** Packets dropped for their checksum. */
  corrupted = 0
  /** Called for each packet that is put on the link; returning false takes it away. */
  filter: ((direction: 'outbound' | 'inbound', packet: Uint8Array) => boolean) | undefined
  /** Whether the server answers SYNs at once. */
  confirm = true
  readonly options: PairOptions
  private readonly outgoing = new PacketBatch({ capacity: 32, slotBytes: 2048 })
  private readonly incoming = new PacketBatch({ capacity: 1, slotBytes: 2048 })
  private readonly segment = new TcpSegment()
  private readonly batchSize: number

  constructor(options: PairOptions = {}, memoryBytes = 64 * 2 ** 20) {
    this.options = options
    this.batchSize = options.batch ?? 16
    this.client = new Side(0x5a, memoryBytes)
    this.server = new Side(0xc3, memoryBytes)
    this.link = new NetworkEmulator({ seed: options.seed ?? 1, conditions: options.link ?? { latencyMs: 10 } })
  }

  open(): void {
    const ends = this.options.v6 ? ([clientEnd6, serverEnd6] as const) : ([clientEnd, serverEnd] as const)
    const { config, path } = settingsOf(this.options.client, this.client.memory)
    this.client.connection = TcpConnection.open(config, path, ends[0], ends[1], this.now)
    this.flush(this.client)
  }

  /** Runs until `done`, or for so long, or until nothing is pending. Returns whether `done` became true. */
  run(done: () => boolean, limitMs = 600_000): boolean {
    const end = this.now + limitMs
    for (;;) {
      this.settle()
      if (done()) return true
      const next = Math.min(
        this.link.deadline ?? Infinity,
        this.client.connection?.deadline ?? Infinity,
        this.server.connection?.deadline ?? Infinity,
      )
      if (next > end) {
        this.now = end
        return false
      }
      this.now = Math.max(this.now, next)
    }
  }

  /** Lets time pass. */
  advance(ms: number): void {
    this.run(() => false, ms)
  }

  private settle(): void {
    for (const side of [this.client, this.server]) {
      const due = side.connection?.deadline
      if (due !== undefined && due <= this.now) side.connection!.handleDeadline(this.now)
      this.flush(side)
    }
    this.link.handleDeadline(this.now)
    const batch = { client: 0, server: 0 }
    for (let arrived = this.link.poll(); arrived; arrived = this.link.poll()) {
      const name = arrived.direction === 'outbound' ? 'server' : 'client'
      const side = this[name]
      this.deliver(side, arrived.bytes)
      if (++batch[name] % this.batchSize === 0) this.endBatch(side)
    }
    if (batch.client) this.endBatch(this.client)
    if (batch.server) this.endBatch(this.server)
  }

  private deliver(side: Side, packet: Uint8Array): void {
    const { incoming, segment } = this
    incoming.reset()
    const slot = incoming.push(packet)
    const offset = incoming.offsets[slot]!
    if (checkPacket(incoming.view, offset, packet.length) !== 0) {
      this.corrupted++
      return
    }
    const location = locateTransport(incoming.view, offset, packet.length)
    const drop = segment.read(incoming.bytes, incoming.view, offset, packet.length, transportOffset(location))
    if (drop !== 0) {
      if (drop === DropReason.badChecksum) this.corrupted++
      return
    }
    if (side.connection?.isReplacedBy(segment, this.now)) side.connection = undefined
    if (side.connection?.closed) {
      // What a stack does for a connection that it forgot.
      this.outgoing.reset()
      if (writeResetFor(this.outgoing, segment))
        this.link.send(side === this.client ? 'outbound' : 'inbound', this.outgoing.packet(0), this.now)
      return
    }
    if (!side.connection) {
      if ((segment.flags & 0x16) !== 2) return
      const { config, path } = settingsOf(this.options.server, side.memory)
      side.connection = TcpConnection.accept(config, path, segment, this.now)
      if (this.confirm) side.connection.confirm(this.now)
      return
    }
    side.connection.handleSegment(segment, this.now)
  }

  private endBatch(side: Side): void {
    side.connection?.handleBatchEnd(this.now)
    this.drain(side)
    this.flush(side)
  }

  /** What the user of a side does: takes outputs, reads, writes. */
  drain(side: Side): void {
    const peer = side === this.client ? this.server : this.client
    for (let output = side.connection?.poll(); output; output = side.connection?.poll()) {
      side.outputs.push(output.type)
      if (output.type === 'established' || output.type === 'writable') side.write(this.now)
      if (output.type === 'readable' && side.reading) side.read(peer)
    }
  }

  flush(side: Side): void {
    const { connection } = side
    if (!connection) return
    this.drain(side)
    const direction = side === this.client ? 'outbound' : 'inbound'
    while (connection.wantsToSend) {
      this.outgoing.reset()
      if (connection.emit(this.outgoing, this.now) === 0) throw new Error(`${direction} wants to send and does not`)
      for (let slot = 0; slot < this.outgoing.count; slot++) {
        const packet = this.outgoing.packet(slot)
        if (this.filter && !this.filter(direction, packet)) continue
        this.link.send(direction, packet, this.now)
      }
    }
    this.drain(side)
  }
}

/** Opens, sends `upBytes` and `downBytes`, closes, and returns once both ends are done or time is up. */
export function transfer(options: PairOptions, upBytes: number, downBytes: number, limitMs?: number): Pair {
  const pair = new Pair(options)
  pair.client.toSend = upBytes
  pair.server.toSend = downBytes
  pair.open()
  pair.run(() => pair.client.connection!.peerEnded && (pair.server.connection?.peerEnded ?? false), limitMs)
  return pair
}

function settingsOf(options: Options = {}, memory: MemoryBudget) {
  const { initialSequence = 1_000_000, mtu = 1400, ...rest } = options
  const config = tcpConfig({
    ...rest,
    initialSequences: { sequenceNumber: () => initialSequence, timestampOffset: () => 0xffff_0000 },
  })
  return { config, path: { mtu, memory } }
}
