import type { NetStack, OpenTcpOptions } from '../../netstack/net-stack.ts'
import { defaultNetStackMtu } from '../../netstack/options.ts'
import type { NetStackOutput } from '../../netstack/outputs.ts'
import type { PacketDevice } from '../../packet-device.ts'
import { StackDevice } from './stack-device.ts'

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
}

/**
 * Runs a `NetStack` on this thread for many users. Packets pass through `device`, whose other side is a tunnel; outputs go
 * to the listener of their flow, at the end of the turn of the event loop in which they came up, never inside a call that
 * brings packets. The process is kept alive only while somebody holds it.
 */
export class StackHost {
  /** What the tunnel reads from and writes to. */
  readonly device: PacketDevice
  /** Why the host was closed; `undefined` while it is open. */
  closedFor: Error | undefined
  private readonly own: StackDevice
  private readonly onOutput: ((output: NetStackOutput) => void) | undefined
  private readonly listeners = new Map<number, FlowListener>()
  private holds = 0

  constructor(stack: NetStack, options: StackHostOptions = {}) {
    this.own = new StackDevice(stack, {
      name: options.name ?? 'netstack',
      mtu: options.mtu ?? defaultNetStackMtu,
      isDeferred: true,
    })
    this.onOutput = options.onOutput
    this.device = this.own
    this.own.onOutput = output => this.tell(output)
    this.own.keepAlive(false)
  }

  get stack(): NetStack {
    return this.own.stack
  }

  /** Monotonic milliseconds: the time for calls of `stack`. */
  now(): number {
    return this.own.now()
  }

  /** Takes another stack, with other addresses for example. Listeners of the old one are told why it is gone. */
  restart(stack: NetStack, reason: Error): void {
    if (this.closedFor) return
    this.own.replaceStack(stack)
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
    this.own.settle()
  }

  /** Keeps the process alive until `release`, as long as the stack waits for something. */
  hold(): void {
    if (this.holds++ === 0) this.own.keepAlive(true)
  }

  release(): void {
    if (--this.holds === 0) this.own.keepAlive(false)
  }

  /** Ends all at once, without a packet: every listener is told why, and nothing passes any more. */
  close(reason: Error): void {
    if (this.closedFor) return
    this.closedFor = reason
    this.own.close()
    this.dismiss(reason)
  }

  private dismiss(reason: Error): void {
    const listeners = [...this.listeners.values()]
    this.listeners.clear()
    for (const listener of listeners) listener.handleHostClosed(reason)
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
}
