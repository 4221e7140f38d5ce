import type { Milliseconds } from '@twinbore/core/runtime'
import { Carrier, type SessionTable, type Traffic } from './session-table.ts'

/**
 * Rows of `ACTIVITY_COLUMNS` numbers, one for each session and channel on which something passed: session, channel
 * (`Carrier`), packets and bytes received, packets and bytes sent, when something was received last, and since when
 * something was sent that nothing has answered (or when something was sent last). Times are of the control plane's clock.
 */
export type ActivityTable = Float64Array

export const ACTIVITY_COLUMNS = 8

/** What one row says. */
export interface Activity extends Traffic {
  readonly session: number
  readonly carrier: Carrier
  readonly receivedAt: Milliseconds
  readonly sentAt: Milliseconds
}

/** The row that begins at `at`. */
export function activityAt(table: ActivityTable, at: number): Activity {
  return {
    session: table[at]!,
    carrier: table[at + 1]! as Carrier,
    packetsReceived: table[at + 2]!,
    bytesReceived: table[at + 3]!,
    packetsSent: table[at + 4]!,
    bytesSent: table[at + 5]!,
    receivedAt: table[at + 6]!,
    sentAt: table[at + 7]!,
  }
}

/** Data that turns up on another channel than before is told at once, but not more often than this. */
const URGENT_INTERVAL_MS = 2

/**
 * Gathers what passed for each session, so that the control plane hears of it in portions: the first after a pause at once,
 * what follows every `intervalMs`, and sooner when data of a client turns up on its other channel, as channel selection
 * hinges on that. Since rows carry times, dead-peer detection loses nothing by the wait.
 *
 * Memory: about 130 bytes a session.
 */
export class ActivityLedger {
  private readonly sessions: SessionTable
  private readonly intervalMs: Milliseconds
  /** Per session and channel: a row of an `ActivityTable` without its first two columns. */
  private readonly cells: Float64Array
  private readonly touched: Int32Array
  private readonly isTouched: Uint8Array
  private touchedCount = 0
  /** The channel on which each session was heard last. */
  private readonly heardOn: Uint8Array
  private toldAt: Milliseconds = Number.NEGATIVE_INFINITY
  private dueAt: Milliseconds | undefined
  private now: Milliseconds = 0
  private readonly note = (session: number, carrier: Carrier, traffic: Traffic) => this.add(session, carrier, traffic)

  /** @param intervalMs - 0 makes everything due at once. */
  constructor(sessions: SessionTable, intervalMs: Milliseconds) {
    this.sessions = sessions
    this.intervalMs = intervalMs
    this.cells = new Float64Array(sessions.capacity * 2 * CELLS)
    this.touched = new Int32Array(sessions.capacity * 2)
    this.isTouched = new Uint8Array(sessions.capacity * 2)
    this.heardOn = new Uint8Array(sessions.capacity)
  }

  /** When the control plane should be told; `undefined` when there is nothing to tell. */
  get deadline(): Milliseconds | undefined {
    return this.dueAt
  }

  /** Takes over what the session table has counted since the last call: call it after each batch. */
  collect(now: Milliseconds): void {
    this.now = now
    this.sessions.drainActivity(this.note)
  }

  /** Forgets what is known of a session. */
  forget(session: number): void {
    this.cells.fill(0, session * 2 * CELLS, (session + 1) * 2 * CELLS)
    this.heardOn[session] = Carrier.none
  }

  /** What has passed since the last call; `undefined` when that is nothing. */
  take(now: Milliseconds): ActivityTable | undefined {
    this.dueAt = undefined
    this.toldAt = now
    const { cells } = this
    const table = new Float64Array(this.touchedCount * ACTIVITY_COLUMNS)
    let at = 0
    for (let n = 0; n < this.touchedCount; n++) {
      const place = this.touched[n]!
      this.isTouched[place] = 0
      const from = place * CELLS
      // Its session may be gone.
      if (cells[from] === 0 && cells[from + 2] === 0) continue
      table[at] = place >> 1
      table[at + 1] = (place & 1) + 1
      for (let i = 0; i < CELLS; i++) table[at + 2 + i] = cells[from + i]!
      cells.fill(0, from, from + CELLS)
      at += ACTIVITY_COLUMNS
    }
    this.touchedCount = 0
    return at === 0 ? undefined : table.subarray(0, at)
  }

  private add(session: number, carrier: Carrier, traffic: Traffic): void {
    const place = session * 2 + carrier - 1
    const at = place * CELLS
    const { cells, now } = this
    if (this.isTouched[place] === 0) {
      this.isTouched[place] = 1
      this.touched[this.touchedCount++] = place
    }
    cells[at] = cells[at]! + traffic.packetsReceived
    cells[at + 1] = cells[at + 1]! + traffic.bytesReceived
    cells[at + 2] = cells[at + 2]! + traffic.packetsSent
    cells[at + 3] = cells[at + 3]! + traffic.bytesSent
    if (traffic.packetsReceived > 0) cells[at + 4] = now
    // What was sent before the last sign of life is answered; the wait begins with what came after it.
    if (traffic.packetsSent > 0 && (cells[at + 5] === 0 || cells[at + 5]! < cells[at + 4]!)) cells[at + 5] = now

    let due = Math.max(now, this.toldAt + this.intervalMs)
    if (traffic.packetsReceived > 0 && this.heardOn[session] !== carrier) {
      this.heardOn[session] = carrier
      due = Math.min(due, Math.max(now, this.toldAt + URGENT_INTERVAL_MS))
    }
    if (this.dueAt === undefined || due < this.dueAt) this.dueAt = due
  }
}

/** Packets and bytes received, packets and bytes sent, received at, sent at. */
const CELLS = 6
