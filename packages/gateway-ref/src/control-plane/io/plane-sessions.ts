import type { SessionRecord } from '@twinbore/core'
import type { Milliseconds } from '@twinbore/core/runtime'
import { ACTIVITY_COLUMNS, type ActivityTable, activityAt } from '../../data-plane/activity.ts'
import type { PlaneCommand } from '../../data-plane/commands.ts'
import type { DataPlaneHost } from '../../data-plane/data-plane.ts'
import type { PlaneEvent } from '../../data-plane/events.ts'
import type { SessionEntry } from '../../data-plane/session-table.ts'
import type { Logger } from '../../log/logger.ts'
import type { Holding } from '../holding.ts'
import { SessionNumbers } from '../session-numbers.ts'
import type { LiveSession } from './live-session.ts'
import { logPlaneEvent } from './plane-lines.ts'

type Record = SessionRecord<Holding<LiveSession>>

export interface PlaneSessionsOptions {
  readonly capacity: number
  readonly log: Logger
  /** Data of a session has passed. */
  readonly noteActivity: (record: Record, now: Milliseconds) => void
  readonly failed: (error: Error) => void
}

/** The live sessions by their numbers in the data plane: hands on what it tells, and tells its successor what it must know. */
export class PlaneSessions implements DataPlaneHost {
  /** Whether sessions may get datagram channels. */
  isDraining = false
  readonly numbers: SessionNumbers<Record>
  private readonly options: PlaneSessionsOptions

  constructor(options: PlaneSessionsOptions) {
    this.options = options
    this.numbers = new SessionNumbers(options.capacity)
  }

  sendOnStream(session: number, bytes: Uint8Array, offset: number, length: number): void {
    this.liveOf(session)?.sendOnStream(bytes, offset, length)
  }

  handleEvent(event: PlaneEvent, now: Milliseconds): void {
    logPlaneEvent(event, this.options.log)
    switch (event.type) {
      case 'session-removed':
        this.numbers.release(event.session)
        break
      case 'association-established':
        this.attachAssociation(event)
        break
      case 'association-closed':
        this.liveOf(event.session)?.detachAssociation(event.association, event.loss)
        break
      case 'association-moved':
        this.liveOf(event.session)?.moveAssociation(event.association, event.to, event.port)
        break
      case 'control-frame':
        this.liveOf(event.session)?.handleDatagramFrame(event.frameType, event.payload)
        break
      case 'datagram-too-big':
        this.liveOf(event.session)?.handleMessageTooBig(event.payloadBytes)
        break
      case 'activity':
        this.noteActivity(event.table, now)
        break
      // The client renews its keys with a new tunnel long before; should it not, the association ends by itself.
      case 'key-limit-near':
      case 'handshake-failed':
      case 'translator':
        break
    }
  }

  *restore(): Iterable<PlaneCommand> {
    for (const { lease } of this.numbers.taken()) {
      if (!lease?.live) continue
      const { index: session, mtu } = lease.live
      yield { type: 'install-session', session, entry: entryOf(lease, mtu), isRestored: true }
      if (!this.isDraining) yield permission(session, lease)
      yield { type: 'set-rate', session, rate: lease.rate }
      yield* lease.live.restore()
    }
  }

  handleFailure(error: Error): void {
    this.options.failed(error)
  }

  private attachAssociation(event: PlaneEvent & { readonly type: 'association-established' }): void {
    const holding = this.numbers.find(event.session)?.lease
    if (!holding?.live) return
    const { linkMtu, outerFamily } = holding
    const fitting = linkMtu - (outerFamily === 4 ? 20 : 40) - 8 - event.overhead
    holding.live.attachAssociation(event, Math.min(event.maxPlaintextBytes, fitting))
  }

  private noteActivity(table: ActivityTable, now: Milliseconds): void {
    for (let at = 0; at < table.length; at += ACTIVITY_COLUMNS) {
      const activity = activityAt(table, at)
      const record = this.numbers.find(activity.session)
      if (!record) continue
      this.options.noteActivity(record, now)
      record.lease?.live?.noteActivity(activity)
    }
  }

  private liveOf(session: number): LiveSession | undefined {
    return this.numbers.find(session)?.lease?.live
  }
}

/** What the data plane installs for a session. */
export function entryOf({ addresses, permissions }: Holding<LiveSession>, mtu: number): SessionEntry {
  return { ipv4: addresses.ipv4?.bytes, ipv6: addresses.ipv6?.bytes, mtu, ...(permissions && { permissions }) }
}

/** From now on the session's newest App-ID, and no other, opens its datagram channel. */
export function permission(session: number, { appId, pskKey }: Holding<LiveSession>): PlaneCommand {
  return appId ? { type: 'permit', session, appId, key: pskKey } : { type: 'forbid', session }
}
