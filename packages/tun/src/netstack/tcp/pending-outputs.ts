import type { IcmpErrorKind, TcpOutput } from './tcp-events.ts'

const established: TcpOutput = { type: 'established' }
const readable: TcpOutput = { type: 'readable' }
const ended: TcpOutput = { type: 'ended' }
const writable: TcpOutput = { type: 'writable' }
const reset: TcpOutput = { type: 'reset' }
const refused: TcpOutput = { type: 'refused' }
const timedOut: TcpOutput = { type: 'timed-out' }
const closed: TcpOutput = { type: 'closed' }

/** Outputs that wait for `poll`: each at most once, in an order that makes sense, so that a peer can't pile them up. */
export class PendingOutputs {
  established = false
  readable = false
  ended = false
  writable = false
  /** Why the connection ended, when it was not by FIN. */
  failure: 'reset' | 'refused' | 'timed-out' | IcmpErrorKind | undefined
  closed = false

  take(): TcpOutput | undefined {
    if (this.established) {
      this.established = false
      return established
    }
    if (this.readable) {
      this.readable = false
      return readable
    }
    if (this.ended) {
      this.ended = false
      return ended
    }
    if (this.writable) {
      this.writable = false
      if (!this.closed) return writable
    }
    if (this.failure !== undefined) return this.takeFailure(this.failure)
    if (!this.closed) return undefined
    this.closed = false
    return closed
  }

  private takeFailure(failure: NonNullable<PendingOutputs['failure']>): TcpOutput {
    this.failure = undefined
    switch (failure) {
      case 'reset':
        return reset
      case 'refused':
        return refused
      case 'timed-out':
        return timedOut
      default:
        return { type: 'unreachable', kind: failure }
    }
  }
}
