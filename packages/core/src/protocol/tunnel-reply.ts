import type { IpAddress } from '../address/ip-address.ts'
import { Prefix } from '../address/prefix.ts'
import { type HeaderLines, headerText } from './http-message.ts'
import { MAX_DOMAINS, MAX_NAME_SERVERS, MAX_ROUTES, MAX_TEXT_LENGTH, MIN_IPV6_MTU } from './limits.ts'
import { hex } from './text-codes.ts'
import { readAppId, readDomain, readInterfaceAddress, readMtu, readSeconds } from './tunnel-headers.ts'
import type { ChannelTimers, DatagramOffer, RekeyMethod, TunnelParameters, WebProxy } from './tunnel-parameters.ts'
import { PSK_NEGOTIATE } from './tunnel-request.ts'

/**
 * Writes what a gateway grants as the headers of `HTTP/1.1 200 CONNECTED`. Stock clients compare names with regard to
 * case, so the spelling counts. A client without `fullIpv6` gets its IPv6 address in the lines of the IPv4 one.
 *
 * A client takes a family without split routes as "everything of it". So when there are routes but none of a family that
 * has an address, the address itself is named as one.
 */
export function writeTunnelReply(parameters: TunnelParameters, client: { readonly fullIpv6: boolean }): HeaderLines {
  const lines: (readonly [string, string])[] = []
  const add = (name: string, value: string | number | boolean | undefined) => {
    if (value !== undefined) lines.push([name, typeof value === 'string' ? headerText(value) : String(value)])
  }
  const { ipv4, ipv6, dns, routes, stream, datagram, proxy } = parameters

  add('X-CSTP-Version', 1)
  add('X-CSTP-Server-Name', parameters.serverName)
  add('X-CSTP-Hostname', parameters.hostname)
  add('X-CSTP-DPD', stream.dpdSeconds)
  if (dns.searchDomains.length > 0) add('X-CSTP-Default-Domain', dns.searchDomains.join(' '))

  if (ipv4) {
    add('X-CSTP-Address', ipv4.address.toString())
    add('X-CSTP-Netmask', ipv4.netmask.toString())
  }
  if (ipv6 && client.fullIpv6) add('X-CSTP-Address-IP6', `${ipv6.address}/${ipv6.prefixLength}`)
  else if (ipv6) {
    add('X-CSTP-Address', ipv6.address.toString())
    add('X-CSTP-Netmask', Prefix.of(ipv6.address, ipv6.prefixLength).toString())
  }

  for (const server of dns.servers) add(server.family === 4 ? 'X-CSTP-DNS' : 'X-CSTP-DNS-IP6', server.toString())
  for (const server of dns.winsServers ?? []) add('X-CSTP-NBNS', server.toString())
  for (const domain of dns.splitDomains) add('X-CSTP-Split-DNS', domain)
  add('X-CSTP-Tunnel-All-DNS', dns.tunnelAll)

  for (const prefix of withOwnAddresses(parameters)) writeRoute(add, 'X-CSTP-Split-Include', prefix)
  for (const prefix of routes.exclude) writeRoute(add, 'X-CSTP-Split-Exclude', prefix)
  add('X-CSTP-Client-Bypass-Protocol', parameters.clientBypass)

  add('X-CSTP-Keepalive', stream.keepaliveSeconds)
  add('X-CSTP-Idle-Timeout', orNone(parameters.idleSeconds))
  add('X-CSTP-Smartcard-Removal-Disconnect', true)
  if (parameters.dynamicDns) add('X-CSTP-DynDNS', true)
  add('X-CSTP-Rekey-Time', stream.rekeySeconds)
  add('X-CSTP-Rekey-Method', stream.rekeyMethod)
  add('X-CSTP-MSIE-Proxy-PAC-URL', proxy?.pacUrl)
  add('X-CSTP-MSIE-Proxy-Server', proxy?.server)
  if (proxy?.exceptions && proxy.exceptions.length > 0) {
    add('X-CSTP-MSIE-Proxy-Exception-List', proxy.exceptions.join(';'))
  }
  add('X-CSTP-Session-Timeout', orNone(parameters.sessionSeconds))
  add('X-CSTP-Session-Timeout-Remaining', orNone(parameters.sessionRemainingSeconds))
  add('X-CSTP-Disconnected-Timeout', orNone(parameters.disconnectedSeconds))
  add('X-CSTP-Keep', true)
  add('X-CSTP-TCP-Keepalive', true)
  add('X-CSTP-License', 'accept')
  if (parameters.banner !== undefined) add('X-CSTP-Banner', writeBanner(parameters.banner))

  if (datagram) {
    add('X-DTLS-DPD', datagram.dpdSeconds)
    add('X-DTLS-Keepalive', datagram.keepaliveSeconds)
    add('X-DTLS-Port', datagram.port)
    add('X-DTLS-Rekey-Time', datagram.rekeySeconds)
    add('X-DTLS-Rekey-Method', datagram.rekeyMethod)
    add('X-DTLS-App-ID', hex(datagram.appId))
    add('X-DTLS-CipherSuite', PSK_NEGOTIATE)
  }
  add('X-CSTP-Base-MTU', parameters.baseMtu)
  add('X-CSTP-MTU', parameters.mtu)
  return lines
}

/**
 * Reads the headers of a gateway's reply. The gateway may be hostile: numbers are clamped, lists are bounded, names and
 * addresses are checked, and what is malformed is left out. Undefined when there is no usable address or no MTU.
 *
 * An IPv6 address is dropped when the MTU is below 1280 (RFC 8200 §5). The datagram offer is there only if it is one
 * that can be taken: a key from the TLS exporter, an App-ID and a port.
 */
export function readTunnelReply(headers: HeaderLines): TunnelParameters | undefined {
  const read = new ReplyReader()
  for (const [name, value] of headers) read.line(name.toLowerCase(), value.trim())
  return read.finish()
}

class ReplyReader {
  private readonly single = new Map<string, string>()
  private readonly masks: string[] = []
  private readonly addresses: { address: IpAddress; prefixLength: number }[] = []
  private readonly servers: IpAddress[] = []
  private readonly winsServers: IpAddress[] = []
  private readonly splitDomains: string[] = []
  private readonly include: Prefix[] = []
  private readonly exclude: Prefix[] = []
  private mtu: number | undefined

  line(name: string, value: string): void {
    switch (name) {
      case 'x-cstp-address':
      case 'x-cstp-address-ip6':
        keep(this.addresses, readInterfaceAddress(value), 4)
        break
      case 'x-cstp-netmask':
        keep(this.masks, value, 4)
        break
      case 'x-cstp-dns':
      case 'x-cstp-dns-ip6':
        keep(this.servers, readInterfaceAddress(value)?.address, MAX_NAME_SERVERS)
        break
      case 'x-cstp-nbns':
        keep(this.winsServers, readInterfaceAddress(value)?.address, MAX_NAME_SERVERS)
        break
      case 'x-cstp-split-dns':
        keep(this.splitDomains, readDomain(value), MAX_DOMAINS)
        break
      case 'x-cstp-split-include':
      case 'x-cstp-split-include-ip6':
        keep(this.include, Prefix.parse(value), MAX_ROUTES)
        break
      case 'x-cstp-split-exclude':
      case 'x-cstp-split-exclude-ip6':
        keep(this.exclude, Prefix.parse(value), MAX_ROUTES)
        break
      case 'x-cstp-mtu':
      case 'x-dtls-mtu': {
        const mtu = readMtu(value)
        if (mtu !== undefined) this.mtu = Math.max(mtu, this.mtu ?? 0)
        break
      }
      default:
        if (name.startsWith('x-') && !this.single.has(name) && this.single.size < 256) this.single.set(name, value)
    }
  }

  finish(): TunnelParameters | undefined {
    const { mtu } = this
    if (mtu === undefined) return undefined
    const ipv4 = this.ipv4()
    const ipv6 = mtu < MIN_IPV6_MTU ? undefined : this.ipv6()
    if (!ipv4 && !ipv6) return undefined
    const datagram = this.datagram()
    const banner = readBanner(this.single.get('x-cstp-banner') ?? '')
    const hostname = this.text('x-cstp-hostname', 255)
    const serverName = this.text('x-cstp-server-name', 255)
    const proxy = this.proxy()
    return {
      ...(ipv4 && { ipv4 }),
      ...(ipv6 && { ipv6 }),
      dns: {
        servers: this.servers,
        searchDomains: this.domains(this.single.get('x-cstp-default-domain') ?? ''),
        splitDomains: this.splitDomains,
        tunnelAll: this.isTrue('x-cstp-tunnel-all-dns'),
        ...(this.winsServers.length > 0 && { winsServers: this.winsServers }),
      },
      routes: { include: this.include, exclude: this.exclude },
      mtu,
      baseMtu: readMtu(this.single.get('x-cstp-base-mtu') ?? '') ?? mtu,
      stream: this.timers('x-cstp'),
      ...(datagram && { datagram }),
      idleSeconds: this.seconds('x-cstp-idle-timeout'),
      sessionSeconds: this.seconds('x-cstp-session-timeout'),
      sessionRemainingSeconds:
        this.seconds('x-cstp-session-timeout-remaining') || this.seconds('x-cstp-lease-duration'),
      disconnectedSeconds: this.seconds('x-cstp-disconnected-timeout'),
      clientBypass: this.isTrue('x-cstp-client-bypass-protocol'),
      ...(banner !== '' && { banner }),
      ...(hostname !== '' && { hostname }),
      ...(serverName !== '' && { serverName }),
      ...(this.isTrue('x-cstp-dyndns') && { dynamicDns: true }),
      ...(proxy && { proxy }),
    }
  }

  private ipv4(): TunnelParameters['ipv4'] {
    const address = this.addresses.find(entry => entry.address.family === 4)?.address
    if (!address) return undefined
    const mask = this.masks.map(text => Prefix.parse(`0.0.0.0/${text}`)).find(prefix => prefix !== undefined)
    return { address, netmask: (mask ?? Prefix.of(address, 32)).netmask }
  }

  private ipv6(): TunnelParameters['ipv6'] {
    const entry = this.addresses.find(({ address }) => address.family === 6)
    if (!entry) return undefined
    const network = this.masks
      .map(text => (text.includes('/') ? Prefix.parse(text) : undefined))
      .find(p => p?.family === 6)
    return { address: entry.address, prefixLength: network?.length ?? entry.prefixLength }
  }

  private datagram(): DatagramOffer | undefined {
    const appId = readAppId(this.single.get('x-dtls-app-id') ?? '')
    const portText = this.single.get('x-dtls-port') ?? ''
    const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0
    const agreed = this.single.get('x-dtls-ciphersuite') === PSK_NEGOTIATE
    return appId && agreed && port >= 1 && port <= 65_535 ? { ...this.timers('x-dtls'), port, appId } : undefined
  }

  private timers(channel: 'x-cstp' | 'x-dtls'): ChannelTimers {
    const method = this.single.get(`${channel}-rekey-method`)?.toLowerCase()
    const rekeyMethod: RekeyMethod = method === 'ssl' || method === 'new-tunnel' ? method : 'none'
    return {
      dpdSeconds: this.seconds(`${channel}-dpd`),
      keepaliveSeconds: this.seconds(`${channel}-keepalive`),
      rekeySeconds: this.seconds(`${channel}-rekey-time`),
      rekeyMethod,
    }
  }

  private proxy(): WebProxy | undefined {
    const pacUrl = this.text('x-cstp-msie-proxy-pac-url', MAX_TEXT_LENGTH)
    const server = this.text('x-cstp-msie-proxy-server', MAX_TEXT_LENGTH)
    const exceptions = this.text('x-cstp-msie-proxy-exception-list', MAX_TEXT_LENGTH).split(/[;,]/).filter(Boolean)
    if (pacUrl === '' && server === '' && exceptions.length === 0) return undefined
    return {
      ...(pacUrl !== '' && { pacUrl }),
      ...(server !== '' && { server }),
      ...(exceptions.length > 0 && { exceptions }),
    }
  }

  private domains(text: string): string[] {
    const domains: string[] = []
    for (const part of text.split(/[\s,]+/, MAX_DOMAINS)) keep(domains, readDomain(part), MAX_DOMAINS)
    return domains
  }

  private text(name: string, maxLength: number): string {
    return headerText(this.single.get(name) ?? '')
      .slice(0, maxLength)
      .trim()
  }

  private seconds(name: string): number {
    return readSeconds(this.single.get(name) ?? '') ?? 0
  }

  private isTrue(name: string): boolean {
    return this.single.get(name)?.toLowerCase() === 'true'
  }
}

function keep<T>(list: T[], item: T | undefined, limit: number): void {
  if (item !== undefined && list.length < limit) list.push(item)
}

function withOwnAddresses({ ipv4, ipv6, routes }: TunnelParameters): readonly Prefix[] {
  if (routes.include.length === 0) return routes.include
  const missing: Prefix[] = []
  for (const address of [ipv4?.address, ipv6?.address]) {
    if (address && !routes.include.some(({ family }) => family === address.family)) {
      missing.push(Prefix.of(address, address.family === 4 ? 32 : 128))
    }
  }
  return [...routes.include, ...missing]
}

function writeRoute(add: (name: string, value: string) => void, name: string, prefix: Prefix): void {
  if (prefix.family === 4) add(name, `${prefix.address}/${prefix.netmask}`)
  else add(`${name}-IP6`, prefix.toString())
}

function orNone(seconds: number): string {
  return seconds === 0 ? 'none' : String(seconds)
}

/** Plain ASCII goes as it is; anything else is percent-encoded, as Cisco's gateways do. */
function writeBanner(text: string): string {
  const plain = /^[\x20-\x24\x26-\x7e]*$/.test(text) && text === text.trim()
  return plain ? text : encodeURIComponent(wellFormed(text))
}

/** Lone surrogates, which have no encoding, become U+FFFD. */
function wellFormed(text: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(text))
}

function readBanner(text: string): string {
  if (!text.includes('%')) return text.slice(0, MAX_TEXT_LENGTH)
  try {
    return decodeURIComponent(text).slice(0, MAX_TEXT_LENGTH)
  } catch {
    return text.slice(0, MAX_TEXT_LENGTH)
  }
}
