// The userspace stack behind a kernel TUN, over a link that can be made as bad as one likes, with its flows as streams.
import { randomFillSync, randomInt } from 'node:crypto'
import { Duplex } from 'node:stream'
import { locateTransport, PacketBatch, TcpFlag, tcpFlags, tcpWindow, transportOffset } from '@twinbore/core/packet'
import { type LinkConditions, NetworkEmulator, packetView } from '@twinbore/core/testing'
import type { PacketDevice } from '@twinbore/tun'
import { sequenceHash } from '@twinbore/tun/io'
import { NetStack, type NetStackOptions, type NetStackOutput } from '@twinbore/tun/netstack'

/** Carries packets between a device and whatever is at the other end, through an emulated link. */
export class LinkedDevice {
  /** A TCP segment that offered no window went by. */
  onZeroWindow: ((from: 'device' | 'far end') => void) | undefined
  private readonly device: PacketDevice
  private readonly link: NetworkEmulator
  private readonly arrived: (batch: PacketBatch) => void
  private readonly toDevice = new PacketBatch()
  private readonly toFarEnd = new PacketBatch()
  private readonly incoming = new PacketBatch()
  private timer: NodeJS.Timeout | undefined

  constructor(
    device: PacketDevice,
    seed: number,
    conditions: Partial<LinkConditions>,
    arrived: (batch: PacketBatch) => void,
  ) {
    this.device = device
    this.link = new NetworkEmulator({ seed, conditions })
    this.arrived = arrived
    device.onReadable = () => {
      this.incoming.reset()
      device.read(this.incoming)
      this.carry(this.incoming, 'inbound')
      this.run()
    }
  }

  /** Packets of the far end, on their way to the device. */
  send(batch: PacketBatch): void {
    this.carry(batch, 'outbound')
    this.run()
  }

  /** What became of packets in both directions. */
  stats(): object {
    return { toDevice: this.link.stats('outbound'), fromDevice: this.link.stats('inbound') }
  }

  private carry(batch: PacketBatch, direction: 'inbound' | 'outbound'): void {
    const now = performance.now()
    for (let slot = 0; slot < batch.count; slot++) {
      const packet = batch.packet(slot)
      if (this.onZeroWindow && offersNothing(packet)) this.onZeroWindow(direction === 'inbound' ? 'device' : 'far end')
      this.link.send(direction, packet, now)
    }
  }

  private run(): void {
    clearTimeout(this.timer)
    this.link.handleDeadline(performance.now())
    for (let delivery = this.link.poll(); delivery; delivery = this.link.poll()) {
      const batch = delivery.direction === 'inbound' ? this.toFarEnd : this.toDevice
      batch.push(delivery.bytes)
      if (batch.count === batch.capacity) this.flush(batch)
    }
    this.flush(this.toDevice)
    this.flush(this.toFarEnd)
    if (this.link.deadline === undefined) return
    this.timer = setTimeout(() => this.run(), Math.max(0, this.link.deadline - performance.now()))
  }

  private flush(batch: PacketBatch): void {
    if (batch.count === 0) return
    if (batch === this.toDevice) this.device.write(batch)
    else this.arrived(batch)
    batch.reset()
  }
}

function offersNothing(packet: Uint8Array): boolean {
  const view = packetView(packet)
  const at = transportOffset(locateTransport(view, 0, packet.length))
  return (tcpFlags(view, at) & (TcpFlag.rst | TcpFlag.syn)) === 0 && tcpWindow(view, at) === 0
}

/** A NetStack that lives in real time. */
export class StackHost {
  readonly stack: NetStack
  readonly link: LinkedDevice
  /** Who takes connections that arrive. */
  onConnection: (flow: FlowStream, port: number) => void = () => {}
  private readonly flows = new Map<number, FlowStream>()
  private readonly batch = new PacketBatch()
  private timer: NodeJS.Timeout | undefined
  private isAwake = false

  constructor(
    device: PacketDevice,
    options: Partial<NetStackOptions>,
    seed: number,
    conditions: Partial<LinkConditions>,
  ) {
    this.stack = new NetStack({
      random: { fill: bytes => randomFillSync(bytes), uint32: () => randomInt(0, 2 ** 32) },
      keyedHash: sequenceHash(),
      ...options,
    })
    this.link = new LinkedDevice(device, seed, conditions, batch => {
      this.stack.handlePackets(batch, performance.now())
      this.wake()
    })
  }

  connect(address: string, port: number): FlowStream {
    const id = this.stack.openTcp({ remote: { address, port } }, performance.now())
    if (id === -1) throw new Error('the stack opens no more connections')
    const flow = new FlowStream(this, id)
    this.flows.set(id, flow)
    this.wake()
    return flow
  }

  /** Something changed: the stack gets its turn at the end of this turn of the event loop. */
  wake(): void {
    if (this.isAwake) return
    this.isAwake = true
    setImmediate(() => {
      this.isAwake = false
      this.turn()
    })
  }

  private turn(): void {
    const now = performance.now()
    this.stack.handleDeadline(now)
    do {
      for (let output = this.stack.poll(); output; output = this.stack.poll()) this.handle(output, now)
      this.batch.reset()
      if (this.stack.drain(this.batch, now) > 0) this.link.send(this.batch)
    } while (this.stack.wantsToSend)
    clearTimeout(this.timer)
    const { deadline } = this.stack
    if (deadline !== undefined) this.timer = setTimeout(() => this.wake(), Math.max(1, deadline - now))
  }

  private handle(output: NetStackOutput, now: number): void {
    if (output.type === 'flow-requested' && output.protocol === 'tcp') {
      this.stack.accept(output.flow, now)
      const flow = new FlowStream(this, output.flow)
      this.flows.set(output.flow, flow)
      this.onConnection(flow, output.destination.port)
    }
    if (!('flow' in output)) return
    this.flows.get(output.flow)?.handle(output)
    if (output.type === 'flow-closed') this.flows.delete(output.flow)
  }
}

/** A TCP flow of the stack as a stream: FIN is 'end', RST is an error, `destroy` with an error is a RST. */
export class FlowStream extends Duplex {
  private readonly host: StackHost
  private readonly flow: number
  private unsent: { readonly bytes: Uint8Array; readonly done: () => void } | undefined
  private isOver = false
  private hasEnded = false
  private isWanted = false

  constructor(host: StackHost, flow: number) {
    super({ allowHalfOpen: true })
    this.host = host
    this.flow = flow
  }

  handle(output: NetStackOutput): void {
    switch (output.type) {
      case 'flow-ended':
        this.hasEnded = true
        this.pull()
        break
      case 'flow-readable':
        this.pull()
        break
      case 'flow-writable':
        this.pushOn()
        break
      case 'flow-reset':
        this.isOver = true
        this.destroy(new Error(`reset: ${output.reason}`))
        break
      case 'flow-closed':
        this.isOver = true
        break
    }
  }

  override _read(): void {
    this.isWanted = true
    this.pull()
  }

  override _write(bytes: Uint8Array, _encoding: string, done: () => void): void {
    this.unsent = { bytes, done }
    this.pushOn()
  }

  override _final(done: () => void): void {
    if (!this.isOver) this.host.stack.shutdown(this.flow, performance.now())
    this.host.wake()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const isComplete = this.writableFinished && this.readableEnded
    if (!this.isOver && !isComplete) this.host.stack.abort(this.flow, performance.now())
    this.host.wake()
    done(error)
  }

  private pull(): void {
    while (this.isWanted && !this.isOver) {
      const bytes = this.host.stack.read(this.flow, performance.now())
      if (bytes) this.isWanted = this.push(bytes)
      else {
        if (this.hasEnded) {
          this.isWanted = false
          this.push(null)
        }
        break
      }
    }
    this.host.wake()
  }

  private pushOn(): void {
    if (!this.unsent || this.isOver) return
    const { bytes, done } = this.unsent
    const taken = this.host.stack.write(this.flow, bytes, performance.now())
    if (taken === bytes.length) {
      this.unsent = undefined
      done()
    } else this.unsent = { bytes: bytes.subarray(taken), done }
    this.host.wake()
  }
}
