import type { Milliseconds } from '../runtime/index.ts'
import type { ActiveChannel, FailoverReason } from './events.ts'

// Which channel carries data. The datagram channel is the better one, the stream channel is the one that nearly always
// works; the selector knows where the datagram channel stands, and whether there is a stream:
//
//     fallback   no datagram channel                                  data: stream
//     probing    there is one, but it is not (or no longer) proven    data: stream
//     preferred  it works                                             data: datagram
//     suspect    it works, but a sign of life is overdue              data: datagram
//
// Without a stream, data takes whatever datagram channel there is, proven or not. Against flapping there is a hold: a
// channel that failed soon after it was trusted has to wait before it is trusted again, twice as long each time.

/** Where the datagram channel stands. */
export type SelectorState = 'fallback' | 'probing' | 'preferred' | 'suspect'

/** What may happen to the datagram channel. */
export type DatagramEvent =
  /** An association is established. */
  | 'opened'
  /** A probe came back: both directions work. */
  | 'proven'
  /** A sign of life is overdue. */
  | 'doubted'
  /** It came after all. */
  | 'cleared'
  /** It didn't come. */
  | 'silent'
  | 'closed'
  /** The peer doesn't use the datagram channel any more. */
  | 'peer-left'
  /** The peer uses it again. */
  | 'peer-returned'
  /** A new stream took over; the gateway may have forgotten the association of the old one. */
  | 'stream-renewed'

/** The transitions of the datagram channel. An event that has no entry in a state changes nothing. */
export const selectorTransitions: Readonly<
  Record<SelectorState, Readonly<Partial<Record<DatagramEvent, SelectorState>>>>
> = {
  fallback: { opened: 'probing' },
  probing: { proven: 'preferred', 'peer-returned': 'preferred', closed: 'fallback' },
  preferred: {
    doubted: 'suspect',
    silent: 'probing',
    'peer-left': 'probing',
    'stream-renewed': 'probing',
    closed: 'fallback',
  },
  suspect: {
    opened: 'probing',
    proven: 'preferred',
    cleared: 'preferred',
    'peer-returned': 'preferred',
    silent: 'probing',
    'peer-left': 'probing',
    'stream-renewed': 'probing',
    closed: 'fallback',
  },
}

/** Data moved. */
export interface ChannelChange {
  readonly from: ActiveChannel
  readonly to: ActiveChannel
  readonly reason: FailoverReason
}

export interface ChannelSelectorOptions {
  /** A datagram channel that fails within this time after it was trusted is held. @defaultValue 10_000 */
  readonly stableMs?: number
  /** The first hold; each further one is twice as long. @defaultValue 1000 */
  readonly firstHoldMs?: number
  /** @defaultValue 30_000 */
  readonly mostHoldMs?: number
}

export class ChannelSelector {
  /** Where data goes. */
  active: ActiveChannel = 'none'
  state: SelectorState = 'fallback'
  private readonly stableMs: number
  private readonly firstHoldMs: number
  private readonly mostHoldMs: number
  private hasStream = false
  private everPreferred = false
  private trustedAt: Milliseconds = Number.NEGATIVE_INFINITY
  private holdMs: Milliseconds = 0
  private heldUntil: Milliseconds = Number.NEGATIVE_INFINITY

  constructor(options: ChannelSelectorOptions = {}) {
    this.stableMs = options.stableMs ?? 10_000
    this.firstHoldMs = options.firstHoldMs ?? 1000
    this.mostHoldMs = options.mostHoldMs ?? 30_000
  }

  /** Whether the datagram channel carries data by its own merit. */
  get trustsDatagram(): boolean {
    return this.state === 'preferred' || this.state === 'suspect'
  }

  /** Whether a proof now would bring data back to the datagram channel, or is too early after repeated failures. */
  mayReturn(now: Milliseconds): boolean {
    return now >= this.heldUntil
  }

  /** Something happened to the datagram channel. Returns the move of data that follows from it, if any. */
  apply(event: DatagramEvent, now: Milliseconds): ChannelChange | undefined {
    const next = selectorTransitions[this.state][event]
    if (next === undefined) return undefined
    if (event === 'proven' && this.state === 'probing' && !this.mayReturn(now)) return undefined
    const trusted = this.trustsDatagram
    const first = !this.everPreferred
    this.state = next
    if (this.trustsDatagram && !trusted) {
      this.everPreferred = true
      this.trustedAt = now
    } else if (trusted && !this.trustsDatagram && event !== 'stream-renewed') {
      this.hold(now)
    }
    return this.settle(reasonOf(event, first))
  }

  /** A stream was attached. */
  streamAttached(): ChannelChange | undefined {
    this.hasStream = true
    return this.settle('established')
  }

  /** The stream is gone. */
  streamLost(): ChannelChange | undefined {
    this.hasStream = false
    return this.settle('stream-lost')
  }

  private hold(now: Milliseconds): void {
    const early = now - this.trustedAt < this.stableMs
    this.holdMs = early ? Math.min(this.mostHoldMs, this.holdMs === 0 ? this.firstHoldMs : this.holdMs * 2) : 0
    this.heldUntil = now + this.holdMs
  }

  private settle(reason: FailoverReason): ChannelChange | undefined {
    const from = this.active
    const stream = this.hasStream && !this.trustsDatagram
    const to = stream ? 'stream' : this.state === 'fallback' ? 'none' : 'datagram'
    if (from === to) return undefined
    this.active = to
    return { from, to, reason }
  }
}

function reasonOf(event: DatagramEvent, first: boolean): FailoverReason {
  switch (event) {
    case 'opened':
      return 'established'
    case 'proven':
    case 'cleared':
    case 'doubted':
      return first ? 'established' : 'datagram-recovered'
    case 'silent':
      return 'datagram-silent'
    case 'closed':
      return 'datagram-closed'
    case 'peer-left':
      return 'peer-left-datagram'
    case 'peer-returned':
      return first ? 'established' : 'peer-returned'
    case 'stream-renewed':
      return 'stream-renewed'
  }
}
