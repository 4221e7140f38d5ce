import {
  checkPackets,
  clampMssToMtus,
  DropReason,
  PacketBatch,
  type PacketBatchOptions,
  Verdict,
} from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import { coalescePackets, type PacketDevice } from '@twinbore/tun'
import { deviceLayout, withMemory } from '../data-plane/device-layout.ts'
import { MtuGate } from '../data-plane/mtu-gate.ts'
import { Carrier, type SessionEntry, SessionTable } from '../data-plane/session-table.ts'
import { type DatagramPath, type TunnelOutlets, TunnelSide } from '../data-plane/tunnel-side.ts'

export interface ClientDataPlaneOptions {
  readonly lease: SessionEntry
  readonly outlets: TunnelOutlets
  /** Towards the applications of this computer. */
  readonly device: PacketDevice
  readonly batch?: PacketBatchOptions
}

/** The number of a client's only session in its table. */
export const CLIENT_SESSION = 0
/** The only association of a datagram path, in the same table. */
export const CLIENT_ASSOCIATION = 0

/**
 * A client's pipelines over batches, the mirror of the gateway's:
 *
 *     outbound: device -> check -> is the source our lease? -> MTU gate -> clamp -> tunnel side
 *     inbound:  tunnel side -> check -> is the destination our lease? -> clamp -> coalesce -> device
 */
export class ClientDataPlane {
  readonly sessions: SessionTable = new SessionTable(1)
  readonly tunnels: TunnelSide
  /** Where the stream channel puts its packets. */
  readonly fromStream: PacketBatch
  /** The newest datagram path; packets go out on it while the session's carrier is the datagram channel. */
  path: DatagramPath | undefined
  private readonly options: ClientDataPlaneOptions
  private readonly fromDevice: PacketBatch
  /** ICMP errors of the MTU gate, one at a time. */
  private readonly errors: PacketBatch
  private readonly gate: MtuGate
  private lease: SessionEntry

  constructor(options: ClientDataPlaneOptions) {
    // Clients inside a process may be many, and each memory takes many addresses: only one with a kernel's interface has one.
    const isKernel = options.device.descriptor !== undefined
    const batch = isKernel ? withMemory(options.device, options.batch ?? {}) : (options.batch ?? {})
    this.options = options
    this.tunnels = new TunnelSide(this.sessions, options.outlets, batch)
    this.fromStream = new PacketBatch(batch)
    this.fromDevice = new PacketBatch(deviceLayout(options.device, batch))
    this.errors = new PacketBatch({ ...batch, capacity: 1 })
    this.gate = new MtuGate({
      sessions: this.sessions,
      // This computer tells itself what fits.
      sourceOf: family => (family === 4 ? this.lease.ipv4 : this.lease.ipv6),
      sendFragments: (fragments, now) => this.tunnels.send(fragments, this.path, now),
      sendError: error => this.sendError(error),
      batch,
    })
    this.lease = options.lease
    this.setLease(options.lease)
  }

  /** Takes the addresses that the gateway leases from now on. The channel that carries the session stays. */
  setLease(lease: SessionEntry): void {
    const { sessions } = this
    const carrier = sessions.carriers[CLIENT_SESSION]!
    sessions.remove(CLIENT_SESSION)
    sessions.install(lease)
    sessions.setAssociation(CLIENT_SESSION, CLIENT_ASSOCIATION)
    sessions.carriers[CLIENT_SESSION] = carrier
    this.lease = lease
  }

  /** Takes one batch of packets from the device. Returns whether it was drained. */
  pumpDevice(now: Milliseconds): boolean {
    const batch = this.fromDevice
    batch.reset()
    this.options.device.read(batch)
    const drained = !batch.full
    checkPackets(batch)
    this.keepOwn(batch, 12, 8)
    this.gate.check(batch, now)
    this.tunnels.send(batch, this.path, now)
    return drained
  }

  /** Takes one batch of datagrams from `path`, which may be older than `this.path`. Returns whether it was drained. */
  pumpPath(path: DatagramPath, now: Milliseconds): boolean {
    const drained = this.tunnels.receive(path, now)
    this.deliver(this.tunnels.received)
    return drained
  }

  /** Packets that came through the stream channel, in `fromStream`. */
  handleStreamPackets(batch: PacketBatch): void {
    this.sessions.countReceived(batch, Carrier.stream)
    this.deliver(batch)
  }

  /** Drops since the start, indexed by `DropReason`, over both directions. */
  drops(): Float64Array {
    const sum = this.fromDevice.drops.slice()
    for (const { drops } of [...this.tunnels.batches, this.fromStream, this.errors, this.gate.fragments]) {
      for (let reason = 0; reason < sum.length; reason++) sum[reason] = sum[reason]! + drops[reason]!
    }
    return sum
  }

  private deliver(batch: PacketBatch): void {
    checkPackets(batch)
    this.keepOwn(batch, 16, 24)
    const { device } = this.options
    if (device.superPackets) coalescePackets(batch, device.superDatagrams)
    device.write(batch)
  }

  private sendError(error: Uint8Array): void {
    const batch = this.errors
    batch.reset()
    batch.push(error)
    this.options.device.write(batch)
  }

  /** Keeps packets that carry the lease at the given place of their header, makes them the session's, clamps their MSS. */
  private keepOwn(batch: PacketBatch, ipv4At: number, ipv6At: number): void {
    const { sessions } = this
    const { view, offsets, verdicts } = batch
    for (let slot = 0; slot < batch.count; slot++) {
      if (verdicts[slot] !== Verdict.forward) continue
      const offset = offsets[slot]!
      const own =
        view.getUint8(offset) >> 4 === 4
          ? sessions.holdsIpv4(CLIENT_SESSION, view, offset + ipv4At)
          : sessions.holdsIpv6(CLIENT_SESSION, view, offset + ipv6At)
      if (own) batch.owners[slot] = CLIENT_SESSION
      else batch.drop(slot, DropReason.spoofedSource)
    }
    clampMssToMtus(batch, sessions.mtus)
  }
}
