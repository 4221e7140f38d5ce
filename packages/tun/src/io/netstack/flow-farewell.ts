import type { FlowListener, FlowOutput, StackHost } from './stack-host.ts'

/** How long a peer that doesn't end its side may keep a flow that nobody has any more, as Linux's `tcp_fin_timeout`. */
const PATIENCE_MS = 60_000

/**
 * The listener of a flow whose user is gone. The stack finishes what was written; but who sends more to nobody is reset,
 * as by a kernel whose socket was closed (RFC 9293 §3.6.1).
 */
export class FlowFarewell implements FlowListener {
  private readonly host: StackHost
  private readonly flow: number
  private timer: NodeJS.Timeout | undefined

  constructor(host: StackHost, flow: number) {
    this.host = host
    this.flow = flow
  }

  /** Waits until both sides have ended. */
  wait(): void {
    if (this.host.stack.readableBytes(this.flow) > 0) this.abort()
    else this.timer = setTimeout(() => this.abort(), PATIENCE_MS).unref()
  }

  handleOutput(output: FlowOutput): void {
    if (output.type === 'flow-closed') clearTimeout(this.timer)
    else if (output.type === 'flow-readable') this.abort()
  }

  handleHostClosed(): void {
    clearTimeout(this.timer)
  }

  private abort(): void {
    this.host.stack.abort(this.flow, this.host.now())
    this.host.touch()
  }
}
