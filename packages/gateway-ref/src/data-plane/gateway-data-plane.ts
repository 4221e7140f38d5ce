import type { RouteTable } from '@twinbore/core/address'
import { checkPackets, clampMssToMtus, DropReason, PacketBatch, type PacketBatchOptions } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { PatOutput } from '@twinbore/pat'
import { coalescePackets, type PacketDevice } from '@twinbore/tun'
import { deviceLayout, withMemory } from './device-layout.ts'
import { FairShares } from './fair-shares.ts'
import { guardIngress } from './ingress-guard.ts'
import { Handovers } from './mesh/handovers.ts'
import type { RoamingClients } from './mesh/roaming-clients.ts'
import type { Steering } from './mesh/steering.ts'
import type { WorkerMesh } from './mesh/worker-mesh.ts'
import { MtuGate } from './mtu-gate.ts'
import type { RateLimits } from './rate-limits.ts'
import { SendQueues } from './send-queues.ts'
import type { SessionPermissions } from './session-permissions.ts'
import { Carrier, type SessionTable } from './session-table.ts'
import { type DatagramPath, type TunnelOutlets, TunnelSide } from './tunnel-side.ts'

/** Packets of stream channels that are handled at once: those of two full super-packets, and some. */
const STREAM_SLOTS = 128

/** Rewrites addresses on the way out and back; `Translator` of `@twinbore/pat` fits. */
export interface PacketTranslator {
  translateOutbound(batch: PacketBatch, now: Milliseconds): void
  translateInbound(batch: PacketBatch, now: Milliseconds): void
  poll(): PatOutput | undefined
}

export interface GatewayDataPlaneOptions {
  readonly sessions: SessionTable
  /** What sessions may send and get. @defaultValue everything */
  readonly rates?: RateLimits | undefined
  /** What single sessions may reach. @defaultValue what any may */
  readonly permissions?: SessionPermissions | undefined
  readonly outlets: TunnelOutlets
  /** Towards the corporate network. */
  readonly device: PacketDevice
  /** Absent when no client gets a datagram channel. */
  readonly path?: DatagramPath | undefined
  /** Absent when the kernel translates. */
  readonly translator?: PacketTranslator | undefined
  /** Made by `deniedDestinations`; `setDestinations` replaces it. */
  readonly destinations: RouteTable
  /** Sources of ICMP errors: the gateway's addresses inside the pool. */
  readonly gatewayAddresses: { readonly ipv4?: Uint8Array | undefined; readonly ipv6?: Uint8Array | undefined }
  /** Of batches that hold single packets: `slotBytes` for the longest packet of a tunnel. */
  readonly batch?: PacketBatchOptions
  /** The other workers of this data plane, which of them translates what comes from the device, and whose clients are heard here. @defaultValue alone */
  readonly mesh?:
    | {
        readonly worker: WorkerMesh
        readonly steering: Steering | undefined
        readonly roaming: RoamingClients | undefined
      }
    | undefined
  /** What the translator tells besides packets. */
  readonly onTranslatorEvent?: (output: PatOutput) => void
}

/**
 * A gateway's pipelines over batches: a machine fed by whoever watches the socket and the device.
 *
 *     outbound: tunnel side -> rate -> check -> guard -> clamp -> coalesce -> translate -> device
 *     inbound:  device -> check -> translate -> session by destination -> fair shares -> MTU gate -> clamp -> tunnel side
 *
 * With a device of super-packets, what costs something per packet ends before `coalesce`, and begins again in the tunnel
 * side's send: between them packets of one flow travel as one.
 *
 * Among several workers a packet may go on in another one, see `Handovers`; `pumpMesh` goes on with what others handed over.
 *
 * Each pump takes one batch and returns whether its source was drained; the loop is the caller's.
 *
 * Memory: the tunnel side's; 2.1 MB for a device of super-packets (32 slots), else 64 slots; 64 slots for stream channels.
 * Among several workers twice the device's, and 64 slots more.
 */
export class GatewayDataPlane {
  readonly tunnels: TunnelSide
  /** Where stream channels put their packets: one batch for all of them, as each empties it before it returns. */
  readonly fromStreams: PacketBatch
  /** What the last `pumpDevice` read. */
  readonly fromDevice: PacketBatch
  private readonly options: GatewayDataPlaneOptions
  /** Packets that the translator made or had held. */
  private readonly released: PacketBatch
  /** ICMP errors of the MTU gate, one at a time. */
  private readonly errors: PacketBatch
  private readonly gate: MtuGate
  /** Of the sessions whose packets wait in the device. */
  private readonly shares = new FairShares()
  private readonly handovers: Handovers | undefined
  private destinations: RouteTable

  constructor(options: GatewayDataPlaneOptions) {
    const { sessions, outlets, gatewayAddresses } = options
    const batch = withMemory(options.device, options.batch ?? {})
    this.options = options
    this.destinations = options.destinations
    this.tunnels = new TunnelSide(sessions, outlets, batch, { queues: new SendQueues(), rates: options.rates })
    this.fromStreams = new PacketBatch({ ...batch, capacity: STREAM_SLOTS })
    const layout = deviceLayout(options.device, batch)
    this.fromDevice = new PacketBatch(layout)
    if (options.mesh) {
      const { worker, steering, roaming } = options.mesh
      this.handovers = new Handovers(worker, sessions, steering, roaming, {
        fromDevice: layout,
        single: batch,
      })
      this.fromDevice.drops[DropReason.queueFull]! += worker.discard()
    }
    this.released = new PacketBatch({ ...batch, capacity: 1 })
    this.errors = new PacketBatch({ ...batch, capacity: 1 })
    this.gate = new MtuGate({
      sessions,
      sourceOf: family => (family === 4 ? gatewayAddresses.ipv4 : gatewayAddresses.ipv6),
      sendFragments: (fragments, now) => this.sendThroughTunnel(fragments, now),
      sendError: (error, now) => this.sendError(error, now),
      batch,
    })
  }

  /** From now on the ingress guard refuses what this table says. */
  setDestinations(destinations: RouteTable): void {
    this.destinations = destinations
  }

  /** Takes one batch of datagrams. Returns whether the socket was drained. */
  pumpSocket(now: Milliseconds): boolean {
    const { path } = this.options
    if (!path) return true
    const drained = this.tunnels.receive(path, now)
    this.forwardOutbound(this.tunnels.received, now)
    return drained
  }

  /** Takes one batch of packets from the device. Returns whether it was drained. */
  pumpDevice(now: Milliseconds): boolean {
    const batch = this.fromDevice
    batch.reset()
    this.options.device.read(batch)
    const drained = !batch.full
    checkPackets(batch)
    this.handovers?.passToTranslator(batch)
    this.options.translator?.translateInbound(batch, now)
    this.options.sessions.resolveDestinations(batch)
    this.handovers?.passToTunnel(batch)
    this.shares.police(batch, now)
    this.shares.settle(drained, now)
    this.sendToSessions(batch, now)
    this.drainTranslator(now)
    return drained
  }

  /**
   * Takes what other workers have handed over, a batch of each kind. Returns whether that was all. What has changed since they
   * looked at a packet is looked at again: a session's number and address may be another one's by now.
   */
  pumpMesh(now: Milliseconds): boolean {
    const { handovers } = this
    if (!handovers) return true
    const { sessions, translator, path, permissions, mesh } = this.options
    const drained = handovers.take()
    const { fromDevice, fromTunnel, toTunnel } = handovers.batches
    if (mesh?.roaming) this.takeRoaming(mesh.roaming, now)
    if (fromDevice.count > 0) {
      checkPackets(fromDevice)
      translator?.translateInbound(fromDevice, now)
      sessions.resolveDestinations(fromDevice)
      this.sendToSessions(fromDevice, now)
    }
    if (fromTunnel.count > 0) {
      checkPackets(fromTunnel)
      guardIngress(fromTunnel, sessions, this.destinations)
      permissions?.guardOutbound(fromTunnel)
      this.leave(fromTunnel, now)
    }
    if (toTunnel.count > 0) {
      sessions.resolveDestinations(toTunnel)
      this.tunnels.send(toTunnel, path, now)
    }
    this.drainTranslator(now)
    return drained
  }

  private takeRoaming(roaming: RoamingClients, now: Milliseconds): void {
    const { datagrams, offers, notices } = roaming
    if (notices.count > 0) roaming.takeNotices(now)
    for (const batch of [datagrams, offers]) {
      if (batch.count === 0) continue
      this.tunnels.open(batch, roaming, now)
      this.forwardOutbound(batch, now)
    }
  }

  /** How many packets, super-packets, datagrams and notices the last `pumpMesh` took. */
  get handedOver(): number {
    if (!this.handovers) return 0
    const { fromDevice, fromTunnel, toTunnel } = this.handovers.batches
    const roaming = this.options.mesh?.roaming
    const roamed = roaming ? roaming.datagrams.count + roaming.offers.count + roaming.notices.count : 0
    return fromDevice.count + fromTunnel.count + toTunnel.count + roamed
  }

  /** When `handleDeadline` is due. */
  get deadline(): Milliseconds | undefined {
    return this.tunnels.deadline
  }

  handleDeadline(now: Milliseconds): void {
    if (this.options.path) this.tunnels.sendWaiting(this.options.path, now)
  }

  /** Packets that came through a stream channel, with their session as owner. */
  handleStreamPackets(batch: PacketBatch, now: Milliseconds): void {
    this.options.sessions.countReceived(batch, Carrier.stream)
    this.forwardOutbound(batch, now)
  }

  /** Packets that came out of tunnels go to the device. */
  private forwardOutbound(batch: PacketBatch, now: Milliseconds): void {
    const { sessions, rates, permissions } = this.options
    rates?.limitReceived(batch, now)
    checkPackets(batch)
    guardIngress(batch, sessions, this.destinations)
    permissions?.guardOutbound(batch)
    clampMssToMtus(batch, sessions.mtus)
    this.handovers?.passHome(batch)
    this.leave(batch, now)
  }

  private leave(batch: PacketBatch, now: Milliseconds): void {
    const { translator, device } = this.options
    if (device.superPackets) coalescePackets(batch, device.superDatagrams)
    translator?.translateOutbound(batch, now)
    device.write(batch)
    this.drainTranslator(now)
  }

  /** What the translator made by itself: errors to either side, fragments that it had held. */
  drainTranslator(now: Milliseconds): void {
    const { translator } = this.options
    if (!translator) return
    for (let output = translator.poll(); output; output = translator.poll()) {
      if (output.type !== 'packet') {
        this.options.onTranslatorEvent?.(output)
        continue
      }
      const batch = this.released
      batch.reset()
      if (batch.push(output.bytes) === -1) batch.drops[DropReason.tooBig]! += 1
      else if (output.direction === 'inbound') this.sendInbound(batch, now)
      else this.options.device.write(batch)
    }
  }

  /** Drops since the start, indexed by `DropReason`, over both directions. */
  drops(): Float64Array {
    const sum = this.fromDevice.drops.slice()
    const own = [this.fromStreams, this.released, this.errors, this.gate.fragments]
    if (this.handovers)
      own.push(...Object.values(this.handovers.batches), ...(this.options.mesh?.roaming?.batches ?? []))
    for (const { drops } of [...this.tunnels.batches, ...own]) {
      for (let reason = 0; reason < sum.length; reason++) sum[reason] = sum[reason]! + drops[reason]!
    }
    return sum
  }

  private sendInbound(batch: PacketBatch, now: Milliseconds): void {
    this.options.sessions.resolveDestinations(batch)
    this.sendToSessions(batch, now)
  }

  /** Owners are sessions. */
  private sendToSessions(batch: PacketBatch, now: Milliseconds): void {
    const { sessions, permissions } = this.options
    permissions?.guardInbound(batch)
    this.gate.check(batch, now)
    clampMssToMtus(batch, sessions.mtus)
    this.sendThroughTunnel(batch, now)
  }

  private sendThroughTunnel(batch: PacketBatch, now: Milliseconds): void {
    this.handovers?.passToOwner(batch)
    this.tunnels.send(batch, this.options.path, now)
  }

  /** An error of the gateway about a packet to a client leaves as the client's own would: translated. */
  private sendError(error: Uint8Array, now: Milliseconds): void {
    const { translator, device } = this.options
    const batch = this.errors
    batch.reset()
    batch.push(error)
    translator?.translateOutbound(batch, now)
    device.write(batch)
  }
}
