import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import { type DatagramSocket, type DatagramSocketStats, EndpointTable } from '@twinbore/tun'

/** UDP in memory: what a socket sends to the address of another one arrives there at once. */
export class MemoryNetwork {
  private readonly sockets = new Map<string, MemorySocket>()

  open(localAddress: string, localPort: number): MemorySocket {
    const socket = new MemorySocket(this, localAddress, localPort)
    this.sockets.set(`${localAddress} ${localPort}`, socket)
    return socket
  }

  deliver(from: MemorySocket, address: string, port: number, bytes: Uint8Array): void {
    this.sockets.get(`${address} ${port}`)?.waiting.push({ from, bytes })
  }
}

export class MemorySocket implements DatagramSocket {
  readonly localAddress: string
  readonly localPort: number
  readonly endpoints: EndpointTable = new EndpointTable()
  readonly batch = {}
  readonly descriptor = undefined
  readonly waiting: { from: MemorySocket; bytes: Uint8Array }[] = []
  /** What was sent, newest last. */
  readonly sent: Uint8Array[] = []
  /** So many more datagrams find room. */
  room = Number.POSITIVE_INFINITY
  blockedAt = -1
  onReadable: (() => void) | undefined = undefined
  onSendError: DatagramSocket['onSendError'] = undefined
  private readonly network: MemoryNetwork

  constructor(network: MemoryNetwork, localAddress: string, localPort: number) {
    this.network = network
    this.localAddress = localAddress
    this.localPort = localPort
  }

  get drained(): boolean {
    return this.waiting.length === 0
  }

  receive(batch: PacketBatch): number {
    this.endpoints.startBatch()
    let added = 0
    while (!batch.full && this.waiting.length > 0) {
      const { from, bytes } = this.waiting.shift()!
      batch.push(bytes, this.endpoints.intern(from.localAddress, from.localPort))
      added++
    }
    return added
  }

  send(batch: PacketBatch, keeps = false): number {
    let sent = 0
    this.blockedAt = -1
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      if (this.room === 0) {
        if (this.blockedAt === -1) this.blockedAt = slot
        if (!keeps) batch.drop(slot, DropReason.queueFull)
        continue
      }
      this.room--
      if (this.sendTo(batch.owners[slot]!, batch.packet(slot).slice())) sent++
    }
    return sent
  }

  sendTo(endpoint: number, bytes: Uint8Array): boolean {
    const { address, port } = this.endpoints.describe(endpoint)
    this.sent.push(bytes)
    this.network.deliver(this, address, port, bytes.slice())
    return true
  }

  close(): void {}

  stats(): DatagramSocketStats {
    throw new TypeError('not counted')
  }
}
