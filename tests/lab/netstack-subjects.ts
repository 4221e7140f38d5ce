// The two stacks of the differential test, with the same handle: a raw packet goes in, and what it brings about at once
// comes out; the application on top is told to write, read, end and give up.
import { createServer, type Server, type Socket } from 'node:net'
import {
  IpProtocol,
  locateTransport,
  PacketBatch,
  tcpDestinationPort,
  transportOffset,
  transportProtocol,
} from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import type { PacketDevice } from '@twinbore/tun'
import { NetStack } from '@twinbore/tun/netstack'

export interface Subject {
  readonly name: string
  /** Hands over a packet and returns those that answer it. */
  send(packet: Uint8Array): Uint8Array[]
  /** Waits until the application has the connection. */
  begin(): Promise<unknown>
  /** Lets the application take what it wants to read. */
  settle(): Promise<void>
  /** The application writes, ends its half, or gives up; returns when something of it is on the wire. */
  write(bytes: Uint8Array): Promise<Uint8Array[]>
  end(): Promise<Uint8Array[]>
  abort(): Promise<Uint8Array[]>
  /** Waits for packets that a timer sends. */
  more(patienceMs?: number): Promise<Uint8Array[]>
  /** What the application read. */
  readonly received: Uint8Array
  close(): void
}

const nothing = new Uint8Array(0)
const patienceMs = 5000

/** Reads the packets for `port` that wait on the device. */
function takeAll(device: PacketDevice, batch: PacketBatch, port: number): Uint8Array[] {
  const packets: Uint8Array[] = []
  do {
    batch.reset()
    device.read(batch)
    for (let slot = 0; slot < batch.count; slot++) {
      const at = batch.offsets[slot]!
      const location = locateTransport(batch.view, at, batch.lengths[slot]!)
      if (location === -1 || transportProtocol(location) !== IpProtocol.tcp) continue
      if (tcpDestinationPort(batch.view, at + transportOffset(location)) === port) {
        packets.push(batch.packet(slot).slice())
      }
    }
  } while (batch.count === batch.capacity)
  return packets
}

/** The kernel behind a TUN, with a server whose connections do only what they are told. */
export class KernelHost {
  readonly device: PacketDevice
  readonly batch: PacketBatch = new PacketBatch()
  private readonly server: Server
  private readonly sockets = new Map<number, Socket>()
  private readonly waiting = new Map<number, (socket: Socket) => void>()

  private constructor(device: PacketDevice, server: Server) {
    this.device = device
    this.server = server
  }

  static async listen(device: PacketDevice, port: number): Promise<KernelHost> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true })
    const host = new KernelHost(device, server)
    server.on('connection', socket => host.take(socket))
    await new Promise<void>(resolve => server.listen(port, '::', resolve))
    return host
  }

  /** The connection of a peer's port, as soon as it is accepted. */
  socket(port: number): Promise<Socket> {
    const known = this.sockets.get(port)
    if (known) return Promise.resolve(known)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the kernel did not accept')), patienceMs)
      this.waiting.set(port, socket => {
        clearTimeout(timer)
        resolve(socket)
      })
    })
  }

  forget(port: number): void {
    this.sockets.get(port)?.resetAndDestroy()
    this.sockets.delete(port)
    this.waiting.delete(port)
  }

  close(): void {
    for (const socket of this.sockets.values()) socket.destroy()
    this.server.close()
  }

  private take(socket: Socket): void {
    const port = socket.remotePort ?? 0
    socket.on('error', () => {})
    this.sockets.set(port, socket)
    this.waiting.get(port)?.(socket)
  }
}

/** One connection with the kernel. */
export class KernelSubject implements Subject {
  readonly name = 'Linux'
  private readonly host: KernelHost
  private readonly port: number
  private readonly reads: boolean
  private readonly chunks: Uint8Array[] = []
  private reading: Socket | undefined

  constructor(host: KernelHost, port: number, reads: boolean) {
    this.host = host
    this.port = port
    this.reads = reads
  }

  send(packet: Uint8Array): Uint8Array[] {
    const { device, batch } = this.host
    // What a timer of the kernel brought meanwhile says nothing about this packet.
    takeAll(device, batch, this.port)
    batch.reset()
    batch.push(packet)
    device.write(batch)
    return takeAll(device, batch, this.port)
  }

  begin(): Promise<unknown> {
    return this.host.socket(this.port)
  }

  async settle(): Promise<void> {
    for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate)
    if (this.reads && !this.reading) {
      this.reading = await this.host.socket(this.port)
      this.reading.on('data', chunk => this.chunks.push(chunk)).resume()
      for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate)
    }
  }

  async write(bytes: Uint8Array): Promise<Uint8Array[]> {
    const socket = await this.host.socket(this.port)
    return this.answersTo(() => socket.write(bytes))
  }

  async end(): Promise<Uint8Array[]> {
    const socket = await this.host.socket(this.port)
    return this.answersTo(() => socket.end(), socket)
  }

  async abort(): Promise<Uint8Array[]> {
    const socket = await this.host.socket(this.port)
    return this.answersTo(() => socket.resetAndDestroy())
  }

  more(patience = patienceMs): Promise<Uint8Array[]> {
    return this.answersTo(() => {}, undefined, patience)
  }

  get received(): Uint8Array {
    return Buffer.concat(this.chunks)
  }

  close(): void {
    this.host.forget(this.port)
  }

  private async answersTo(act: () => void, socket?: Socket, patience = patienceMs): Promise<Uint8Array[]> {
    const { device, batch } = this.host
    act()
    const until = performance.now() + patience
    for (;;) {
      const packets = takeAll(device, batch, this.port)
      if (packets.length > 0 || socket?.destroyed || performance.now() > until) return packets
      await new Promise(setImmediate)
    }
  }
}

/** One connection with our stack, in virtual time. */
export class StackSubject implements Subject {
  readonly name = 'ours'
  private readonly stack: NetStack
  private readonly batch = new PacketBatch({ capacity: 64 })
  private readonly reads: boolean
  private readonly chunks: Uint8Array[] = []
  private flow = -1
  private isOver = false
  private now = 1_000_000

  constructor(seed: number, reads: boolean) {
    this.reads = reads
    this.stack = new NetStack({ random: seededRandom(seed ^ 0x5eed), acceptAnyDestination: true })
  }

  send(packet: Uint8Array): Uint8Array[] {
    // Answers to what is not acceptable are rationed over time, and the kernel's ration is switched off.
    this.now += 600
    this.batch.reset()
    this.batch.push(packet)
    this.stack.handlePackets(this.batch, this.now)
    return this.drain()
  }

  async begin(): Promise<void> {}

  async settle(): Promise<void> {
    this.read()
    // Window updates: the kernel has its own times for them.
    this.drain()
  }

  async write(bytes: Uint8Array): Promise<Uint8Array[]> {
    if (this.stack.write(this.flow, bytes, this.now) !== bytes.length) throw new Error('the stack did not take it all')
    return this.drain()
  }

  async end(): Promise<Uint8Array[]> {
    if (this.isOver) return []
    this.stack.shutdown(this.flow, this.now)
    return this.drain()
  }

  async abort(): Promise<Uint8Array[]> {
    if (this.isOver) return []
    this.stack.abort(this.flow, this.now)
    return this.drain()
  }

  async more(): Promise<Uint8Array[]> {
    return this.drain()
  }

  get received(): Uint8Array {
    return Buffer.concat(this.chunks)
  }

  close(): void {}

  private read(): void {
    if (!this.reads || this.flow === -1 || this.isOver) return
    for (;;) {
      const bytes = this.stack.read(this.flow, this.now) ?? nothing
      if (bytes.length === 0) return
      this.chunks.push(bytes)
    }
  }

  private drain(): Uint8Array[] {
    const packets: Uint8Array[] = []
    do {
      for (let output = this.stack.poll(); output; output = this.stack.poll()) {
        if (output.type === 'flow-requested') {
          this.stack.accept(output.flow, this.now)
          this.flow = output.flow
          this.isOver = false
        } else if (output.type === 'flow-closed') this.isOver = true
      }
      this.batch.reset()
      this.stack.drain(this.batch, this.now)
      for (let slot = 0; slot < this.batch.count; slot++) packets.push(this.batch.packet(slot).slice())
    } while (this.stack.wantsToSend)
    return packets
  }
}
