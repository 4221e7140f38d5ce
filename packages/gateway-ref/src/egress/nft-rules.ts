import type { IpAddress, Prefix } from '@twinbore/core/address'

// The rules of each way out, as text for `nft -f`. Pure: what the host looks like goes in, a script comes out. One table
// per gateway holds everything, so that taking it back is one command.
//
//   raw (-300)        what may come in at all; packets for the translator's ports are turned to the transit address
//   forward (0)       who may pass through
//   srcnat (100)      masquerade, in `kernel` mode
//   leaving (300)     behind every translation: transit becomes the host's address, and whatever still has an inside
//                     address is dropped. With the device gone this drops everything that is the gateway's.

/** An interface on the corporate side and the host's own addresses there. */
export interface Uplink {
  readonly device: string
  readonly ipv4: IpAddress | undefined
  readonly ipv6: IpAddress | undefined
}

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** What every way out tells its rules. */
export interface CommonRules {
  /** Name of the table; see `tableName`. */
  readonly table: string
  /** Name of the TUN. */
  readonly device: string
  readonly pool: { readonly ipv4: Prefix | undefined; readonly ipv6: Prefix | undefined }
  /** Families in which the host did not forward before: in these nothing but the gateway's traffic is forwarded. */
  readonly exclusive: { readonly ipv4: boolean; readonly ipv6: boolean }
  /** What the host was like before, to be read back after a crash; see `readSaved`. */
  readonly saved: string
}

export interface HostAddressRules extends CommonRules {
  /** The translator's addresses on the device. */
  readonly transit: { readonly ipv4: IpAddress; readonly ipv6: IpAddress }
  readonly uplinks: readonly Uplink[]
  readonly ports: PortRange
  readonly features: NftFeatures
}

/** What not every kernel has. */
export interface NftFeatures {
  /** `socket` matches: packets of sockets that the host has in the port range stay with the host. */
  readonly socket: boolean
  /** `tproxy`: a rule that never matches, there because it turns on the reassembly of fragments, whose rest has no port. */
  readonly reassembly: boolean
}

export interface OwnAddressRules extends CommonRules {
  /** Outside addresses that belong to the translator alone. */
  readonly addresses: readonly IpAddress[]
}

export interface KernelRules extends CommonRules {
  /** Source addresses to use; empty means that of the interface by which a packet leaves. */
  readonly addresses: readonly IpAddress[]
  readonly tcpPorts: PortRange
  readonly udpPorts: PortRange
}

/** Idle lives of the kernel's connection tracking, in seconds: RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 7857 §2. */
const tcpTimeouts =
  'syn_sent : 240, syn_recv : 240, established : 7440, fin_wait : 240, close_wait : 240, last_ack : 240, time_wait : 240, close : 240'
const udpTimeouts = 'unreplied : 300, replied : 300'

/** The table of a gateway. */
export function tableName(instance: string): string {
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(instance)) {
    throw new RangeError('instance must have 1 to 32 letters, digits, "-" or "_"')
  }
  return `twinbore-${instance}`
}

/**
 * `translate` with the host's own address, by port. Stateless: the address is rewritten both ways and conntrack never sees
 * the packets. Inbound, only what belongs to the port range is turned to the translator: TCP and UDP by destination port,
 * echo replies by identifier, ICMP errors by the source port of the packet that they carry (without IPv4 options or IPv6
 * extension headers). The host keeps what its own sockets and its own pings wait for.
 */
export function hostAddressRules(rules: HostAddressRules): string {
  const { transit, ports, features } = rules
  const range = `${ports.first}-${ports.last}`
  const uplinks4 = rules.uplinks.filter(uplink => uplink.ipv4)
  const uplinks6 = rules.uplinks.filter(uplink => uplink.ipv6)
  const others = `{ "lo", "${rules.device}" }`
  return table(rules, [
    'set own-echo4 { typeof ip daddr . icmp id; size 65535; flags dynamic, timeout; timeout 1m; }',
    'set own-echo6 { typeof ip6 daddr . icmpv6 id; size 65535; flags dynamic, timeout; timeout 1m; }',
    ...chain('to-translator4', undefined, [
      // Datagrams of tunnels come here one by one: they are let go before a socket is looked for.
      `meta l4proto { tcp, udp } th dport != ${range} accept`,
      ...hostSockets(features),
      `meta l4proto { tcp, udp } th dport ${range} notrack ip daddr set ${transit.ipv4} accept`,
      'icmp type echo-reply ip saddr . icmp id @own-echo4 accept',
      `icmp type echo-reply icmp id ${range} notrack ip daddr set ${transit.ipv4} accept`,
      `icmp type { destination-unreachable, time-exceeded, parameter-problem } jump errors4`,
    ]),
    // Offsets in bits from the ICMP header (8 bytes): version and length @64, protocol @136, behind 20 bytes @224.
    ...chain('errors4', undefined, [
      '@th,64,8 != 0x45 accept',
      `@th,136,8 { 6, 17 } @th,224,16 ${range} notrack ip daddr set ${transit.ipv4} accept`,
      `@th,136,8 1 @th,224,8 8 @th,256,16 ${range} notrack ip daddr set ${transit.ipv4} accept`,
    ]),
    ...chain('to-translator6', undefined, [
      // Datagrams of tunnels come here one by one: they are let go before a socket is looked for.
      `meta l4proto { tcp, udp } th dport != ${range} accept`,
      ...hostSockets(features),
      `meta l4proto { tcp, udp } th dport ${range} notrack ip6 daddr set ${transit.ipv6} accept`,
      'icmpv6 type echo-reply ip6 saddr . icmpv6 id @own-echo6 accept',
      `icmpv6 type echo-reply icmpv6 id ${range} notrack ip6 daddr set ${transit.ipv6} accept`,
      `icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } jump errors6`,
    ]),
    // Likewise for IPv6: next header @112, behind 40 bytes @384.
    ...chain('errors6', undefined, [
      `@th,112,8 { 6, 17 } @th,384,16 ${range} notrack ip6 daddr set ${transit.ipv6} accept`,
      `@th,112,8 58 @th,384,8 128 @th,416,16 ${range} notrack ip6 daddr set ${transit.ipv6} accept`,
    ]),
    ...chain('raw', 'type filter hook prerouting priority raw; policy accept', [
      `iifname "${rules.device}" ip saddr ${transit.ipv4} notrack accept`,
      `iifname "${rules.device}" ip6 saddr ${transit.ipv6} notrack accept`,
      `iifname "${rules.device}" drop`,
      ...fromPool(rules, 'drop'),
      `iifname != ${others} ip saddr ${transit.ipv4} drop`,
      `iifname != ${others} ip daddr ${transit.ipv4} drop`,
      `iifname != ${others} ip6 saddr ${transit.ipv6} drop`,
      `iifname != ${others} ip6 daddr ${transit.ipv6} drop`,
      ...uplinks4.map(uplink => `iifname "${uplink.device}" ip daddr ${uplink.ipv4} jump to-translator4`),
      ...uplinks6.map(uplink => `iifname "${uplink.device}" ip6 daddr ${uplink.ipv6} jump to-translator6`),
      ...(features.reassembly
        ? [
            `iifname "${NO_INTERFACE}" meta nfproto ipv4 meta l4proto udp tproxy ip to :1`,
            `iifname "${NO_INTERFACE}" meta nfproto ipv6 meta l4proto udp tproxy ip6 to :1`,
          ]
        : []),
    ]),
    ...chain('own', 'type filter hook output priority raw; policy accept', [
      'meta l4proto != { 1, 58 } accept',
      'icmp type echo-request update @own-echo4 { ip daddr . icmp id }',
      'icmpv6 type echo-request update @own-echo6 { ip6 daddr . icmpv6 id }',
      // An error or redirect of this host about a packet that it had already turned to the translator would carry the
      // transit address: the destination of the quoted packet, or of the redirect.
      `oifname != ${others} icmp type { destination-unreachable, redirect, time-exceeded, parameter-problem } @th,192,32 ${hex(transit.ipv4)} drop`,
      `oifname != ${others} icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } @th,256,128 ${hex(transit.ipv6)} drop`,
      `oifname != ${others} icmpv6 type nd-redirect @th,192,128 ${hex(transit.ipv6)} drop`,
    ]),
    ...chain('forward', 'type filter hook forward priority filter; policy accept', [
      `iifname "${rules.device}" oifname "${rules.device}" drop`,
      ...exclusive(rules),
    ]),
    ...chain('leaving', 'type filter hook postrouting priority 300; policy accept', [
      `oifname ${others} accept`,
      ...withPool(rules),
      `ip daddr ${transit.ipv4} drop`,
      `ip6 daddr ${transit.ipv6} drop`,
      ...uplinks4.map(
        uplink => `oifname "${uplink.device}" ip saddr ${transit.ipv4} ip saddr set ${uplink.ipv4} accept`,
      ),
      ...uplinks6.map(
        uplink => `oifname "${uplink.device}" ip6 saddr ${transit.ipv6} ip6 saddr set ${uplink.ipv6} accept`,
      ),
      `ip saddr ${transit.ipv4} drop`,
      `ip6 saddr ${transit.ipv6} drop`,
    ]),
  ])
}

/** `translate` with outside addresses of its own: nothing is rewritten, they are only kept apart from everything else. */
export function ownAddressRules(rules: OwnAddressRules): string {
  const outside4 = rules.addresses.filter(address => address.family === 4)
  const outside6 = rules.addresses.filter(address => address.family === 6)
  const each = (rule: (key: string, addresses: string) => string): string[] => [
    ...(outside4.length > 0 ? [rule('ip', list(outside4))] : []),
    ...(outside6.length > 0 ? [rule('ip6', list(outside6))] : []),
  ]
  const others = `{ "lo", "${rules.device}" }`
  return table(rules, [
    ...chain('raw', 'type filter hook prerouting priority raw; policy accept', [
      ...each((key, addresses) => `iifname "${rules.device}" ${key} saddr ${addresses} notrack accept`),
      `iifname "${rules.device}" drop`,
      ...fromPool(rules, 'drop'),
      ...each((key, addresses) => `iifname != "lo" ${key} saddr ${addresses} drop`),
      ...each((key, addresses) => `${key} daddr ${addresses} notrack`),
    ]),
    ...chain('forward', 'type filter hook forward priority filter; policy accept', [
      `iifname "${rules.device}" oifname "${rules.device}" drop`,
      ...exclusive(rules),
    ]),
    ...chain('leaving', 'type filter hook postrouting priority 300; policy accept', [
      `oifname ${others} accept`,
      ...withPool(rules),
      ...each((key, addresses) => `${key} daddr ${addresses} drop`),
    ]),
  ])
}

/**
 * `kernel`: masquerade with ports of a range, which excludes listeners. Without the range a client could take the mapping
 * that another client's datagrams to the gateway's own port match (Port Shadow, CVE-2021-3773). The range also keeps the
 * mapping endpoint-independent, which `fully-random` would not. No helpers, so no pinholes.
 */
export function kernelRules(rules: KernelRules): string {
  const { ipv4, ipv6 } = rules.pool
  const others = `{ "lo", "${rules.device}" }`
  const timeouts: string[] = []
  const timeoutRules: string[] = []
  const sourceRules: string[] = []
  for (const [key, l3, icmp, pool] of [
    // By number: nft knows the names of these two only where /etc/protocols is (Debian's netbase).
    ['ip', 'ip', '1', ipv4],
    ['ip6', 'ip6', '58', ipv6],
  ] as const) {
    if (!pool) continue
    timeouts.push(`ct timeout tcp-${l3} { protocol tcp; l3proto ${l3}; policy = { ${tcpTimeouts} }; }`)
    timeouts.push(`ct timeout udp-${l3} { protocol udp; l3proto ${l3}; policy = { ${udpTimeouts} }; }`)
    timeoutRules.push(`iifname "${rules.device}" ${key} saddr ${pool} meta l4proto tcp ct timeout set "tcp-${l3}"`)
    timeoutRules.push(`iifname "${rules.device}" ${key} saddr ${pool} meta l4proto udp ct timeout set "udp-${l3}"`)
    const own = rules.addresses.filter(address => address.family === pool.family)
    for (const [protocol, ports] of [
      ['tcp', rules.tcpPorts],
      ['udp', rules.udpPorts],
      [icmp, undefined],
    ] as const) {
      const match = `${key} saddr ${pool} oifname != ${others} meta l4proto ${protocol}`
      const range = ports ? `:${ports.first}-${ports.last}` : ''
      if (own.length === 0) sourceRules.push(`${match} masquerade${range && ` to ${range}`}`)
      own.forEach((address, i) => {
        const share = own.length === 1 ? '' : ` jhash ${key} saddr mod ${own.length} seed 0x7b ${i}`
        const target = address.family === 6 && range ? `[${address}]` : `${address}`
        sourceRules.push(`${match}${share} snat ${key} to ${target}${range}`)
      })
    }
  }
  return table(rules, [
    ...timeouts,
    ...chain('raw', 'type filter hook prerouting priority raw; policy accept', [
      ...fromPool(rules, 'drop'),
      ...(ipv4 ? [`iifname "${rules.device}" ip saddr ${ipv4} accept`] : []),
      ...(ipv6 ? [`iifname "${rules.device}" ip6 saddr ${ipv6} accept`] : []),
      `iifname "${rules.device}" drop`,
    ]),
    ...chain('timeouts', 'type filter hook prerouting priority mangle; policy accept', timeoutRules),
    ...chain('forward', 'type filter hook forward priority filter; policy accept', [
      `iifname "${rules.device}" oifname "${rules.device}" drop`,
      `iifname "${rules.device}" ct state { new, established, related } accept`,
      `iifname "${rules.device}" drop`,
      `oifname "${rules.device}" ct state { established, related } accept`,
      `oifname "${rules.device}" drop`,
      ...exclusive(rules),
    ]),
    ...chain('source', 'type nat hook postrouting priority srcnat; policy accept', sourceRules),
    ...chain('leaving', 'type filter hook postrouting priority 300; policy accept', [
      `oifname ${others} accept`,
      ...withPool(rules),
    ]),
  ])
}

/** The script that removes a table; without effect if there is none. */
export function removalScript(name: string): string {
  return `table inet ${name} {\n}\ndelete table inet ${name}\n`
}

/** The text that a table keeps about the time before it, from the listing of the table. `undefined` if it keeps none. */
export function readSaved(listing: string): string | undefined {
  const pieces: string[] = []
  for (const [, number, piece] of listing.matchAll(/chain saved(\d+) \{\s*comment "([^"]*)"/g)) {
    pieces[Number(number)] = piece!
  }
  return pieces.length > 0 ? pieces.join('') : undefined
}

/** The longest comment that the kernel keeps. */
const COMMENT_LENGTH = 120

/** The kernel refuses interfaces with a slash in their name, so no packet ever comes in by this one. */
const NO_INTERFACE = 'no/interface'

/** Replaces the table by one with this content, in one step. */
function table(rules: CommonRules, lines: readonly string[]): string {
  if (!/^[A-Za-z0-9+/=_.-]*$/.test(rules.saved)) throw new RangeError('saved must be plain base64 text')
  const pieces = rules.saved.match(new RegExp(`.{1,${COMMENT_LENGTH}}`, 'g')) ?? []
  const saved = pieces.flatMap((piece, i) => [`chain saved${i} {`, `  comment "${piece}"`, '}'])
  const content = [...saved, ...lines].map(line => `  ${line}\n`).join('')
  return `${removalScript(rules.table)}table inet ${rules.table} {\n${content}}\n`
}

function chain(name: string, hook: string | undefined, rules: readonly string[]): string[] {
  return [`chain ${name} {`, ...(hook ? [`  ${hook}`] : []), ...rules.map(rule => `  ${rule}`), '}']
}

function hostSockets(features: NftFeatures): string[] {
  // One rule, so that a socket is looked for once.
  return features.socket ? ['socket wildcard { 0, 1 } accept'] : []
}

/** What to do with packets that come with a pool address from anywhere but the device. */
function fromPool(rules: CommonRules, verdict: string): string[] {
  const elsewhere = `iifname != { "lo", "${rules.device}" }`
  return [
    ...(rules.pool.ipv4 ? [`${elsewhere} ip saddr ${rules.pool.ipv4} ${verdict}`] : []),
    ...(rules.pool.ipv6 ? [`${elsewhere} ip6 saddr ${rules.pool.ipv6} ${verdict}`] : []),
  ]
}

/** Drops, for the end of the way out, whatever has a pool address. */
function withPool(rules: CommonRules): string[] {
  return [
    ...(rules.pool.ipv4 ? [`ip saddr ${rules.pool.ipv4} drop`, `ip daddr ${rules.pool.ipv4} drop`] : []),
    ...(rules.pool.ipv6 ? [`ip6 saddr ${rules.pool.ipv6} drop`, `ip6 daddr ${rules.pool.ipv6} drop`] : []),
  ]
}

/** A host that was no router before becomes one for the gateway only. */
function exclusive(rules: CommonRules): string[] {
  const neither = `iifname != "${rules.device}" oifname != "${rules.device}"`
  return [
    ...(rules.exclusive.ipv4 ? [`meta nfproto ipv4 ${neither} drop`] : []),
    ...(rules.exclusive.ipv6 ? [`meta nfproto ipv6 ${neither} drop`] : []),
  ]
}

function list(addresses: readonly IpAddress[]): string {
  return `{ ${addresses.join(', ')} }`
}

function hex(address: IpAddress): string {
  return `0x${Array.from(address.bytes, byte => byte.toString(16).padStart(2, '0')).join('')}`
}
