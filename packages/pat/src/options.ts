import {
  type AddressInput,
  type AddressWords,
  addressWords,
  formatAddress,
  isIpv4,
  type PrefixInput,
  type PrefixWords,
  prefixContains,
  prefixWords,
} from './address.ts'

/**
 * Where randomness comes from. It must be a cryptographic generator outside of tests: ports are security (RFC 6056).
 * `systemRandom` of `@twinbore/core/io` fits.
 */
export interface Random {
  /** Fills `bytes` with random bytes and returns it. */
  fill(bytes: Uint8Array): Uint8Array
  /** A uniform integer from 0 to 2^32 - 1. */
  uint32(): number
}

/** The behaviours of RFC 4787 §4 and §5. */
export type NatBehavior = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'

/** Ports from `first` to `last`, both included. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

/**
 * How a translator behaves. Defaults follow RFC 4787, RFC 5382, RFC 5508, RFC 6888 and RFC 7857; they are exported as
 * `defaultPatOptions`. Mapping is always endpoint-independent (RFC 4787 REQ-1).
 */
export interface PatOptions {
  /** The source of ports, hash keys and identifications. */
  readonly random: Random
  /** The addresses that clients appear with, of either family or both. An inside address keeps one of each family while it has mappings (paired pooling, RFC 6888 REQ-2). */
  readonly outsideAddresses: readonly AddressInput[]
  /** Where inside addresses come from. When given, any other source is dropped as 'spoofedSource', and so is an outside packet that claims one. @defaultValue no check */
  readonly insidePrefixes?: readonly PrefixInput[]
  /** Sources of ICMP errors to clients, one per family. @defaultValue the first outside address of the family */
  readonly gatewayAddresses?: readonly AddressInput[]

  /** Who may use a mapping from outside (RFC 4787 §5). @defaultValue 'address-dependent' */
  readonly filteringBehavior?: NatBehavior
  /** Forbids clients to reach each other through an outside address (hairpinning, RFC 4787 REQ-9). @defaultValue true */
  readonly clientIsolation?: boolean
  /** Takes one off TTL and hop limit and answers the last one with an ICMP error. Off where the host's kernel forwards the packets as well. @defaultValue true */
  readonly decrementTtl?: boolean
  /** Drops TCP segments outside the tracked window instead of forwarding them without effect. @defaultValue false */
  readonly dropOutOfWindow?: boolean

  /**
   * Answers TCP segments of clients that belong to no session with a RST, so that connections from before a restart end at
   * once instead of hanging. Limited like ICMP errors.
   * @defaultValue false
   */
  readonly resetUnknownTcp?: boolean

  /** The ports and echo identifiers to give out. @defaultValue 1024 to 65535 */
  readonly portRange?: PortRange
  /** Ports of the range that are never given out, for every protocol: whatever the gateway itself uses. @defaultValue none */
  readonly excludedPorts?: readonly (number | PortRange)[]
  /** How long a freed port rests before anybody gets it (RFC 6888 REQ-8). TCP ports rest only when live sessions were cut by `removeInside`, because closed sessions were tracked to their end. @defaultValue 120_000 */
  readonly portQuarantineMs?: number
  /** Resting ports per outside address and protocol; beyond it the one that rested longest returns early. @defaultValue 16_384 */
  readonly maxQuarantinedPorts?: number

  /** Live mappings per inside address (RFC 6888 REQ-4). Beyond it packets are dropped as 'quotaExceeded'. @defaultValue 1024 */
  readonly maxTcpMappingsPerInside?: number
  /** @defaultValue 512 */
  readonly maxUdpMappingsPerInside?: number
  /** @defaultValue 64 */
  readonly maxIcmpMappingsPerInside?: number
  /** Live sessions per inside address (RFC 6888 REQ-5). @defaultValue 4096 */
  readonly maxSessionsPerInside?: number
  /** New mappings per second and inside address, and how many at once. Beyond it: 'rateLimited'. @defaultValue 200 and 400 */
  readonly newMappingsPerSecond?: number
  readonly newMappingBurst?: number
  /** Mappings alive at once; see the README for their memory. Beyond it: 'portsExhausted'; live mappings are never evicted. @defaultValue 262_144 */
  readonly maxMappings?: number
  /** Sessions alive at once. Beyond it: 'portsExhausted'. @defaultValue twice `maxMappings` */
  readonly maxSessions?: number

  /** Idle life of a UDP session (RFC 4787 REQ-5: at least 120 000). @defaultValue 300_000 */
  readonly udpTtlMs?: number
  /** Whether inbound UDP and ICMP refresh a session too (RFC 4787 REQ-6). @defaultValue false */
  readonly inboundRefresh?: boolean
  /** Idle life of an ICMP query session (RFC 5508 REQ-1: at least 60 000). @defaultValue 60_000 */
  readonly icmpQueryTtlMs?: number
  /** Idle life of an established TCP session (RFC 5382 REQ-5: at least 7 440 000, 2 h 04 min). @defaultValue 7_440_000 */
  readonly tcpEstablishedTtlMs?: number
  /** Life of a TCP session whose handshake is not done (RFC 7857 §2.1). @defaultValue 240_000 */
  readonly tcpOpeningTtlMs?: number
  /** Life of a TCP session after both FINs, or after a RST (RFC 7857 §2.1, §2.2). @defaultValue 240_000 */
  readonly tcpClosingTtlMs?: number

  /** How long fragments are remembered and early ones held (RFC 6146 §3.4: at least 2 000). @defaultValue 15_000 */
  readonly fragmentTimeoutMs?: number
  /** Fragmented datagrams followed at once, per direction; the oldest gives way. @defaultValue 1024 */
  readonly maxFragmentedDatagrams?: number
  /** The same per sender (senders are told apart by a keyed hash, so some share); beyond it: 'fragmentLimit'. @defaultValue 64 */
  readonly maxFragmentedDatagramsPerSender?: number
  /** Bytes of early fragments held, per direction. @defaultValue 4_194_304 */
  readonly maxHeldFragmentBytes?: number

  /** ICMP errors made per second, in all, with a burst of the same number (RFC 4443 §2.4 f). @defaultValue 200 */
  readonly icmpErrorsPerSecond?: number
  /** The same per receiver. @defaultValue 10 */
  readonly icmpErrorsPerSecondPerReceiver?: number

  /** Emits `mapping-created` and `mapping-expired`. @defaultValue false */
  readonly logMappings?: boolean
  /** Least time between two `ports-exhausted` of one cause. @defaultValue 60_000 */
  readonly exhaustionReportIntervalMs?: number
}

/** Options with every default filled in, and what is read from them. */
export interface PatConfig
  extends Required<Omit<PatOptions, 'outsideAddresses' | 'insidePrefixes' | 'gatewayAddresses'>> {
  readonly outside: readonly AddressWords[]
  readonly inside: readonly PrefixWords[] | undefined
  readonly gateway4: AddressWords | undefined
  readonly gateway6: AddressWords | undefined
}

/** The options that have defaults. */
export type Defaulted = Omit<
  Required<PatOptions>,
  'random' | 'outsideAddresses' | 'insidePrefixes' | 'gatewayAddresses' | 'maxSessions'
>

/** The defaults of `PatOptions`. */
export const defaultPatOptions: Readonly<Defaulted> = Object.freeze({
  filteringBehavior: 'address-dependent',
  clientIsolation: true,
  decrementTtl: true,
  dropOutOfWindow: false,
  resetUnknownTcp: false,
  portRange: Object.freeze({ first: 1024, last: 65_535 }),
  excludedPorts: Object.freeze([]),
  portQuarantineMs: 120_000,
  maxQuarantinedPorts: 16_384,
  maxTcpMappingsPerInside: 1024,
  maxUdpMappingsPerInside: 512,
  maxIcmpMappingsPerInside: 64,
  maxSessionsPerInside: 4096,
  newMappingsPerSecond: 200,
  newMappingBurst: 400,
  maxMappings: 262_144,
  udpTtlMs: 300_000,
  inboundRefresh: false,
  icmpQueryTtlMs: 60_000,
  tcpEstablishedTtlMs: 7_440_000,
  tcpOpeningTtlMs: 240_000,
  tcpClosingTtlMs: 240_000,
  fragmentTimeoutMs: 15_000,
  maxFragmentedDatagrams: 1024,
  maxFragmentedDatagramsPerSender: 64,
  maxHeldFragmentBytes: 4_194_304,
  icmpErrorsPerSecond: 200,
  icmpErrorsPerSecondPerReceiver: 10,
  logMappings: false,
  exhaustionReportIntervalMs: 60_000,
})

const behaviors: readonly string[] = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent']
const maxTableRows = 2 ** 24

/** Validates options. @throws TypeError | RangeError naming the option */
export function resolvePatOptions(options: PatOptions): PatConfig {
  const { outsideAddresses, insidePrefixes, gatewayAddresses, ...rest } = options
  if (typeof rest.random?.uint32 !== 'function' || typeof rest.random.fill !== 'function') {
    throw new TypeError('random: must have fill(bytes) and uint32()')
  }
  for (const key of Object.keys(rest)) {
    if (key !== 'random' && key !== 'maxSessions' && !(key in defaultPatOptions))
      throw new TypeError(`${key}: unknown option`)
  }
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
  const merged = { ...defaultPatOptions, ...given } as typeof defaultPatOptions & typeof rest
  if (!behaviors.includes(merged.filteringBehavior))
    throw new TypeError(`filteringBehavior: one of ${behaviors.join(', ')}`)
  for (const key of [
    'clientIsolation',
    'decrementTtl',
    'dropOutOfWindow',
    'resetUnknownTcp',
    'inboundRefresh',
    'logMappings',
  ] as const) {
    if (typeof merged[key] !== 'boolean') throw new TypeError(`${key}: must be a boolean`)
  }
  for (const key of [
    'udpTtlMs',
    'icmpQueryTtlMs',
    'tcpEstablishedTtlMs',
    'tcpOpeningTtlMs',
    'tcpClosingTtlMs',
    'fragmentTimeoutMs',
    'newMappingsPerSecond',
    'icmpErrorsPerSecond',
    'icmpErrorsPerSecondPerReceiver',
  ] as const) {
    if (!(merged[key] > 0) || !Number.isFinite(merged[key])) throw new RangeError(`${key}: must be a positive number`)
  }
  for (const key of ['portQuarantineMs', 'exhaustionReportIntervalMs'] as const) {
    if (!(merged[key] >= 0) || !Number.isFinite(merged[key]))
      throw new RangeError(`${key}: must be zero or a positive number`)
  }
  for (const key of [
    'maxTcpMappingsPerInside',
    'maxUdpMappingsPerInside',
    'maxIcmpMappingsPerInside',
    'maxSessionsPerInside',
    'newMappingBurst',
    'maxMappings',
    'maxFragmentedDatagrams',
    'maxFragmentedDatagramsPerSender',
  ] as const) {
    integer(key, merged[key], 1, maxTableRows)
  }
  integer('maxQuarantinedPorts', merged.maxQuarantinedPorts, 0, 65_536)
  integer('maxHeldFragmentBytes', merged.maxHeldFragmentBytes, 0, 2 ** 31)
  const maxSessions = resolveMaxSessions(merged)
  checkRange('portRange', merged.portRange)
  for (const excluded of merged.excludedPorts) {
    if (typeof excluded === 'number') integer('excludedPorts', excluded, 0, 65_535)
    else checkRange('excludedPorts', excluded)
  }

  if (!Array.isArray(outsideAddresses) || outsideAddresses.length === 0) {
    throw new TypeError('outsideAddresses: at least one address')
  }
  const outside = outsideAddresses.map(input => addressWords(input, 'outsideAddresses'))
  if (new Set(outside.map(words => words.join())).size !== outside.length) {
    throw new TypeError('outsideAddresses: an address is there twice')
  }
  const inside = insidePrefixes?.map(input => prefixWords(input, 'insidePrefixes'))
  for (const words of outside) {
    const isInside = inside?.some(prefix => prefixContains(prefix, words[0]!, words[1]!, words[2]!, words[3]!))
    if (isInside) throw new TypeError(`outsideAddresses: ${formatAddress(words)} is of the insidePrefixes`)
  }
  const gateways = [...(gatewayAddresses ?? []).map(input => addressWords(input, 'gatewayAddresses')), ...outside]
  return Object.freeze({
    ...merged,
    maxSessions,
    outside,
    inside,
    gateway4: gateways.find(words => isIpv4(words)),
    gateway6: gateways.find(words => !isIpv4(words)),
  })
}

/** @throws RangeError */
export function resolveMaxSessions({
  maxMappings = defaultPatOptions.maxMappings,
  maxSessions = Math.min(2 * maxMappings, maxTableRows),
}: Pick<PatOptions, 'maxMappings' | 'maxSessions'>): number {
  integer('maxSessions', maxSessions, 1, maxTableRows)
  return maxSessions
}

function integer(key: string, value: unknown, least: number, most: number): void {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
    throw new RangeError(`${key}: must be an integer from ${least} to ${most}`)
  }
}

function checkRange(key: string, range: PortRange): void {
  integer(`${key}.first`, range?.first, 0, 65_535)
  integer(`${key}.last`, range.last, range.first, 65_535)
}
