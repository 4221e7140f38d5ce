import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { DropReason, type PacketBatch, type PacketBatchOptions, Verdict } from '@twinbore/core/packet'
import { type DatagramSocket, type DatagramSocketStats, SocketCounters } from '../../datagram-socket.ts'
import { EndpointTable } from '../../endpoint-table.ts'
import { TunError } from '../../errors.ts'
import {
  type DatagramSocketOptions,
  defaultDatagramBufferBytes,
  defaultReceiveQueue,
  defaultSendQueueBytes,
} from '../../options.ts'

/** The longest UDP payload: 65535 less IPv4 and UDP headers. */
const MAX_PAYLOAD = 65_507

/**
 * `node:dgram` behind the batch contract. Datagrams are collected in a bounded ring as they arrive and announced once per
 * turn of the event loop. What is sent is copied first, since the system may take it later; copies come from a pool of
 * buffers that are used again when the send has completed.
 */
export class DgramSocket implements DatagramSocket {
  readonly localAddress: string
  readonly localPort: number
  readonly endpoints: EndpointTable
  readonly batch: PacketBatchOptions = { capacity: 64, slotBytes: 2048 }
  readonly descriptor = undefined
  onSendError: DatagramSocket['onSendError'] = undefined
  blockedAt = -1
  private readonly socket: Socket
  private readonly family: 4 | 6
  private readonly sendQueueBytes: number
  private readonly messages: (Buffer | undefined)[]
  private readonly senders: (RemoteInfo | undefined)[]
  private readonly counters = new SocketCounters()
  private readonly spare: Buffer[] = []
  private head = 0
  private waiting = 0
  private handler: (() => void) | undefined
  private announced: NodeJS.Immediate | undefined
  private closed = false

  private constructor(socket: Socket, family: 4 | 6, options: DatagramSocketOptions) {
    const { address, port } = socket.address()
    this.localAddress = address
    this.localPort = port
    this.socket = socket
    this.family = family
    this.endpoints = new EndpointTable(options.endpoints === undefined ? {} : { capacity: options.endpoints })
    this.sendQueueBytes = options.sendQueueBytes ?? defaultSendQueueBytes
    const queue = options.receiveQueue ?? defaultReceiveQueue
    if (!Number.isInteger(queue) || queue < 1) throw new RangeError('receiveQueue must be a positive integer')
    this.messages = new Array<Buffer | undefined>(queue).fill(undefined)
    this.senders = new Array<RemoteInfo | undefined>(queue).fill(undefined)
    socket.on('message', (message, sender) => this.arrived(message, sender))
    // Errors of a bound UDP socket are about single datagrams (an ICMP answer to one); the socket goes on.
    socket.on('error', () => {
      this.counters.sendErrors++
    })
  }

  /** Binds. @throws TunError `ERR_TUN_BIND` */
  static async open(address: string, options: DatagramSocketOptions): Promise<DgramSocket> {
    const family = address.includes(':') ? 6 : 4
    if (options.reusePort) {
      throw new TunError('ERR_TUN_BIND', 'reusePort needs the native implementation', { errno: 'EOPNOTSUPP' })
    }
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      reuseAddr: options.reuseAddr ?? false,
      ipv6Only: options.ipv6Only ?? false,
      recvBufferSize: options.recvBufferBytes ?? defaultDatagramBufferBytes,
      sendBufferSize: options.sendBufferBytes ?? defaultDatagramBufferBytes,
      // Addresses are never names here; answering at once lets a send reach the system in the same call.
      lookup: (name, _options, answer) => answer(null, name, family),
    })
    await new Promise<void>((resolve, reject) => {
      const failed = (cause: NodeJS.ErrnoException) => {
        socket.close()
        const place = family === 6 ? `[${address}]:${options.port ?? 0}` : `${address}:${options.port ?? 0}`
        const name = cause.code ?? 'error'
        reject(new TunError('ERR_TUN_BIND', `UDP ${place} can't be bound: ${name}`, { cause, errno: name }))
      }
      socket.once('error', failed)
      socket.bind({ address, port: options.port ?? 0, exclusive: true }, () => {
        socket.off('error', failed)
        resolve()
      })
    })
    try {
      return new DgramSocket(socket, family, options)
    } catch (error) {
      socket.close()
      throw error
    }
  }

  get onReadable(): (() => void) | undefined {
    return this.handler
  }

  set onReadable(handler: (() => void) | undefined) {
    this.handler = handler
    this.announce()
  }

  get drained(): boolean {
    return this.waiting === 0
  }

  receive(batch: PacketBatch): number {
    this.endpoints.startBatch()
    let added = 0
    while (this.waiting > 0 && !batch.full) {
      const message = this.messages[this.head]!
      const sender = this.senders[this.head]!
      this.messages[this.head] = undefined
      this.senders[this.head] = undefined
      this.head = (this.head + 1) % this.messages.length
      this.waiting--
      if (message.length > batch.slotBytes) {
        this.counters.receiveTooBig++
        continue
      }
      const endpoint = this.endpoints.intern(sender.address, sender.port)
      if (endpoint === -1) {
        this.counters.endpointTableDrops++
        continue
      }
      batch.push(message, endpoint)
      this.counters.datagramsReceived++
      this.counters.bytesReceived += message.length
      added++
    }
    this.announce()
    return added
  }

  send(batch: PacketBatch, keeps = false): number {
    let sent = 0
    this.blockedAt = -1
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const reason = this.hand(batch.owners[slot]!, batch.bytes, batch.offsets[slot]!, batch.lengths[slot]!)
      if (reason === undefined) sent++
      else if (reason === DropReason.queueFull && keeps) {
        this.blockedAt = slot
        break
      } else {
        if (reason === DropReason.queueFull) this.counters.sendQueueDrops++
        batch.drop(slot, reason)
      }
    }
    return sent
  }

  sendTo(endpoint: number, bytes: Uint8Array): boolean {
    const reason = this.hand(endpoint, bytes, 0, bytes.length)
    if (reason === DropReason.queueFull) this.counters.sendQueueDrops++
    return reason === undefined
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.handler = undefined
    if (this.announced) clearImmediate(this.announced)
    this.announced = undefined
    this.messages.fill(undefined)
    this.senders.fill(undefined)
    this.waiting = 0
    this.socket.close()
  }

  stats(): DatagramSocketStats {
    return this.counters.snapshot()
  }

  private arrived(message: Buffer, sender: RemoteInfo): void {
    if (this.closed) return
    this.counters.receiveCalls++
    this.counters.messagesReceived++
    if (this.waiting === this.messages.length) {
      this.counters.receiveQueueDrops++
      return
    }
    const place = (this.head + this.waiting) % this.messages.length
    this.messages[place] = message
    this.senders[place] = sender
    this.waiting++
    this.announce()
  }

  private announce(): void {
    if (this.waiting === 0 || !this.handler || this.announced) return
    this.announced = setImmediate(() => {
      this.announced = undefined
      if (this.waiting > 0) this.handler?.()
      this.announce()
    })
  }

  private hand(endpoint: number, bytes: Uint8Array, offset: number, length: number): DropReason | undefined {
    if (this.closed || !this.endpoints.has(endpoint)) {
      this.counters.sendErrors++
      return DropReason.unknownPeer
    }
    if (length > MAX_PAYLOAD) {
      this.refused(endpoint, 'EMSGSIZE', length)
      return DropReason.tooBig
    }
    const family = this.endpoints.familyOf(endpoint)
    if (family > this.family) {
      this.refused(endpoint, 'EAFNOSUPPORT', length)
      return DropReason.unknownPeer
    }
    if (this.socket.getSendQueueSize() + length > this.sendQueueBytes) return DropReason.queueFull
    const buffer = this.take(length)
    buffer.set(bytes.subarray(offset, offset + length))
    const text = this.endpoints.addressOf(endpoint)
    const address = family < this.family ? `::ffff:${text}` : text
    this.socket.send(buffer, 0, length, this.endpoints.portOf(endpoint), address, error => {
      if (this.spare.length < MAX_SPARE && buffer.length === SPARE_BYTES) this.spare.push(buffer)
      if (error) this.refused(endpoint, (error as NodeJS.ErrnoException).code ?? 'error', length)
    })
    this.counters.sendCalls++
    this.counters.datagramsSent++
    this.counters.bytesSent += length
    return undefined
  }

  private take(length: number): Buffer {
    if (length > SPARE_BYTES) return Buffer.allocUnsafeSlow(length)
    return this.spare.pop() ?? Buffer.allocUnsafeSlow(SPARE_BYTES)
  }

  private refused(endpoint: number, code: string, length: number): void {
    this.counters.sendErrors++
    this.onSendError?.({ endpoint, code, length })
  }
}

const SPARE_BYTES = 2048
const MAX_SPARE = 1024
