import { performance } from 'node:perf_hooks'
import type { NetStack, OpenTcpOptions } from '../../netstack/net-stack.ts'
import type { NetStackOutput } from '../../netstack/outputs.ts'
import type { PacketDevice } from '../../packet-device.ts'
import { HostDevice } from './host-device.ts'

/** The outputs of one flow. */
export type FlowOutput = Extract<NetStackOutput, { readonly flow: number }>

/** Who is told what happens to a flow. */
export interface FlowListener {
  /** Every output of the flow in its order. `flow-closed` is the last; the id is somebody else's afterwards. */
  handleOutput(output: FlowOutput): void
  /** The host was closed or has another stack: the flow is gone, no output follows. */
  handleHostClosed(reason: Error): void
}

export interface StackHostOptions {
  /** The longest packet that the device hands out. @defaultValue 1400 */
  readonly mtu?: number
  /** Name of the device. @defaultValue 'netstack' */
  readonly name?: string
  /** Takes outputs of no flow, and those of flows that nobody listens to: `flow-requested`, `echo-requested`, ... */
  readonly onOutput?: (output: NetStackOutput) => void
  /** Monotonic milliseconds. @defaultValue `performance.now` */
  readonly now?: () => number
}

/** setTimeout takes no longer delay; a later deadline is reached in steps. */
const LONGEST_DELAY_MS = 0x7fff_ffff

/**
 * Runs a `NetStack` on this thread. Packets pass through `device`, whose other side is a tunnel; outputs go to the listener
 * of their flow.
 *
 * Whatever gives the stack an input calls `touch`. Outputs are then told, packets are offered to the device's reader and
 * the timer is armed, once for all inputs of a turn of the event loop and never inside the call that gave one: what a
 * listener does or throws can't disturb whoever moves the packets.
 */
export class StackHost {
  /** What the tunnel reads from and writes to. Closing it closes nothing else. */
  readonly device: PacketDevice
  /** Monotonic milliseconds: the time for calls of `stack`. */
  readonly now: () => number
  /** Why the host was closed; `undefined` while it is open. */
  closedFor: Error | undefined
  private readonly onOutput: ((output: NetStackOutput) => void) | undefined
  private readonly own: HostDevice
  private readonly listeners = new Map<number, FlowListener>()
  private turn: NodeJS.Immediate | undefined
  private timer: NodeJS.Timeout | undefined
  private timerAt = 0
  private holds = 0
  /** Whether the last turn told all outputs: not when a listener threw. */
  private isDrained = true

  constructor(stack: NetStack, options: StackHostOptions = {}) {
    this.now = options.now ?? (() => performance.now())
    this.onOutput = options.onOutput
    this.own = new HostDevice(stack, {
      name: options.name ?? 'netstack',
      mtu: options.mtu ?? 1400,
      now: this.now,
      onInput: () => this.touch(),
    })
    this.device = this.own
    this.touch()
  }

  get stack(): NetStack {
    return this.own.stack
  }

  /** Takes another stack, with other addresses for example. Listeners of the old one are told why it is gone. */
  restart(stack: NetStack, reason: Error): void {
    if (this.closedFor) return
    this.own.stack = stack
    clearTimeout(this.timer)
    this.timer = undefined
    this.touch()
    this.dismiss(reason)
  }

  /** Makes somebody the listener of a flow, in place of whoever it was. */
  listen(flow: number, listener: FlowListener): void {
    this.listeners.set(flow, listener)
  }

  /** Opens a connection. Returns its flow, or -1 when a limit of the stack is reached or no port is free. */
  openTcp(options: OpenTcpOptions, listener: FlowListener): number {
    if (this.closedFor) return -1
    const flow = this.stack.openTcp(options, this.now())
    if (flow !== -1) this.listen(flow, listener)
    this.touch()
    return flow
  }

  /** Call after anything that gives the stack an input. Cheap when called often. */
  touch(): void {
    if (this.closedFor) return
    this.turn ??= setImmediate(() => this.takeTurn())
  }

  /** The timer keeps the process alive as long as somebody holds it. */
  hold(): void {
    if (this.holds++ === 0) this.timer?.ref()
  }

  release(): void {
    if (--this.holds === 0) this.timer?.unref()
  }

  /** Ends all at once, without a packet: every listener is told why, and nothing passes any more. */
  close(reason: Error): void {
    if (this.closedFor) return
    this.closedFor = reason
    clearImmediate(this.turn)
    clearTimeout(this.timer)
    this.own.close()
    this.dismiss(reason)
  }

  private dismiss(reason: Error): void {
    const listeners = [...this.listeners.values()]
    this.listeners.clear()
    for (const listener of listeners) listener.handleHostClosed(reason)
  }

  private takeTurn(): void {
    this.turn = undefined
    try {
      this.drainOutputs()
      this.own.announce()
    } finally {
      if (!this.closedFor) {
        // Packets are left when the reader took many but not all.
        if (this.own.isWaiting || !this.isDrained) this.touch()
        this.arm()
      }
    }
  }

  private drainOutputs(): void {
    this.isDrained = false
    // A listener may bring another stack.
    for (let output = this.stack.poll(); output; output = this.stack.poll()) {
      this.tell(output)
      if (this.closedFor) return
    }
    this.isDrained = true
  }

  private tell(output: NetStackOutput): void {
    const listener = 'flow' in output ? this.listeners.get(output.flow) : undefined
    if (!listener) {
      this.onOutput?.(output)
      return
    }
    if (output.type === 'flow-closed') this.listeners.delete(output.flow)
    listener.handleOutput(output as FlowOutput)
  }

  private arm(): void {
    const { deadline } = this.stack
    if (deadline === undefined) {
      clearTimeout(this.timer)
      this.timer = undefined
      return
    }
    // One that fires too early finds nothing due and is armed again: cheaper than a new one for each packet.
    if (this.timer !== undefined && this.timerAt <= deadline) return
    clearTimeout(this.timer)
    this.timerAt = deadline
    const delay = Math.min(LONGEST_DELAY_MS, Math.max(1, Math.ceil(deadline - this.now())))
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.stack.handleDeadline(this.now())
      this.touch()
    }, delay)
    if (this.holds === 0) this.timer.unref()
  }
}
