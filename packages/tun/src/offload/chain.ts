// A super-packet in the columns of a batch: how it grows, and how its headers come to say what it is.
import {
  checksumFieldOffset,
  IPV4_HEADER_BYTES,
  IPV6_HEADER_BYTES,
  IpProtocol,
  Ipv4Field,
  Ipv6Field,
  type PacketBatch,
  pseudoHeaderSum,
  TcpField,
  TcpFlag,
  UdpField,
  Verdict,
  writeIpv4HeaderChecksum,
} from '@twinbore/core/packet'

/** Makes the last `payload` bytes of a slot a piece of the super-packet that begins at `head` and ends at `tail`. */
export function appendPiece(batch: PacketBatch, head: number, tail: number, slot: number, payload: number): void {
  const headerBytes = batch.lengths[slot]! - payload
  if (head === tail) {
    batch.ownLengths[head] = batch.lengths[head]!
    batch.segmentBytes[head] = batch.lengths[head]! - headerBytes
  }
  batch.next[tail] = slot
  batch.next[slot] = -1
  batch.verdicts[slot] = Verdict.merged
  batch.offsets[slot] = batch.offsets[slot]! + headerBytes
  batch.lengths[slot] = payload
  batch.lengths[head] = batch.lengths[head]! + payload
  batch.segments[head] = batch.segments[head]! + 1
}

/** Sets PSH on a super-packet: its last packet has it. */
export function setPush(view: DataView, transportAt: number): void {
  view.setUint8(transportAt + TcpField.flags, view.getUint8(transportAt + TcpField.flags) | TcpFlag.psh)
}

/** Writes lengths and checksums of a super-packet that is complete: the transport's becomes partial. */
export function finishHeaders(batch: PacketBatch, head: number, transport: number, protocol: number): void {
  const { view } = batch
  const at = batch.offsets[head]!
  const length = batch.lengths[head]!
  if (transport === IPV4_HEADER_BYTES) {
    view.setUint16(at + Ipv4Field.totalLength, length)
    writeIpv4HeaderChecksum(view, at)
  } else {
    view.setUint16(at + Ipv6Field.payloadLength, length - IPV6_HEADER_BYTES)
  }
  const transportBytes = length - transport
  if (protocol === IpProtocol.udp) view.setUint16(at + transport + UdpField.length, transportBytes)
  const sum = pseudoHeaderSum(view, at, protocol, transportBytes)
  view.setUint16(at + transport + checksumFieldOffset(protocol), sum)
  batch.partialChecksums[head] = 1
}
