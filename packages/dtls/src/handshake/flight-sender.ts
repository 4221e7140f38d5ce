import { Counter, type Counters } from '../counters.ts'
import type { Milliseconds } from '../machine.ts'
import type { DtlsConfig } from '../options.ts'
import type { WriteEpoch } from '../record/epoch-keys.ts'
import { type FlightItem, layOutFlight } from './flight.ts'
import type { FlightPlan } from './handshake.ts'
import { Retransmission } from './retransmission.ts'

/** Sends flights, and sends the last one again when time or the peer asks for it. RFC 6347 §4.2.4. */
export class FlightSender {
  private readonly mtu: number
  private readonly counters: Counters
  private readonly transmit: (datagram: Uint8Array) => void
  private readonly retransmission: Retransmission
  private items: FlightItem[] = []

  constructor(config: DtlsConfig, counters: Counters, transmit: (datagram: Uint8Array) => void) {
    this.mtu = config.mtu
    this.counters = counters
    this.transmit = transmit
    this.retransmission = new Retransmission(config.retransmitTimeoutMs, config.maxRetransmitTimeoutMs)
  }

  /** When `handleDeadline` has something to do. */
  get deadline(): Milliseconds | undefined {
    return this.retransmission.deadline
  }

  /** Sends a flight for the first time. `secure` is the epoch of its protected part. */
  send(plan: FlightPlan, plain: WriteEpoch, secure: WriteEpoch | undefined, now: Milliseconds): void {
    this.items = plan.plain.map(message => ({ epoch: plain, message }))
    if (plan.secured.length > 0) {
      this.items.push({ epoch: plain, message: undefined })
      for (const message of plan.secured) this.items.push({ epoch: secure!, message })
    }
    if (plan.final) this.retransmission.beginFinal(now)
    else this.retransmission.begin(now)
    this.transmitItems()
  }

  /** The flight has arrived; the peer's timer drives from here on. */
  stop(): void {
    this.retransmission.stop()
  }

  /** Forgets the flight. */
  clear(): void {
    this.stop()
    this.items = []
  }

  handleDeadline(now: Milliseconds): void {
    if (this.deadline === undefined || now < this.deadline) return
    this.retransmission.handleTimeout(now)
    this.repeat()
  }

  /** The peer repeats its flight, so it may have missed this one. Returns whether it was sent again. */
  answerRepeat(now: Milliseconds): boolean {
    if (!this.retransmission.answersRepeat(now)) return false
    this.repeat()
    return true
  }

  private repeat(): void {
    this.counters.add(Counter.retransmissions)
    this.transmitItems()
  }

  private transmitItems(): void {
    const mtu = this.retransmission.effectiveMtu(this.mtu)
    for (const datagram of layOutFlight(this.items, mtu)) this.transmit(datagram)
  }
}
