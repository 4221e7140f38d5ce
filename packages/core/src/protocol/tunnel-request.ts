import { IpAddress } from '../address/ip-address.ts'
import { requestCookie, SESSION_COOKIE } from './cookies.ts'
import { type HeaderLines, headerText } from './http-message.ts'
import { readMtu, readNames } from './tunnel-headers.ts'

/** The request target of CONNECT. */
export const TUNNEL_PATH = '/CSCOSSLC/tunnel'

/** The cipher suite name by which both sides agree on a key from the TLS exporter. */
export const PSK_NEGOTIATE = 'PSK-NEGOTIATE'

/** What a client says about its device; all of it is its own claim. At most 255 characters each. */
export interface DeviceClaims {
  readonly clientVersion?: string
  /** Such as `android` or `apple-ios`. */
  readonly platform?: string
  readonly platformVersion?: string
  readonly deviceType?: string
  readonly uniqueId?: string
}

/** What a client asks for in its CONNECT request: one value, written as headers by the client and read by the gateway. */
export interface TunnelRequest {
  readonly hostname?: string
  readonly userAgent?: string
  /** Address families that the client wants; at least one. */
  readonly ipv4: boolean
  readonly ipv6: boolean
  /** Whether the client understands an IPv6 address beside an IPv4 one, with a prefix length. */
  readonly fullIpv6: boolean
  /** The addresses that it had before and would like again: a wish. At most one of each family. */
  readonly addresses: readonly IpAddress[]
  /** The link MTU that the client sees, 576 to 16384. */
  readonly baseMtu?: number
  /** The tunnel MTU that the client would like, 576 to 16384. */
  readonly mtu?: number
  /** Compression methods that the client can do; empty means none. */
  readonly streamEncodings: readonly string[]
  /** Absent when the client wants no datagram channel. */
  readonly datagram?: DatagramWish
  readonly device: DeviceClaims
}

/** How a client would set up a datagram channel. Names as sent, at most 32 a list. */
export interface DatagramWish {
  /** `PSK-NEGOTIATE` is among them when the client can use a key of the TLS exporter. */
  readonly cipherSuites: readonly string[]
  /** Cisco's names for DTLS 1.2. */
  readonly dtls12CipherSuites: readonly string[]
  readonly encodings: readonly string[]
}

/** Whether the client can set up a datagram channel with a key from the TLS exporter. */
export function wantsPsk(request: TunnelRequest): boolean {
  return request.datagram?.cipherSuites.includes(PSK_NEGOTIATE) ?? false
}

/** The session cookie of a CONNECT request. */
export function tunnelCookie(headers: HeaderLines): string | undefined {
  return requestCookie(headers, SESSION_COOKIE)
}

/** Reads the headers of a CONNECT request. What is malformed is left out; nothing is refused here. */
export function readTunnelRequest(headers: HeaderLines): TunnelRequest {
  const found = new Map<string, string>()
  const addresses: IpAddress[] = []
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    const text = value.trim()
    if (key === 'x-cstp-address') {
      const address = IpAddress.parse(text)
      if (address && !addresses.some(({ family }) => family === address.family)) addresses.push(address)
    } else if (!found.has(key)) found.set(key, text)
  }
  const text = <Key extends string>(key: Key, header: string): { readonly [key in Key]?: string } => {
    const value = headerText(found.get(header) ?? '')
      .slice(0, 255)
      .trim()
    return (value === '' ? {} : { [key]: value }) as { readonly [key in Key]?: string }
  }
  const mtu = <Key extends string>(key: Key, header: string): { readonly [key in Key]?: number } => {
    const value = readMtu(found.get(header) ?? '')
    return (value === undefined ? {} : { [key]: value }) as { readonly [key in Key]?: number }
  }
  const families = (found.get('x-cstp-address-type') ?? '').toLowerCase()
  const ipv6 = families.includes('ipv6')
  const cipherSuites = found.get('x-dtls-ciphersuite')
  const dtls12CipherSuites = found.get('x-dtls12-ciphersuite')
  return {
    ...text('hostname', 'x-cstp-hostname'),
    ...text('userAgent', 'user-agent'),
    ipv4: !ipv6 || families.includes('ipv4'),
    ipv6,
    fullIpv6: found.get('x-cstp-full-ipv6-capability')?.toLowerCase() === 'true',
    addresses,
    ...mtu('baseMtu', 'x-cstp-base-mtu'),
    ...mtu('mtu', 'x-cstp-mtu'),
    streamEncodings: readNames(found.get('x-cstp-accept-encoding') ?? '', ','),
    ...(cipherSuites === undefined && dtls12CipherSuites === undefined
      ? {}
      : {
          datagram: {
            cipherSuites: readNames(cipherSuites ?? '', ':'),
            dtls12CipherSuites: readNames(dtls12CipherSuites ?? '', ':'),
            encodings: readNames(found.get('x-dtls-accept-encoding') ?? '', ','),
          },
        }),
    device: {
      ...text('clientVersion', 'x-anyconnect-identifier-clientversion'),
      ...text('platform', 'x-anyconnect-identifier-platform'),
      ...text('platformVersion', 'x-anyconnect-identifier-platformversion'),
      ...text('deviceType', 'x-anyconnect-identifier-devicetype'),
      ...text('uniqueId', 'x-anyconnect-identifier-device-uniqueid'),
    },
  }
}

/** Writes the headers of a CONNECT request, in the order and spelling of stock clients. `host` is name and port. */
export function writeTunnelRequest(request: TunnelRequest, target: { host: string; cookie: string }): HeaderLines {
  const lines: (readonly [string, string])[] = []
  const add = (name: string, value: string | number | undefined) => {
    if (value !== undefined) lines.push([name, typeof value === 'string' ? headerText(value) : String(value)])
  }
  const { device, datagram } = request
  add('Host', target.host)
  add('User-Agent', request.userAgent)
  add('Cookie', `${SESSION_COOKIE}=${target.cookie}`)
  add('X-CSTP-Version', 1)
  add('X-CSTP-Hostname', request.hostname)
  add('X-AnyConnect-Identifier-ClientVersion', device.clientVersion)
  add('X-AnyConnect-Identifier-Platform', device.platform)
  add('X-AnyConnect-Identifier-PlatformVersion', device.platformVersion)
  add('X-AnyConnect-Identifier-DeviceType', device.deviceType)
  add('X-AnyConnect-Identifier-Device-UniqueID', device.uniqueId)
  if (request.streamEncodings.length > 0) add('X-CSTP-Accept-Encoding', request.streamEncodings.join(','))
  add('X-CSTP-Base-MTU', request.baseMtu)
  add('X-CSTP-MTU', request.mtu)
  const families = [request.ipv6 ? 'IPv6' : '', request.ipv4 ? 'IPv4' : ''].filter(family => family !== '')
  add('X-CSTP-Address-Type', families.join(','))
  for (const address of request.addresses) add('X-CSTP-Address', address.toString())
  if (request.fullIpv6) add('X-CSTP-Full-IPv6-Capability', 'true')
  if (datagram) {
    add('X-DTLS-CipherSuite', datagram.cipherSuites.join(':'))
    if (datagram.dtls12CipherSuites.length > 0) add('X-DTLS12-CipherSuite', datagram.dtls12CipherSuites.join(':'))
    if (datagram.encodings.length > 0) add('X-DTLS-Accept-Encoding', datagram.encodings.join(','))
  }
  return lines
}
