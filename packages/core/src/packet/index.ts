// Packets as bytes in place: the batch, the door, field access, checksums, and what is built on them.

export { DROP_REASON_COUNT, DropReason, dropReasonName } from './drop-reason.ts'
export { PacketBatch, type PacketBatchOptions, Verdict } from './packet-batch.ts'
export { PacketMemory } from './packet-memory.ts'

// The door, and where the transport header is.

export { checkEmbeddedPacket, checkPacket, checkPackets, checkSlot, packetLength } from './check-packet.ts'
export {
  hasRoutingHeader,
  isFragment,
  isLaterFragment,
  locateTransport,
  transportOffset,
  transportProtocol,
} from './transport.ts'

// Field access, header by header.

export * from './icmp.ts'
export { IpProtocol, ipVersion } from './ip-protocol.ts'
export * from './ipv4.ts'
export * from './ipv6.ts'
export * from './tcp.ts'
export * from './udp.ts'

// What is computed over packets and changed in them.

export * from './checksum.ts'
export { fragmentIpv4 } from './fragment-ipv4.ts'
export { buildIcmpError, buildIcmpErrorAbout, type IcmpErrorOptions, mayAnswerWithIcmpError } from './icmp-error.ts'
export { clampMss, clampMssToMtu, clampMssToMtus } from './mss-clamp.ts'
export { cutPackets, superPacketHeaderBytes, wholePacketBytes, writePartialChecksum } from './super-packet.ts'

// What tables of packets' owners are built on.

export { HashIndex } from './hash-index.ts'
export { KeyedHash } from './keyed-hash.ts'

// For people.

export { ipv4Text, ipv6Text } from './address-text.ts'
export { packetText } from './packet-text.ts'
