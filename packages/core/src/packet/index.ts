// Packets as bytes in place: the batch, why a slot is dropped, the door, field access, checksums, and what is built on them.

// The door, and where the transport header is.
export { checkEmbeddedPacket, checkPacket, checkPackets, packetLength } from './check-packet.ts'
// What is computed over packets.
export * from './checksum.ts'
export { DROP_REASON_COUNT, DropReason, dropReasonName } from './drop-reason.ts'
export * from './icmp.ts'
// Field access, header by header.
export { IpProtocol, ipVersion } from './ip-protocol.ts'
export * from './ipv4.ts'
export * from './ipv6.ts'
export { PacketBatch, type PacketBatchOptions, Verdict } from './packet-batch.ts'
export * from './tcp.ts'
export {
  hasRoutingHeader,
  isFragment,
  isLaterFragment,
  locateTransport,
  transportOffset,
  transportProtocol,
} from './transport.ts'
export * from './udp.ts'
