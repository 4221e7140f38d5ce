import { DropReason, type PacketBatch, type PacketBatchOptions, Verdict } from '@twinbore/core/packet'
import { type DatagramSocket, type DatagramSocketStats, SocketCounters } from '../../datagram-socket.ts'
import { EndpointTable } from '../../endpoint-table.ts'
import type { DatagramNotice, DatagramSocketOptions } from '../../options.ts'
import type { Readiness } from '../native-library.ts'
import { errno } from './errno.ts'
import { SocketOptions } from './socket-options.ts'
import { SO_ERROR, SOL_SOCKET, SOL_UDP, UDP_GRO } from './structs.ts'
import type { Syscalls } from './syscalls.ts'
import { SocketAddresses, Zones } from './udp-address.ts'
import { localName } from './udp-bind.ts'
import { receiveLayout, UdpReceiver } from './udp-receiver.ts'
import { singleBatch, UdpSender } from './udp-sender.ts'
import { datagramSupport } from './udp-support.ts'

export interface LinuxSocketOptions extends Pick<DatagramSocketOptions, 'endpoints' | 'gso' | 'onNotice'> {
  /** A bound UDP socket. */
  readonly descriptor: number
  /** Whether `close` closes it. */
  readonly owned: boolean
}

/**
 * UDP by recvmmsg and sendmmsg, bytes straight into and out of the batches' slabs, trains of equal datagrams in one piece
 * both ways where the kernel can (UDP_GRO, UDP_SEGMENT).
 *
 * No call blocks. Readiness comes from the event loop of the thread that made the object, once `onReadable` is assigned;
 * a thread without one polls `descriptor` and calls `receive` until `drained`. An object belongs to one thread; several
 * may share a descriptor as long as only one of them receives.
 */
export class LinuxUdpSocket implements DatagramSocket {
  readonly localAddress: string
  readonly localPort: number
  readonly endpoints: EndpointTable
  readonly batch: PacketBatchOptions
  onSendError: DatagramSocket['onSendError'] = undefined
  private readonly system: Syscalls
  private readonly owned: boolean
  private readonly socketOptions: SocketOptions
  private readonly receiver: UdpReceiver
  private readonly sender: UdpSender
  private readonly counters = new SocketCounters()
  private readonly single: PacketBatch = singleBatch()
  private open: number
  private watch: Readiness | undefined
  private handler: (() => void) | undefined
  private announced: NodeJS.Immediate | undefined
  private readonly onNotice: ((notice: DatagramNotice) => void) | undefined

  /** @throws TunError when the descriptor is no bound UDP socket */
  constructor(system: Syscalls, options: LinuxSocketOptions) {
    const { descriptor } = options
    this.system = system
    this.open = descriptor
    this.owned = options.owned
    this.onNotice = options.onNotice
    const zones = new Zones(system)
    const { family, address, port } = localName(system, descriptor, zones)
    this.localAddress = address
    this.localPort = port
    this.endpoints = new EndpointTable(options.endpoints === undefined ? {} : { capacity: options.endpoints })
    this.socketOptions = new SocketOptions(system)
    const gro = (this.socketOptions.get(descriptor, SOL_UDP, UDP_GRO) ?? 0) !== 0
    this.batch = receiveLayout(gro)
    const addresses = new SocketAddresses(family, this.endpoints, zones)
    const { counters, endpoints } = this
    this.receiver = new UdpReceiver(system, descriptor, addresses, counters, gro)
    this.sender = new UdpSender({
      system,
      descriptor,
      endpoints,
      addresses,
      zones,
      counters,
      gso: (options.gso ?? true) && datagramSupport().gso,
      onGsoOff: error =>
        this.onNotice?.({
          code: 'gso-off',
          message: `the system refuses to send several datagrams in one piece (${error}); they go one by one now`,
        }),
    })
  }

  get descriptor(): number | undefined {
    return this.open === -1 ? undefined : this.open
  }

  get drained(): boolean {
    return this.open === -1 || this.receiver.drained
  }

  get onReadable(): (() => void) | undefined {
    return this.handler
  }

  set onReadable(handler: (() => void) | undefined) {
    this.handler = handler
    if (this.open === -1) return
    if (handler) {
      this.watch ??= this.system.library.watch(this.open)
      this.watch.start(failed => this.turn(failed))
      this.announce()
    } else this.watch?.stop()
  }

  receive(batch: PacketBatch): number {
    if (this.open === -1) return 0
    const added = this.receiver.receive(batch)
    if (this.receiver.keeps) this.announce()
    return added
  }

  get blockedAt(): number {
    return this.open === -1 ? -1 : this.sender.blockedAt
  }

  send(batch: PacketBatch, keeps = false): number {
    const sent = this.open === -1 ? this.refuseAll(batch) : this.sender.send(batch, keeps)
    this.tellErrors()
    return sent
  }

  sendTo(endpoint: number, bytes: Uint8Array): boolean {
    if (bytes.length > this.single.slotBytes) {
      this.counters.sendErrors++
      this.onSendError?.({ endpoint, code: 'EMSGSIZE', length: bytes.length })
      return false
    }
    this.single.reset()
    this.single.push(bytes, endpoint)
    return this.send(this.single) === 1
  }

  close(): void {
    if (this.open === -1) return
    this.handler = undefined
    this.watch?.close()
    if (this.announced) clearImmediate(this.announced)
    this.announced = undefined
    this.countDrops()
    if (this.owned) this.system.close(this.open)
    this.open = -1
  }

  stats(): DatagramSocketStats {
    this.countDrops()
    return this.counters.snapshot()
  }

  /** The system counts what found no room in the socket's buffer. */
  private countDrops(): void {
    if (this.open === -1) return
    this.counters.receiveQueueDrops = this.socketOptions.drops(this.open) ?? this.counters.receiveQueueDrops
  }

  private refuseAll(batch: PacketBatch): number {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      this.counters.sendErrors++
      batch.drop(slot, DropReason.unknownPeer)
    }
    return 0
  }

  private tellErrors(): void {
    for (const error of this.sender.takeErrors()) this.onSendError?.(error)
  }

  /**
   * The event loop gives a descriptor up when an error is pending on it, also if it is about an earlier datagram. Reading the
   * error clears it.
   */
  private turn(failed: boolean): void {
    if (failed) {
      const watch = this.watch!
      watch.stop()
      const gone = this.socketOptions.get(this.open, SOL_SOCKET, SO_ERROR) === undefined
      if (gone && this.system.lastError() !== errno.EINTR) return
      watch.start(again => this.turn(again))
    }
    this.handler?.()
  }

  /** What the receiver keeps is announced by hand: the system does not know of it. */
  private announce(): void {
    if (!this.handler || !this.receiver.keeps || this.announced) return
    this.announced = setImmediate(() => {
      this.announced = undefined
      if (this.receiver.keeps) this.handler?.()
      this.announce()
    })
  }
}
