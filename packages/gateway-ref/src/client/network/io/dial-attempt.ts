import { type FlowListener, type FlowOutput, flowError, flowErrorCode, type StackHost } from '@twinbore/tun/io'

/** One attempt to connect to one address. */
export class DialAttempt implements FlowListener {
  flow = -1
  private readonly host: StackHost
  private readonly remote: { readonly address: string; readonly port: number }
  /** `undefined`: it is established. */
  private readonly onEnd: (error: Error | undefined) => void
  private icmp: Extract<FlowOutput, { type: 'icmp-error' }>['kind'] | undefined

  constructor(host: StackHost, address: string, port: number, onEnd: (error: Error | undefined) => void) {
    this.host = host
    this.remote = { address, port }
    this.onEnd = onEnd
  }

  open(): void {
    this.flow = this.host.openTcp({ remote: this.remote }, this)
    if (this.flow === -1) this.onEnd(flowError('EADDRNOTAVAIL', 'connect', this.remote))
  }

  abandon(): void {
    if (this.flow === -1) return
    this.host.stack.abort(this.flow, this.host.now())
    this.host.touch()
  }

  handleOutput(output: FlowOutput): void {
    switch (output.type) {
      case 'flow-established':
        this.onEnd(undefined)
        break
      case 'icmp-error':
        this.icmp = output.kind
        break
      case 'flow-reset':
        if (output.reason !== 'local') {
          this.onEnd(flowError(flowErrorCode(output.reason, this.icmp), 'connect', this.remote))
        }
        break
      case 'flow-closed':
        this.flow = -1
        break
    }
  }

  handleHostClosed(reason: Error): void {
    this.flow = -1
    this.onEnd(reason)
  }
}
