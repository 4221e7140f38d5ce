import { addressText } from './ip-text.ts'

const protocolNames: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  47: 'gre',
  50: 'esp',
  58: 'icmpv6',
  132: 'sctp',
}

/** One line about an IP packet: family, endpoints, protocol, bytes. Works for any bytes, also broken ones. */
export function packetLine(packet: Uint8Array): string {
  const version = packet.length > 0 ? packet[0]! >> 4 : 0
  if (version === 4 && packet.length >= 20) {
    const header = (packet[0]! & 0xf) * 4
    const fragment = ((packet[6]! & 0x1f) << 8) | packet[7]!
    return line(
      packet,
      'IPv4',
      packet.subarray(12, 16),
      packet.subarray(16, 20),
      packet[9]!,
      fragment === 0 ? header : -1,
    )
  }
  if (version === 6 && packet.length >= 40) {
    return line(packet, 'IPv6', packet.subarray(8, 24), packet.subarray(24, 40), packet[6]!, 40)
  }
  return `not IP, ${packet.length} bytes`
}

function line(
  packet: Uint8Array,
  family: string,
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  header: number,
): string {
  const name = protocolNames[protocol] ?? `protocol ${protocol}`
  const ported = (protocol === 6 || protocol === 17) && header >= 20 && packet.length >= header + 4
  const port = (at: number) => (ported ? `:${(packet[header + at]! << 8) | packet[header + at + 1]!}` : '')
  const show = (address: Uint8Array) =>
    ported && address.length === 16 ? `[${addressText(address)}]` : addressText(address)
  const tail = header === -1 ? ' fragment' : ''
  return `${family} ${show(source)}${port(0)} > ${show(destination)}${port(2)} ${name}${tail} ${packet.length}`
}
