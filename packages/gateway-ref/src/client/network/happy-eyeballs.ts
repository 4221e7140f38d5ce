// Which of a host's addresses to connect to: RFC 8305, without the history of earlier connections.
//
//   addresses of both families -> one list, families in turn -> attempts, the next one when the last has failed or has had
//   250 ms -> the first that is established wins, the others are given up
import type { IpAddress } from '@twinbore/core/address'
import { type Machine, type Milliseconds, OutputQueue } from '@twinbore/core/runtime'

/** RFC 8305 §5: Connection Attempt Delay. */
export const CONNECTION_ATTEMPT_DELAY_MS = 250
/** RFC 8305 §3: Resolution Delay, how long IPv4 addresses wait for those of IPv6. */
export const RESOLUTION_DELAY_MS = 50

export type HappyEyeballsOutput =
  /** Connect to an address, and say how it went. */
  | { readonly type: 'attempt'; readonly attempt: number; readonly address: IpAddress }
  /** Give an attempt up. */
  | { readonly type: 'abandon'; readonly attempt: number }
  /** An attempt is established: it is the connection. */
  | { readonly type: 'connected'; readonly attempt: number }
  /** Every attempt failed, and no address is left. */
  | { readonly type: 'failed' }

type AttemptState = 'running' | 'over'

/** See the top of the file. `connected` or `failed` is the last output. */
export class HappyEyeballs implements Machine<HappyEyeballsOutput> {
  deadline: Milliseconds | undefined = undefined
  private readonly outputs = new OutputQueue<HappyEyeballsOutput>()
  private readonly waiting: { 4: IpAddress[]; 6: IpAddress[] } = { 4: [], 6: [] }
  /** Families whose addresses are still being looked up. */
  private readonly unresolved: Set<4 | 6>
  private readonly attempts: AttemptState[] = []
  private lastFamily: 4 | 6 = 4
  private isClosed = false

  /** @param families those that are looked up; each is answered by `addAddresses` once */
  constructor(families: readonly (4 | 6)[]) {
    this.unresolved = new Set(families)
  }

  poll(): HappyEyeballsOutput | undefined {
    return this.outputs.take()
  }

  /** The addresses of a family are known, or that there are none. */
  addAddresses(family: 4 | 6, addresses: readonly IpAddress[], now: Milliseconds): void {
    if (this.isClosed) return
    this.waiting[family].push(...addresses)
    this.unresolved.delete(family)
    if (this.attempts.includes('running')) {
      // The last attempt had its time when there was nothing else to try.
      if (this.deadline === undefined) this.attemptNext(now)
      return
    }
    // IPv6 begins at once; IPv4 lets it go first if it is not far behind (RFC 8305 §3).
    if (family === 4 && addresses.length > 0 && this.unresolved.has(6)) this.deadline = now + RESOLUTION_DELAY_MS
    else this.attemptNext(now)
  }

  attemptFailed(attempt: number, now: Milliseconds): void {
    if (this.isClosed || this.attempts[attempt] !== 'running') return
    this.attempts[attempt] = 'over'
    this.attemptNext(now)
  }

  attemptEstablished(attempt: number, _now: Milliseconds): void {
    if (this.isClosed) return
    this.close()
    this.attempts.forEach((state, other) => {
      if (state === 'running' && other !== attempt) this.outputs.push({ type: 'abandon', attempt: other })
    })
    this.outputs.push({ type: 'connected', attempt })
  }

  handleDeadline(now: Milliseconds): void {
    if (this.deadline !== undefined && now >= this.deadline) this.attemptNext(now)
  }

  private attemptNext(now: Milliseconds): void {
    const address = this.nextAddress()
    if (!address) {
      this.deadline = undefined
      if (this.unresolved.size > 0 || this.attempts.includes('running')) return
      this.close()
      this.outputs.push({ type: 'failed' })
      return
    }
    const attempt = this.attempts.push('running') - 1
    this.deadline = now + CONNECTION_ATTEMPT_DELAY_MS
    this.outputs.push({ type: 'attempt', attempt, address })
  }

  /** Families take turns, IPv6 first (RFC 8305 §4). */
  private nextAddress(): IpAddress | undefined {
    const preferred = this.lastFamily === 4 ? 6 : 4
    const family = this.waiting[preferred].length > 0 ? preferred : this.lastFamily
    const address = this.waiting[family].shift()
    if (address) this.lastFamily = family
    return address
  }

  private close(): void {
    this.isClosed = true
    this.deadline = undefined
  }
}
