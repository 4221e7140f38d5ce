import { DropReason, locateTransport, type PacketBatch, Verdict } from '@twinbore/core/packet'
import { PermittedDestinations, type PlanePermission } from './permitted-destinations.ts'

/** One compiled set of permissions, and how many sessions have it. */
interface SharedSet {
  readonly key: string
  readonly destinations: PermittedDestinations
  sessions: number
}

/**
 * What each session may reach, where that is not everything that the gateway lets anybody reach. Both directions are looked
 * at, so that a flow dies that is not permitted any more. Sessions with the same permissions share them.
 *
 * Memory: 8 bytes a session, and the sets.
 */
export class SessionPermissions {
  private readonly sets: (SharedSet | undefined)[]
  private readonly byKey = new Map<string, SharedSet>()
  /** How many sessions are limited: with none, batches are not looked at. */
  private limited = 0

  constructor(capacity: number) {
    this.sets = Array.from({ length: capacity })
  }

  /** From now on a session may reach this and nothing else; `undefined`: everything. @throws RangeError for a prefix that is none */
  set(session: number, permissions: readonly PlanePermission[] | undefined): void {
    const set = permissions && this.share(permissions)
    const before = this.sets[session]
    if (before) {
      this.limited--
      before.sessions--
      if (before.sessions === 0) this.byKey.delete(before.key)
    }
    if (set) this.limited++
    this.sets[session] = set
  }

  /** How many different sets there are. */
  get size(): number {
    return this.byKey.size
  }

  /** Stage: drops what clients may not send. Owners are sessions; packets are well-formed. */
  guardOutbound(batch: PacketBatch): void {
    if (this.limited > 0) this.guard(batch, true)
  }

  /** Stage: drops what comes to clients from where they may not go. */
  guardInbound(batch: PacketBatch): void {
    if (this.limited > 0) this.guard(batch, false)
  }

  private guard(batch: PacketBatch, outbound: boolean): void {
    const { view, offsets, owners, verdicts, locations } = batch
    for (let slot = 0; slot < batch.count; slot++) {
      if (verdicts[slot] !== Verdict.forward) continue
      const set = this.sets[owners[slot]!]
      if (!set) continue
      const offset = offsets[slot]!
      const location = locations[slot]! || locateTransport(view, offset, headBytes(batch, slot))
      const { destinations } = set
      const passes =
        location > 0 &&
        (outbound
          ? destinations.permitsOutbound(view, offset, location)
          : destinations.permitsInbound(view, offset, location))
      if (!passes) batch.drop(slot, DropReason.notPermitted)
    }
  }

  private share(permissions: readonly PlanePermission[]): SharedSet {
    const key = JSON.stringify(permissions)
    let set = this.byKey.get(key)
    if (!set) {
      set = { key, destinations: new PermittedDestinations(permissions), sessions: 0 }
      this.byKey.set(key, set)
    }
    set.sessions++
    return set
  }
}

function headBytes(batch: PacketBatch, slot: number): number {
  return batch.next[slot] === -1 ? batch.lengths[slot]! : batch.ownLengths[slot]!
}
