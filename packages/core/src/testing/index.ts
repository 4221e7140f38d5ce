// The public test kit: time that moves when told to, a link that misbehaves on demand, packets from fields, and checks
// of the machine contract.

export { type ComplianceCheck, type ComplianceSubject, machineComplianceTests } from './machine-compliance.ts'
export { ManualClock } from './manual-clock.ts'
export {
  defaultLinkConditions,
  type LinkConditions,
  type LinkDelivery,
  type LinkDirection,
  type LinkStats,
  NetworkEmulator,
  type NetworkEmulatorOptions,
} from './network-emulator.ts'

// Packets.

export { fragmentPacket } from './fragment-packet.ts'
export {
  type EchoFields,
  type IcmpErrorFields,
  type IpHeaderFields,
  icmpEchoPacket,
  icmpErrorPacket,
  ipPacket,
  type PortFields,
  packetView,
  type TcpFields,
  tcpPacket,
  udpPacket,
} from './packet-builder.ts'
