import type { RouteTable } from '@twinbore/core/address'
import {
  buildIcmpError,
  checkPackets,
  clampMssToMtu,
  DropReason,
  IcmpType,
  Icmpv6Type,
  PacketBatch,
  type PacketBatchOptions,
  Verdict,
} from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import type { PatOutput } from '@twinbore/pat'
import type { PacketDevice } from '@twinbore/tun'
import { guardIngress } from './ingress-guard.ts'
import { Carrier, type SessionTable } from './session-table.ts'
import { type DatagramPath, type TunnelOutlets, TunnelSide } from './tunnel-side.ts'

/** Rewrites addresses on the way out and back; `Translator` of `@twinbore/pat` fits. */
export interface PacketTranslator {
  translateOutbound(batch: PacketBatch, now: Milliseconds): void
  translateInbound(batch: PacketBatch, now: Milliseconds): void
  poll(): PatOutput | undefined
}

export interface GatewayDataPlaneOptions {
  readonly sessions: SessionTable
  readonly outlets: TunnelOutlets
  /** Towards the corporate network. */
  readonly device: PacketDevice
  /** Absent when no client gets a datagram channel. */
  readonly path?: DatagramPath | undefined
  /** Absent when the kernel translates. */
  readonly translator?: PacketTranslator | undefined
  /** Made by `deniedDestinations`. */
  readonly destinations: RouteTable
  /** Sources of ICMP errors: the gateway's addresses inside the pool. */
  readonly gatewayAddresses: { readonly ipv4?: Uint8Array | undefined; readonly ipv6?: Uint8Array | undefined }
  readonly batch?: PacketBatchOptions
  /** What the translator tells besides packets. */
  readonly onTranslatorEvent?: (output: PatOutput) => void
}

/**
 * A gateway's pipelines over batches: a machine fed by whoever watches the socket and the device.
 *
 *     outbound: tunnel side -> check -> guard -> clamp -> translate -> device
 *     inbound:  device -> check -> translate -> session by destination -> fits its MTU? -> clamp -> tunnel side
 *
 * Each pump takes one batch and returns whether its source was drained; the loop is the caller's.
 */
export class GatewayDataPlane {
  readonly tunnels: TunnelSide
  private readonly options: GatewayDataPlaneOptions
  private readonly fromDevice: PacketBatch
  /** Packets that the gateway itself makes. */
  private readonly own: PacketBatch

  constructor(options: GatewayDataPlaneOptions) {
    this.options = options
    this.tunnels = new TunnelSide(options.sessions, options.outlets, options.batch ?? {})
    this.fromDevice = new PacketBatch(options.batch)
    this.own = new PacketBatch(options.batch)
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
    this.options.translator?.translateInbound(batch, now)
    this.sendInbound(batch, now)
    this.drainTranslator(now)
    return drained
  }

  /** Packets that came through a stream channel, with their session as owner. */
  handleStreamPackets(batch: PacketBatch, now: Milliseconds): void {
    this.options.sessions.countReceived(batch, Carrier.stream)
    this.forwardOutbound(batch, now)
  }

  /** Packets that came out of tunnels go to the device. */
  private forwardOutbound(batch: PacketBatch, now: Milliseconds): void {
    const { sessions, destinations, translator, device } = this.options
    checkPackets(batch)
    guardIngress(batch, sessions, destinations)
    this.clampMss(batch)
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
      const batch = this.own
      batch.reset()
      if (batch.push(output.bytes) === -1) continue
      if (output.direction === 'inbound') this.sendInbound(batch, now)
      else this.options.device.write(batch)
    }
  }

  /** Drops since the start, indexed by `DropReason`, over both directions. */
  drops(): Float64Array {
    const sum = this.fromDevice.drops.slice()
    for (const batch of [this.tunnels.received, this.own]) {
      for (let reason = 0; reason < sum.length; reason++) sum[reason] = sum[reason]! + batch.drops[reason]!
    }
    return sum
  }

  private sendInbound(batch: PacketBatch, now: Milliseconds): void {
    const { sessions, path } = this.options
    sessions.resolveDestinations(batch)
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward && batch.lengths[slot]! > sessions.mtus[batch.owners[slot]!]!)
        this.refuseTooBig(batch, slot, now)
    }
    this.clampMss(batch)
    this.tunnels.send(batch, path, now)
  }

  /** RFC 1191 §4, RFC 4443 §3.2: the sender learns what fits. The error leaves as a client's own would, translated. */
  private refuseTooBig(batch: PacketBatch, slot: number, now: Milliseconds): void {
    const { sessions, gatewayAddresses, translator, device } = this.options
    const offset = batch.offsets[slot]!
    const v4 = batch.view.getUint8(offset) >> 4 === 4
    const source = v4 ? gatewayAddresses.ipv4 : gatewayAddresses.ipv6
    const mtu = sessions.mtus[batch.owners[slot]!]!
    batch.drop(slot, DropReason.tooBig)
    if (!source) return
    const error = buildIcmpError(batch.view, offset, batch.lengths[slot]!, {
      type: v4 ? IcmpType.destinationUnreachable : Icmpv6Type.packetTooBig,
      code: v4 ? 4 : 0,
      source,
      mtu,
    })
    if (!error) return
    const answer = this.own
    answer.reset()
    answer.push(error)
    translator?.translateOutbound(answer, now)
    device.write(answer)
  }

  private clampMss(batch: PacketBatch): void {
    const { sessions } = this.options
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward)
        clampMssToMtu(batch.view, batch.offsets[slot]!, batch.lengths[slot]!, sessions.mtus[batch.owners[slot]!]!)
    }
  }
}
