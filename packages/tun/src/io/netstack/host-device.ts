import { type PacketBatch, Verdict } from '@twinbore/core/packet'
import type { NetStack } from '../../netstack/net-stack.ts'
import { DeviceCounters, type PacketDevice, type PacketDeviceStats } from '../../packet-device.ts'

export interface HostDeviceOptions {
  readonly name: string
  readonly mtu: number
  readonly now: () => number
  /** Packets were written. */
  readonly onInput: () => void
}

/** A stack as a packet device, without a queue in between: what is written goes into it, what is read comes out of it. */
export class HostDevice implements PacketDevice {
  readonly name: string
  readonly mtu: number
  /** Never called: a stack does not get lost. */
  onLost: PacketDevice['onLost'] = undefined
  /** Where packets go to and come from. */
  stack: NetStack
  private readonly options: HostDeviceOptions
  private readonly counters = new DeviceCounters()
  private handler: (() => void) | undefined
  private isClosed = false
  private hasRead = false

  constructor(stack: NetStack, options: HostDeviceOptions) {
    this.stack = stack
    this.options = options
    this.name = options.name
    this.mtu = options.mtu
  }

  get onReadable(): (() => void) | undefined {
    return this.handler
  }

  set onReadable(handler: (() => void) | undefined) {
    if (this.isClosed) return
    this.handler = handler
    this.options.onInput()
  }

  /** Whether the last announcement brought a reader that has not taken everything. */
  get isWaiting(): boolean {
    return this.hasRead && this.handler !== undefined && this.stack.wantsToSend
  }

  /** Tells the reader that packets wait, when they do. */
  announce(): void {
    this.hasRead = false
    if (this.stack.wantsToSend) this.handler?.()
  }

  read(batch: PacketBatch): number {
    if (this.isClosed) return 0
    const first = batch.count
    this.stack.drain(batch, this.options.now())
    const { counters } = this
    for (let slot = first; slot < batch.count; slot++) counters.bytesRead += batch.lengths[slot]!
    const added = batch.count - first
    counters.packetsRead += added
    if (added > 0) this.hasRead = true
    return added
  }

  write(batch: PacketBatch): number {
    if (this.isClosed) return 0
    const { counters } = this
    let offered = 0
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      offered++
      counters.bytesWritten += batch.lengths[slot]!
    }
    // What the stack has no use for it counts itself: it was delivered all the same, as to a host.
    this.stack.handlePackets(batch, this.options.now())
    counters.packetsWritten += offered
    this.options.onInput()
    return offered
  }

  close(): void {
    this.isClosed = true
    this.handler = undefined
  }

  stats(): PacketDeviceStats {
    return this.counters.snapshot()
  }
}
