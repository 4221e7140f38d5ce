import { PSK_NEGOTIATE, type TunnelParameters, type TunnelRequest } from '@twinbore/core'

/** The link MTU that is told to the gateway; the path MTU search of the session corrects it downwards. */
export const LINK_MTU = 1500

/** What our client asks for; `held` is what it was granted before, whose addresses it would like again. */
export function tunnelRequest(hostname: string, withDatagrams: boolean, held?: TunnelParameters): TunnelRequest {
  return {
    hostname,
    ipv4: true,
    ipv6: true,
    fullIpv6: true,
    addresses: [held?.ipv4?.address, held?.ipv6?.address].flatMap(address => address ?? []),
    baseMtu: LINK_MTU,
    streamEncodings: [],
    device: {},
    ...(withDatagrams && {
      datagram: { cipherSuites: [PSK_NEGOTIATE], dtls12CipherSuites: [], encodings: [] },
    }),
  }
}

/** Whether two grants lease the same addresses. */
export function sameAddresses(one: TunnelParameters, other: TunnelParameters): boolean {
  const textOf = ({ ipv4, ipv6 }: TunnelParameters) => `${ipv4?.address ?? ''} ${ipv6?.address ?? ''}`
  return textOf(one) === textOf(other)
}
