import type { RouteTable } from '@twinbore/core/address'
import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import { DENIED } from './denied-destinations.ts'
import type { SessionTable } from './session-table.ts'

/**
 * Stage: what comes out of a tunnel must carry exactly the address leased to its session (RFC 2827, BCP 38) and must not
 * go where clients have no business. Expects well-formed packets whose owners are sessions. It runs before anything
 * keeps state for a packet.
 */
export function guardIngress(batch: PacketBatch, sessions: SessionTable, destinations: RouteTable): void {
  const { view, offsets, owners, verdicts } = batch
  for (let slot = 0; slot < batch.count; slot++) {
    if (verdicts[slot] !== Verdict.forward) continue
    const offset = offsets[slot]!
    const v4 = view.getUint8(offset) >> 4 === 4
    const own = v4
      ? sessions.holdsIpv4(owners[slot]!, view, offset + 12)
      : sessions.holdsIpv6(owners[slot]!, view, offset + 8)
    if (!own) batch.drop(slot, DropReason.spoofedSource)
    else if ((v4 ? destinations.lookup(view, offset + 16, 4) : destinations.lookup(view, offset + 24, 6)) === DENIED)
      batch.drop(slot, DropReason.deniedDestination)
  }
}
