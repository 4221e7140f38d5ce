import { DropReason, type PacketBatch, type PacketBatchOptions, Verdict } from '@twinbore/core/packet'
import type { DatagramSendError, DatagramSocket, DatagramSocketStats, EndpointTable } from '@twinbore/tun'

/** A switch that cuts UDP for every socket wrapped with it, as a firewall on the way would: silently, both ways. */
export class UdpCut {
  active = false
  /** Datagrams swallowed so far. */
  swallowed = 0

  wrap(socket: DatagramSocket): DatagramSocket {
    return new CuttableSocket(socket, this)
  }
}

class CuttableSocket implements DatagramSocket {
  private readonly inner: DatagramSocket
  private readonly cut: UdpCut

  constructor(inner: DatagramSocket, cut: UdpCut) {
    this.inner = inner
    this.cut = cut
  }

  get localAddress(): string {
    return this.inner.localAddress
  }

  get localPort(): number {
    return this.inner.localPort
  }

  get endpoints(): EndpointTable {
    return this.inner.endpoints
  }

  get batch(): PacketBatchOptions {
    return this.inner.batch
  }

  get descriptor(): number | undefined {
    return this.inner.descriptor
  }

  get blockedAt(): number {
    return this.cut.active ? -1 : this.inner.blockedAt
  }

  get drained(): boolean {
    return this.inner.drained
  }

  get onReadable(): (() => void) | undefined {
    return this.inner.onReadable
  }

  set onReadable(handler: (() => void) | undefined) {
    this.inner.onReadable = handler
  }

  get onSendError(): ((event: DatagramSendError) => void) | undefined {
    return this.inner.onSendError
  }

  set onSendError(handler: ((event: DatagramSendError) => void) | undefined) {
    this.inner.onSendError = handler
  }

  receive(batch: PacketBatch): number {
    const first = batch.count
    const added = this.inner.receive(batch)
    if (this.cut.active) this.swallow(batch, first)
    return added
  }

  /** Says that all were sent: whoever sends into the dark is not told. */
  send(batch: PacketBatch, keeps?: boolean): number {
    return this.cut.active ? this.swallow(batch, 0) : this.inner.send(batch, keeps)
  }

  sendTo(endpoint: number, bytes: Uint8Array): boolean {
    if (!this.cut.active) return this.inner.sendTo(endpoint, bytes)
    this.cut.swallowed++
    return true
  }

  close(): void {
    this.inner.close()
  }

  stats(): DatagramSocketStats {
    return this.inner.stats()
  }

  private swallow(batch: PacketBatch, first: number): number {
    let swallowed = 0
    for (let slot = first; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      batch.drop(slot, DropReason.filtered)
      swallowed++
    }
    this.cut.swallowed += swallowed
    return swallowed
  }
}
