// The public test kit: time that moves when told to, packets from fields, a link that misbehaves on demand.

export { fragmentPacket } from './fragment-packet.ts'
export { ManualClock } from './manual-clock.ts'
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
