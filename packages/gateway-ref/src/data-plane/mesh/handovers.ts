import { PacketBatch, type PacketBatchOptions, Verdict } from '@twinbore/core/packet'
import { Carrier, type SessionTable } from '../session-table.ts'
import type { RoamingClients } from './roaming-clients.ts'
import { EVERYBODY, type Steering } from './steering.ts'
import { Handover, type WorkerMesh } from './worker-mesh.ts'

/** Where packets of each kind are put that others hand to this worker. */
export interface HandoverBatches {
  readonly fromDevice: PacketBatch
  readonly fromTunnel: PacketBatch
  readonly toTunnel: PacketBatch
}

/**
 * The stages at which a packet may go on in another worker:
 *
 *     outbound  guard -> **home** -> translate                 (nothing, when the kernel translates)
 *     inbound   device -> **whose port** -> translate -> gate -> **owner** -> tunnel
 *               device -> session -> **owner**                 (when the kernel translates)
 *
 * Before all that a datagram of a client that has moved may come from another worker, see `RoamingClients`. A packet then changes
 * hands at most twice, and those of a session and direction all take the same way as long as its owner stays.
 */
export class Handovers {
  readonly batches: HandoverBatches
  private readonly mesh: WorkerMesh
  private readonly sessions: SessionTable
  private readonly steering: Steering | undefined
  private readonly roaming: RoamingClients | undefined

  /**
   * @param steering - absent when the kernel translates
   * @param roaming - absent without datagram channels
   * @param fromDevice - the layout of batches that hold what a device gives
   */
  constructor(
    mesh: WorkerMesh,
    sessions: SessionTable,
    steering: Steering | undefined,
    roaming: RoamingClients | undefined,
    { fromDevice, single }: { readonly fromDevice: PacketBatchOptions; readonly single: PacketBatchOptions },
  ) {
    this.mesh = mesh
    this.sessions = sessions
    this.steering = steering
    this.roaming = roaming
    this.batches = {
      fromDevice: new PacketBatch(fromDevice),
      fromTunnel: new PacketBatch(single),
      toTunnel: new PacketBatch(fromDevice),
    }
  }

  /** Stage, behind the device: packets of flows that another worker translates leave. What is nobody's stays. */
  passToTranslator(batch: PacketBatch): void {
    const { mesh, steering } = this
    if (!steering) return
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const worker = steering.workerOf(batch, slot)
      if (worker === EVERYBODY) mesh.copyToAll(batch, slot, Handover.fromDevice)
      else if (worker !== -1 && worker !== mesh.self) mesh.handOver(batch, slot, worker, Handover.fromDevice)
    }
  }

  /** Stage, where the kernel translates and sessions are known: those of another worker leave, before they are limited. */
  passToTunnel(batch: PacketBatch): void {
    if (this.steering) return
    const { mesh } = this
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const session = batch.owners[slot]!
      const owner = mesh.places.ownerOf(session)
      const worker = owner === -1 ? session % mesh.workers : owner
      if (worker !== mesh.self) mesh.handOver(batch, slot, worker, Handover.fromDevice)
    }
  }

  /** Stage, behind the guard: packets of sessions that another worker translates for leave. */
  passHome(batch: PacketBatch): void {
    if (!this.steering) return
    const { mesh } = this
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const home = mesh.places.claimHome(batch.owners[slot]!, mesh.self)
      if (home !== mesh.self) mesh.handOver(batch, slot, home, Handover.fromTunnel)
    }
  }

  /** Stage, before the tunnel: packets for associations of another worker leave. */
  passToOwner(batch: PacketBatch): void {
    const { mesh, sessions } = this
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const session = batch.owners[slot]!
      if (sessions.carriers[session] !== Carrier.datagram) continue
      const owner = mesh.places.ownerOf(session)
      if (owner !== -1 && owner !== mesh.self) mesh.handOver(batch, slot, owner, Handover.toTunnel)
    }
  }

  /** Fills `batches`, and those of roaming clients, with what others have handed over, each on its own. Returns whether that was all. */
  take(): boolean {
    const { fromDevice, fromTunnel, toTunnel } = this.batches
    const { roaming } = this
    for (const batch of roaming?.batches ?? []) batch.reset()
    fromDevice.reset()
    fromTunnel.reset()
    toTunnel.reset()
    return this.mesh.drain(kind => {
      if (kind === Handover.fromDevice) return fromDevice
      if (kind === Handover.fromTunnel) return fromTunnel
      return kind === Handover.toTunnel ? toTunnel : roaming!.batchOf(kind)
    })
  }
}
