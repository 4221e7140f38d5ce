import {
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  ipVersion,
  type PacketBatch,
  pseudoHeaderSum,
  TCP_HEADER_BYTES,
  TcpField,
  TcpFlag,
  tcpFlags,
  tcpHeaderLength,
  tcpSequenceNumber,
  Verdict,
  verifyIpv4HeaderChecksum,
  verifyTransportChecksum,
  writeIpv4HeaderChecksum,
} from '@twinbore/core/packet'

/** Segments of a run at most. */
export const MAX_RUN_SEGMENTS = 128
/** Headers of a run at most: IPv6, and TCP with all its options. */
export const MAX_RUN_HEADER_BYTES = 100

const maxPacketBytes = 65_535
const dontFragment = 0x4000
const pushMask = TcpFlag.psh << 16

// What must be equal in every packet of a run, word by word. Not the lengths and checksums, which are made anew, nor the
// identification of a packet that is never fragmented (RFC 6864 §4.1); the sequence number has a rule of its own.
const ipv4Masks = [~0xffff, 0xffff, ~0xffff, ~0, ~0]
const ipv6Masks = [~0, 0xffff, ...new Array<number>(8).fill(~0)]
const tcpMasks = [~0, 0, ~0, ~pushMask, 0xffff, ...new Array<number>(10).fill(~0)]

/**
 * Adjacent TCP segments of a batch that make one long packet, as a system with segmentation offload takes and gives it: one
 * header, and behind it the payloads in their order, all of the same length but for the last, which may be shorter.
 *
 * Cutting that packet apart gives the same packets again. Their checksums are right afterwards whatever they were, so a
 * packet joins a run only if its own are.
 */
export class TcpRun {
  /** How many packets it is. */
  count = 0
  ipHeaderBytes = 0
  /** IP and TCP header together. */
  headerBytes = 0
  /** Payload of each packet but the last. */
  segmentBytes = 0
  /** Payload of all. */
  payloadBytes = 0
  private first = 0

  /** Finds the run that begins with a slot. Returns how many slots it has, 1 when there is nothing to join. */
  measure(batch: PacketBatch, first: number): number {
    this.first = first
    this.count = 1
    if (!this.begin(batch)) return 1
    let next = first + 1
    while (next < batch.count && this.count < MAX_RUN_SEGMENTS && this.mayFollow(batch, next)) {
      if (this.count === 1 && !this.isIntact(batch, first)) break
      if (!this.isIntact(batch, next)) break
      const payload = batch.lengths[next]! - this.headerBytes
      this.count++
      this.payloadBytes += payload
      if (payload < this.segmentBytes || (this.flagsOf(batch, next) & TcpFlag.psh) !== 0) break
      next++
    }
    return this.count
  }

  /**
   * Writes the header of the long packet to `at`, without a TCP checksum: there stands what has to be added to that of the
   * header and the payload, as the pseudo header's sum.
   */
  writeHeader(batch: PacketBatch, target: Uint8Array, view: DataView, at: number): void {
    const { first, count, headerBytes, ipHeaderBytes } = this
    const offset = batch.offsets[first]!
    for (let i = 0; i < headerBytes; i++) target[at + i] = batch.bytes[offset + i]!
    const transport = at + ipHeaderBytes
    const transportBytes = headerBytes - ipHeaderBytes + this.payloadBytes
    if (ipHeaderBytes === IPV4_HEADER_BYTES) {
      view.setUint16(at + Ipv4Field.totalLength, ipHeaderBytes + transportBytes)
      writeIpv4HeaderChecksum(view, at)
    } else view.setUint16(at + Ipv6Field.payloadLength, transportBytes)
    // Only the last packet may have PSH, and it will again.
    target[transport + TcpField.flags] = this.flagsOf(batch, first + count - 1)
    view.setUint16(transport + TcpField.checksum, pseudoHeaderSum(view, at, IpProtocol.tcp, transportBytes))
  }

  /** Whether the first packet is one that others may follow. */
  private begin(batch: PacketBatch): boolean {
    const { view } = batch
    const offset = batch.offsets[this.first]!
    const length = batch.lengths[this.first]!
    if (length < IPV4_HEADER_BYTES + TCP_HEADER_BYTES) return false
    if (ipVersion(view, offset) === 4) {
      if (view.getUint8(offset) !== 0x45 || view.getUint8(offset + Ipv4Field.protocol) !== IpProtocol.tcp) return false
      if (view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset) !== dontFragment) return false
      this.ipHeaderBytes = IPV4_HEADER_BYTES
    } else {
      if (length < IPV6_HEADER_BYTES + TCP_HEADER_BYTES) return false
      if (view.getUint8(offset + Ipv6Field.nextHeader) !== IpProtocol.tcp) return false
      this.ipHeaderBytes = IPV6_HEADER_BYTES
    }
    const tcpBytes = tcpHeaderLength(view, offset + this.ipHeaderBytes)
    this.headerBytes = this.ipHeaderBytes + tcpBytes
    this.segmentBytes = length - this.headerBytes
    this.payloadBytes = this.segmentBytes
    return tcpBytes >= TCP_HEADER_BYTES && this.segmentBytes > 0 && this.flagsOf(batch, this.first) === TcpFlag.ack
  }

  /** Whether a packet continues the run, as far as its header says. */
  private mayFollow(batch: PacketBatch, slot: number): boolean {
    if (batch.verdicts[slot] !== Verdict.forward) return false
    const payload = batch.lengths[slot]! - this.headerBytes
    if (payload <= 0 || payload > this.segmentBytes) return false
    if (this.headerBytes + this.payloadBytes + payload > maxPacketBytes) return false
    const { view } = batch
    const from = batch.offsets[this.first]!
    const offset = batch.offsets[slot]!
    const { ipHeaderBytes } = this
    const expected = tcpSequenceNumber(view, from + ipHeaderBytes) + this.payloadBytes
    if (((tcpSequenceNumber(view, offset + ipHeaderBytes) - expected) | 0) !== 0) return false
    const masks = ipHeaderBytes === IPV4_HEADER_BYTES ? ipv4Masks : ipv6Masks
    return (
      isAlike(view, from, offset, masks, ipHeaderBytes) &&
      isAlike(view, from + ipHeaderBytes, offset + ipHeaderBytes, tcpMasks, this.headerBytes - ipHeaderBytes)
    )
  }

  /** Whether lengths and checksums are right. */
  private isIntact(batch: PacketBatch, slot: number): boolean {
    const { view } = batch
    const { ipHeaderBytes } = this
    const offset = batch.offsets[slot]!
    const length = batch.lengths[slot]!
    const transportBytes = length - ipHeaderBytes
    if (ipHeaderBytes === IPV4_HEADER_BYTES) {
      if (view.getUint16(offset + Ipv4Field.totalLength) !== length) return false
      if (!verifyIpv4HeaderChecksum(view, offset)) return false
    } else if (view.getUint16(offset + Ipv6Field.payloadLength) !== transportBytes) return false
    return verifyTransportChecksum(view, offset, offset + ipHeaderBytes, transportBytes, IpProtocol.tcp)
  }

  private flagsOf(batch: PacketBatch, slot: number): number {
    return tcpFlags(batch.view, batch.offsets[slot]! + this.ipHeaderBytes)
  }
}

function isAlike(view: DataView, a: number, b: number, masks: readonly number[], length: number): boolean {
  for (let at = 0; at < length; at += 4) {
    if (((view.getInt32(a + at) ^ view.getInt32(b + at)) & masks[at >>> 2]!) !== 0) return false
  }
  return true
}
