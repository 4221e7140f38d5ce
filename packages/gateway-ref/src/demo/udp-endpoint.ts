import { IpAddress } from '@twinbore/core/address'
import {
  checkPackets,
  DropReason,
  IPV4_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  ipv4Destination,
  ipv4HeaderLength,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4Source,
  PacketBatch,
  UDP_HEADER_BYTES,
  UdpField,
  udpDestinationPort,
  udpLength,
  udpSourcePort,
  Verdict,
  verifyTransportChecksum,
  writeIpv4HeaderChecksum,
  writeTransportChecksum,
} from '@twinbore/core/packet'
import type { PacketDevice } from '@twinbore/tun'

/** Two ends of UDP over IPv4. */
export interface UdpFlow {
  readonly address: string
  readonly port: number
  readonly peer: string
  readonly peerPort: number
}

/**
 * One UDP flow over a packet device, so that a program can talk through a tunnel without an interface of the system. Every
 * packet that comes is checked, checksums included; what is not of the flow is dropped and counted in `drops`.
 */
export class UdpEndpoint {
  /** Called with each payload of the flow: a view that is good during the call. */
  onDatagram: ((payload: Uint8Array) => void) | undefined
  private readonly device: PacketDevice
  private readonly flow: UdpFlow
  private readonly source: Uint8Array
  private readonly destination: Uint8Array
  private readonly incoming = new PacketBatch()
  private readonly outgoing = new PacketBatch()

  constructor(device: PacketDevice, flow: UdpFlow) {
    this.device = device
    this.flow = flow
    this.source = IpAddress.of(flow.address).bytes
    this.destination = IpAddress.of(flow.peer).bytes
    device.onReadable = () => this.receive()
  }

  /** Drops since the start, indexed by `DropReason`: of what came in, and of what the device did not take. */
  get drops(): Float64Array {
    return this.incoming.drops.map((count, reason) => count + this.outgoing.drops[reason]!)
  }

  /** Puts a datagram into the next batch. `flush` sends it. */
  send(payload: Uint8Array): void {
    if (this.outgoing.full) this.flush()
    const batch = this.outgoing
    const slot = batch.reserve()
    const { view } = batch
    const at = batch.offsets[slot]!
    const udp = at + IPV4_HEADER_BYTES
    const udpBytes = UDP_HEADER_BYTES + payload.length
    batch.lengths[slot] = IPV4_HEADER_BYTES + udpBytes
    batch.bytes.fill(0, at, udp + UDP_HEADER_BYTES)
    view.setUint8(at, 0x45)
    view.setUint16(at + Ipv4Field.totalLength, IPV4_HEADER_BYTES + udpBytes)
    view.setUint16(at + Ipv4Field.flagsAndFragmentOffset, DONT_FRAGMENT)
    view.setUint8(at + Ipv4Field.timeToLive, 64)
    view.setUint8(at + Ipv4Field.protocol, IpProtocol.udp)
    batch.bytes.set(this.source, at + Ipv4Field.source)
    batch.bytes.set(this.destination, at + Ipv4Field.destination)
    writeIpv4HeaderChecksum(view, at)
    view.setUint16(udp, this.flow.port)
    view.setUint16(udp + UdpField.destinationPort, this.flow.peerPort)
    view.setUint16(udp + UdpField.length, udpBytes)
    batch.bytes.set(payload, udp + UDP_HEADER_BYTES)
    writeTransportChecksum(view, at, udp, udpBytes, IpProtocol.udp)
  }

  /** Writes what `send` has collected to the device. */
  flush(): void {
    if (this.outgoing.count === 0) return
    this.device.write(this.outgoing)
    this.outgoing.reset()
  }

  private receive(): void {
    const batch = this.incoming
    do {
      batch.reset()
      this.device.read(batch)
      checkPackets(batch)
      for (let slot = 0; slot < batch.count; slot++) {
        if (batch.verdicts[slot] === Verdict.forward) this.take(batch, slot)
      }
    } while (batch.full)
    this.flush()
  }

  private take(batch: PacketBatch, slot: number): void {
    const { view } = batch
    const at = batch.offsets[slot]!
    const udp = at + ipv4HeaderLength(view, at)
    if (!this.isOfFlow(view, at, udp)) {
      batch.drop(slot, DropReason.filtered)
      return
    }
    const length = udpLength(view, udp)
    if (verifyTransportChecksum(view, at, udp, length, IpProtocol.udp)) {
      this.onDatagram?.(batch.bytes.subarray(udp + UDP_HEADER_BYTES, udp + length))
    } else {
      batch.drop(slot, DropReason.badChecksum)
    }
  }

  private isOfFlow(view: DataView, at: number, udp: number): boolean {
    return (
      view.getUint8(at) >> 4 === 4 &&
      ipv4Protocol(view, at) === IpProtocol.udp &&
      !ipv4IsFragment(view, at) &&
      ipv4Source(view, at) === numberOf(this.destination) &&
      ipv4Destination(view, at) === numberOf(this.source) &&
      udpSourcePort(view, udp) === this.flow.peerPort &&
      udpDestinationPort(view, udp) === this.flow.port
    )
  }
}

const DONT_FRAGMENT = 0x4000

function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
}
