/** Protocol numbers of IPv4 and next-header values of IPv6 that this project tells apart (IANA protocol numbers). */
export const IpProtocol = {
  hopByHopOptions: 0,
  icmp: 1,
  tcp: 6,
  udp: 17,
  routing: 43,
  fragment: 44,
  encapsulatingSecurityPayload: 50,
  authenticationHeader: 51,
  icmpv6: 58,
  noNextHeader: 59,
  destinationOptions: 60,
  mobility: 135,
  hostIdentity: 139,
  shim6: 140,
} as const

export type IpProtocol = (typeof IpProtocol)[keyof typeof IpProtocol]

/** The version nibble of the packet at `offset`. The caller has made sure that there is one byte. */
export function ipVersion(view: DataView, offset: number): number {
  return view.getUint8(offset) >>> 4
}
