// A client's stack and a relay back to back, in memory on one side and with real sockets on the other.

import { systemRandom } from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import { SocketRelay, type SocketRelayOptions, StackDevice } from '../../../src/io/index.ts'
import { type EchoMessage, NetStack, type NetStackEndpoint, type NetStackOutput } from '../../../src/netstack/index.ts'

/** What clients call an address of the loopback: no packet may carry that itself (RFC 1122 §3.2.1.3). */
export function outside(loopback: string): string {
  return loopback === '::1' ? '2001:db8::1' : loopback.replace('127.0.0.', '198.51.100.')
}

function behind(address: string): string {
  return address === '2001:db8::1' ? '::1' : address.replace('198.51.100.', '127.0.0.')
}

export const client4 = '10.77.0.2'
export const client6 = 'fd77::2'

/** The client's end of a flow, with everything that was told about it. */
export class ClientFlow {
  readonly outputs: NetStackOutput[] = []
  received: Uint8Array[] = []
  receivedBytes = 0
  /** Whether to leave what arrives in the stack. */
  isPaused = false
  readonly id: number
  private readonly world: RelayWorld
  private readonly waiting = new Set<() => void>()
  private pending: Uint8Array[] = []
  private isShutDown = false

  constructor(world: RelayWorld, id: number) {
    this.world = world
    this.id = id
  }

  get isReset(): boolean {
    return this.has('flow-reset')
  }

  get isEnded(): boolean {
    return this.has('flow-ended')
  }

  has(type: NetStackOutput['type']): boolean {
    return this.outputs.some(output => output.type === type)
  }

  text(): string {
    return Buffer.concat(this.received).toString()
  }

  write(bytes: Uint8Array | string): void {
    this.pending.push(Buffer.from(bytes as Uint8Array))
    this.push()
  }

  /** FIN behind what was written. */
  end(): void {
    this.isShutDown = true
    this.push()
  }

  abort(): void {
    this.world.stack.abort(this.id, this.world.device.now())
    this.world.device.settle()
  }

  resume(): void {
    this.isPaused = false
    this.take()
    this.world.device.settle()
  }

  /** Takes so many bytes at most. */
  takeSome(most: number): void {
    const bytes = this.world.stack.read(this.id, this.world.device.now(), most)
    if (bytes) this.receivedBytes += bytes.length
    this.world.device.settle()
  }

  /** Waits until something is so. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise(resolve => {
      const look = () => {
        if (!isSo()) return
        this.waiting.delete(look)
        resolve()
      }
      this.waiting.add(look)
      look()
    })
  }

  handle(output: NetStackOutput): void {
    this.outputs.push(output)
    if (output.type === 'flow-readable') this.take()
    if (output.type === 'flow-writable' || output.type === 'flow-established') this.push()
    for (const look of this.waiting) look()
  }

  private take(): void {
    while (!this.isPaused && !this.has('flow-closed')) {
      const bytes = this.world.stack.read(this.id, this.world.device.now(), 65_536)
      if (!bytes) break
      this.received.push(bytes)
      this.receivedBytes += bytes.length
    }
  }

  private push(): void {
    if (this.has('flow-closed')) return
    const now = this.world.device.now()
    while (this.pending.length > 0) {
      const [first] = this.pending
      const taken = this.world.stack.write(this.id, first!, now)
      if (taken < first!.length) {
        this.pending[0] = first!.subarray(taken)
        break
      }
      this.pending.shift()
    }
    if (this.isShutDown && this.pending.length === 0) this.world.stack.shutdown(this.id, now)
    this.world.device.settle()
  }
}

export class RelayWorld {
  readonly stack: NetStack
  readonly device: StackDevice
  readonly relay: SocketRelay
  readonly echoes: EchoMessage[] = []
  readonly flows: Map<number, ClientFlow> = new Map()
  private onPacket: (bytes: Uint8Array) => void = () => {}
  private readonly batch = new PacketBatch()
  private readonly echoed = new Set<() => void>()

  constructor(options: Partial<SocketRelayOptions> = {}, addresses: readonly string[] = [client4, client6]) {
    this.stack = new NetStack({ random: systemRandom, addresses })
    this.device = new StackDevice(this.stack, { name: 'client', mtu: 1400 })
    this.relay = new SocketRelay({
      mayReach: () => true,
      redirect: ({ address, port }) => ({ address: behind(address), port }),
      ...options,
      stack: { random: systemRandom, ...options.stack },
    })
    this.device.onOutput = output => {
      if (output.type === 'echo-replied') {
        this.echoes.push(output)
        for (const look of this.echoed) look()
      } else if ('flow' in output) this.flows.get(output.flow)?.handle(output)
    }
    this.carry(this.device, this.relay.device)
    this.carry(this.relay.device, this.device)
  }

  connect(remote: NetStackEndpoint, localAddress?: string): ClientFlow {
    const id = this.stack.openTcp({ remote, ...(localAddress ? { localAddress } : {}) }, this.device.now())
    return this.opened(id)
  }

  bind(address: string): ClientFlow {
    return this.opened(this.stack.bindUdp({ address }, this.device.now()))
  }

  sendDatagram(flow: ClientFlow, remote: NetStackEndpoint, bytes: Uint8Array): void {
    this.stack.sendDatagram(flow.id, remote, bytes, this.device.now())
    this.device.settle()
  }

  /** Sends an echo request and waits for its answer. */
  ping(message: EchoMessage): Promise<EchoMessage> {
    this.stack.sendEcho(message, this.device.now())
    this.device.settle()
    return new Promise(resolve => {
      const look = () => {
        const found = this.echoes.find(echo => echo.sequenceNumber === message.sequenceNumber)
        if (!found) return
        this.echoed.delete(look)
        resolve(found)
      }
      this.echoed.add(look)
      look()
    })
  }

  /** The next packet to the client that fits. */
  nextPacket(fits: (bytes: Uint8Array) => boolean): Promise<Uint8Array> {
    return new Promise(resolve => {
      this.onPacket = bytes => {
        if (fits(bytes)) resolve(bytes.slice())
      }
    })
  }

  close(): void {
    this.relay.close()
    this.device.close()
  }

  private opened(id: number): ClientFlow {
    if (id === -1) throw new Error('no flow')
    const flow = new ClientFlow(this, id)
    this.flows.set(id, flow)
    this.device.settle()
    return flow
  }

  private carry(from: RelayWorld['relay']['device'], to: RelayWorld['relay']['device']): void {
    from.onReadable = () => {
      do {
        this.batch.reset()
        from.read(this.batch)
        if (to === this.device) for (let i = 0; i < this.batch.count; i++) this.onPacket(this.batch.packet(i))
        to.write(this.batch)
      } while (this.batch.full)
    }
  }
}
