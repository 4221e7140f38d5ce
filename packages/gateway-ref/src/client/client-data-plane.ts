import {
  checkPackets,
  clampMssToMtu,
  DropReason,
  PacketBatch,
  type PacketBatchOptions,
  Verdict,
} from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { PacketDevice } from '@twinbore/tun'
import type { SessionTable } from '../data-plane/session-table.ts'
import { type DatagramPath, type TunnelOutlets, TunnelSide } from '../data-plane/tunnel-side.ts'

export interface ClientDataPlaneOptions {
  /** A table of one: the client's own session, number `CLIENT_SESSION`. */
  readonly sessions: SessionTable
  readonly outlets: TunnelOutlets
  /** Towards the applications of this computer. */
  readonly device: PacketDevice
  readonly batch?: PacketBatchOptions
}

/** The number of a client's only session in its table. */
export const CLIENT_SESSION = 0

/**
 * A client's pipelines over batches, the mirror of the gateway's:
 *
 *     outbound: device -> check -> is the source our lease? -> clamp -> tunnel side
 *     inbound:  tunnel side -> check -> is the destination our lease? -> clamp -> device
 */
export class ClientDataPlane {
  readonly tunnels: TunnelSide
  /** The newest datagram path; packets go out on it while the session's carrier is the datagram channel. */
  path: DatagramPath | undefined
  private readonly options: ClientDataPlaneOptions
  private readonly fromDevice: PacketBatch

  constructor(options: ClientDataPlaneOptions) {
    this.options = options
    this.tunnels = new TunnelSide(options.sessions, options.outlets, options.batch ?? {})
    this.fromDevice = new PacketBatch(options.batch)
  }

  /** Takes one batch of packets from the device. Returns whether it was drained. */
  pumpDevice(now: Milliseconds): boolean {
    const batch = this.fromDevice
    batch.reset()
    this.options.device.read(batch)
    const drained = !batch.full
    checkPackets(batch)
    this.keepOwn(batch, 12, 8)
    this.tunnels.send(batch, this.path, now)
    return drained
  }

  /** Takes one batch of datagrams from `path`, which may be older than `this.path`. Returns whether it was drained. */
  pumpPath(path: DatagramPath, now: Milliseconds): boolean {
    const drained = this.tunnels.receive(path, now)
    this.deliver(this.tunnels.received)
    return drained
  }

  /** Packets that came out of the tunnel (through the stream channel too) go to the device. */
  deliver(batch: PacketBatch): void {
    checkPackets(batch)
    this.keepOwn(batch, 16, 24)
    this.options.device.write(batch)
  }

  /** Drops since the start, indexed by `DropReason`, over both directions. */
  drops(): Float64Array {
    return this.fromDevice.drops.map((count, reason) => count + this.tunnels.received.drops[reason]!)
  }

  /** Keeps packets that carry the lease at the given place of their header, makes them the session's, clamps their MSS. */
  private keepOwn(batch: PacketBatch, ipv4At: number, ipv6At: number): void {
    const { sessions } = this.options
    const { view, offsets, lengths, verdicts } = batch
    const mtu = sessions.mtus[CLIENT_SESSION]!
    for (let slot = 0; slot < batch.count; slot++) {
      if (verdicts[slot] !== Verdict.forward) continue
      const offset = offsets[slot]!
      const own =
        view.getUint8(offset) >> 4 === 4
          ? sessions.holdsIpv4(CLIENT_SESSION, view, offset + ipv4At)
          : sessions.holdsIpv6(CLIENT_SESSION, view, offset + ipv6At)
      if (!own) {
        batch.drop(slot, DropReason.spoofedSource)
        continue
      }
      batch.owners[slot] = CLIENT_SESSION
      clampMssToMtu(view, offset, lengths[slot]!, mtu)
    }
  }
}
