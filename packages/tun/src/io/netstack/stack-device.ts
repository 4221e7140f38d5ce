import { performance } from 'node:perf_hooks'
import { type PacketBatch, Verdict } from '@twinbore/core/packet'
import type { NetStack } from '../../netstack/net-stack.ts'
import type { NetStackOutput } from '../../netstack/outputs.ts'
import { DeviceCounters, type PacketDevice, type PacketDeviceStats } from '../../packet-device.ts'

const MAX_PACKET_BYTES = 65_535
/** The longest time a timer of Node's takes. */
const MAX_TIMER_MS = 2 ** 31 - 1

export interface StackDeviceOptions {
  readonly name: string
  readonly mtu: number
  /**
   * Whether outputs wait for the end of the current turn of the event loop, so that what `onOutput` does or throws can't
   * disturb whoever writes packets. They are not taken from the stack before. @defaultValue false: at once
   */
  readonly isDeferred?: boolean
}

/**
 * A `NetStack` as a packet device, with its one timer: what is written goes into the stack, what the stack sends is read.
 * Outputs are handed to `onOutput`. Whoever calls the stack otherwise says `settle` afterwards.
 */
export class StackDevice implements PacketDevice {
  readonly name: string
  readonly mtu: number
  readonly superDatagrams = false
  readonly descriptor = undefined
  /** Never called: a stack doesn't get lost. */
  onLost: PacketDevice['onLost'] = undefined
  /** What the stack tells. */
  onOutput: (output: NetStackOutput, now: number) => void = () => {}
  private readonly isDeferred: boolean
  private readonly counters = new DeviceCounters()
  private handler: (() => void) | undefined
  private announced: NodeJS.Immediate | undefined
  private timer: NodeJS.Timeout | undefined
  private timerAt = Number.POSITIVE_INFINITY
  private isSettling = false
  private isClosed = false
  private turn: NodeJS.Immediate | undefined
  private keepsProcessAlive = true
  private current: NetStack

  constructor(stack: NetStack, { name, mtu, isDeferred = false }: StackDeviceOptions) {
    this.current = stack
    this.name = name
    this.mtu = mtu
    this.isDeferred = isDeferred
  }

  /** What the stack was told. It takes super-packets in any case. */
  get superPackets(): boolean {
    return this.current.superPackets
  }

  get stack(): NetStack {
    return this.current
  }

  /** Goes on with another stack. What the old one had to tell is lost. */
  replaceStack(stack: NetStack): void {
    this.current = stack
    clearTimeout(this.timer)
    this.timerAt = Number.POSITIVE_INFINITY
    this.settle()
  }

  /** Whether the timer keeps the process alive. It does unless told otherwise. */
  keepAlive(keeps: boolean): void {
    this.keepsProcessAlive = keeps
    if (keeps) this.timer?.ref()
    else this.timer?.unref()
  }

  get maxPacketBytes(): number {
    return this.superPackets ? MAX_PACKET_BYTES : this.mtu
  }

  /** The stack's time: use it for every call of the stack. */
  now(): number {
    return performance.now()
  }

  get onReadable(): (() => void) | undefined {
    return this.handler
  }

  set onReadable(handler: (() => void) | undefined) {
    this.handler = handler
    this.announce()
  }

  read(batch: PacketBatch): number {
    if (this.isClosed) return 0
    const before = batch.count
    this.stack.drain(batch, this.now())
    for (let slot = before; slot < batch.count; slot++) {
      this.counters.slotRead(batch.segments[slot]!, batch.lengths[slot]!)
    }
    this.settle()
    return batch.count - before
  }

  /** Every slot that is `forward` is consumed: `divert`, or `drop` with a reason. */
  write(batch: PacketBatch): number {
    if (this.isClosed) return 0
    const offered = tally(batch, Verdict.forward)
    if (offered.packets === 0) return 0
    const before = tally(batch, Verdict.drop)
    this.stack.handlePackets(batch, this.now())
    const after = tally(batch, Verdict.drop)
    const refused = after.packets - before.packets
    this.counters.writes += offered.slots - (after.slots - before.slots)
    this.counters.superPacketsWritten += offered.superPackets - (after.superPackets - before.superPackets)
    this.counters.packetsWritten += offered.packets - refused
    this.counters.bytesWritten += offered.bytes - (after.bytes - before.bytes)
    this.counters.writeDrops += refused
    this.settle()
    return offered.packets - refused
  }

  close(): void {
    this.isClosed = true
    this.handler = undefined
    if (this.announced) clearImmediate(this.announced)
    if (this.turn) clearImmediate(this.turn)
    clearTimeout(this.timer)
    this.announced = undefined
    this.turn = undefined
    this.timer = undefined
  }

  stats(): PacketDeviceStats {
    return this.counters.snapshot()
  }

  /** Hands out what the stack has to tell, sets the timer, and announces packets. */
  settle(): void {
    if (this.isClosed) return
    if (!this.isDeferred) this.settleNow()
    else this.turn ??= setImmediate(() => this.settleNow())
  }

  private settleNow(): void {
    this.turn = undefined
    if (this.isSettling) return
    this.isSettling = true
    let hasThrown = true
    try {
      const now = this.now()
      for (let output = this.stack.poll(); output && !this.isClosed; output = this.stack.poll()) {
        this.onOutput(output, now)
      }
      hasThrown = false
    } finally {
      this.isSettling = false
      // The outputs behind one whose handler threw have their turn.
      if (hasThrown) this.settle()
    }
    if (this.isClosed) return
    this.arm()
    this.announce()
  }

  /** A timer that is early only looks again, so a deadline that moves away costs no new timer. */
  private arm(): void {
    const { deadline } = this.stack
    if (deadline === undefined || deadline >= this.timerAt || this.isClosed) return
    clearTimeout(this.timer)
    this.timerAt = deadline
    const delay = Math.min(MAX_TIMER_MS, Math.max(0, Math.ceil(deadline - this.now())))
    this.timer = setTimeout(() => {
      this.timerAt = Number.POSITIVE_INFINITY
      const now = this.now()
      if (this.stack.deadline !== undefined && this.stack.deadline <= now) this.stack.handleDeadline(now)
      this.settle()
    }, delay)
    if (!this.keepsProcessAlive) this.timer.unref()
  }

  private announce(): void {
    if (!this.handler || this.announced || !this.stack.wantsToSend) return
    this.announced = setImmediate(() => {
      this.announced = undefined
      if (this.stack.wantsToSend) this.handler?.()
      this.announce()
    })
  }
}

interface Tally {
  readonly slots: number
  readonly superPackets: number
  readonly packets: number
  readonly bytes: number
}

function tally(batch: PacketBatch, verdict: Verdict): Tally {
  let slots = 0
  let superPackets = 0
  let packets = 0
  let bytes = 0
  for (let slot = 0; slot < batch.count; slot++) {
    if (batch.verdicts[slot] !== verdict) continue
    slots++
    if (batch.segments[slot]! > 1) superPackets++
    packets += batch.segments[slot]!
    bytes += batch.lengths[slot]!
  }
  return { slots, superPackets, packets, bytes }
}
