import { addressBytes } from '../ip-text.ts'
import { defaultNetStackLimits, type NetStackLimits } from './limits.ts'
import type { TcpOptions } from './tcp/tcp-config.ts'

/** Where randomness comes from: sequence numbers, ports, identifications. The generator must not be predictable. */
export interface NetStackRandom {
  /** Fills `bytes` with random bytes and returns it. */
  fill(bytes: Uint8Array): Uint8Array
  /** A uniform integer from 0 to 2^32 - 1. */
  uint32(): number
}

/** How a `NetStack` behaves. */
export interface NetStackOptions {
  /** Must not be predictable: sequence numbers (RFC 6528) and ports (RFC 6056) come from it. */
  readonly random: NetStackRandom
  /**
   * The stack's own addresses, as text. Client mode: flows end and begin here; at least one. Gateway mode: the address, one
   * per family, that errors come from and that answers pings by itself. @defaultValue []
   */
  readonly addresses?: readonly string[]
  /** Gateway mode: flows to any destination are surfaced, and an inside address is whoever sends. @defaultValue false */
  readonly acceptAnyDestination?: boolean
  /** The longest packet of a source for which `setMtu` wasn't called, 576 to 65535 (1280 and up where IPv6 is used). @defaultValue 1400 */
  readonly mtu?: number
  /** Hop limit of UDP datagrams and echo messages. @defaultValue 64 */
  readonly hopLimit?: number
  /** How long a UDP flow lives that sends nothing from inside (RFC 4787 REQ-5, REQ-6). Bound ones live until `abort`. @defaultValue 300_000 */
  readonly udpIdleTimeoutMs?: number
  /** Idle times of UDP flows that only ever sent to these remote ports, such as `{ 53: 30_000 }`. @defaultValue {} */
  readonly udpIdleTimeoutMsByPort?: Readonly<Record<number, number>>
  /** How long a TCP request waits for `accept` or `refuse` before it is refused as `host-unreachable`. @defaultValue 75_000 */
  readonly requestTimeoutMs?: number
  /** How long the pieces of an IPv4 datagram wait for the rest. @defaultValue 15_000 */
  readonly reassemblyTimeoutMsV4?: number
  /** The same for IPv6 (RFC 8200 §4.5). @defaultValue 60_000 */
  readonly reassemblyTimeoutMsV6?: number
  /** The ports that `openTcp` and `bindUdp` choose from, both included (RFC 6056 §3.2). @defaultValue [32768, 60999] */
  readonly ephemeralPorts?: readonly [number, number]
  /**
   * A keyed hash (HMAC-SHA-256, SipHash) of at least 8 bytes for initial sequence numbers that nobody can guess and that rise
   * from one connection of the same ends to the next (RFC 6528 §3): `sequenceHash()` of `@twinbore/tun/io`.
   * @defaultValue none: sequence numbers are drawn from `random`, unguessable too, but an old duplicate of the same ends
   * may look new
   */
  readonly keyedHash?: (bytes: Uint8Array) => Uint8Array
  /**
   * Whether `drain` may give super-packets of TCP with partial checksums, as long as the slots of its batch: for whoever cuts
   * them, such as a device that says so or a `Segmenter`. They take the work of one packet. @defaultValue false
   */
  readonly superPackets?: boolean
  /** How TCP connections behave. */
  readonly tcp?: Omit<TcpOptions, 'initialSequences'>
  /** Caps; those that are left out have their default. */
  readonly limits?: Partial<NetStackLimits>
}

/** Options after validation: complete. */
export interface NetStackConfig extends Required<Omit<NetStackOptions, 'addresses' | 'keyedHash' | 'limits'>> {
  readonly ownAddresses: readonly Uint8Array[]
  readonly keyedHash: ((bytes: Uint8Array) => Uint8Array) | undefined
  readonly limits: NetStackLimits
}

export const defaultNetStackMtu = 1400
export const defaultUdpIdleTimeoutMs = 300_000

/** Limits that leave nothing to work with when they are 0. */
const needed: ReadonlySet<string> = new Set(['maxSources', 'maxBufferBytes', 'maxBufferBytesPerSource'])

/** @throws TypeError, RangeError for options that can't be */
export function netStackConfig(options: NetStackOptions): NetStackConfig {
  if (typeof options?.random?.uint32 !== 'function') throw new TypeError('random must be a source of randomness')
  const acceptAnyDestination = options.acceptAnyDestination ?? false
  const ownAddresses = (options.addresses ?? []).map(ownAddress)
  if (!acceptAnyDestination && ownAddresses.length === 0) throw new RangeError('addresses must name at least one')
  const [first, last] = options.ephemeralPorts ?? [32_768, 60_999]
  inRange('ephemeralPorts[0]', first, 1, 65_535)
  inRange('ephemeralPorts[1]', last, first, 65_535)
  const limits = { ...defaultNetStackLimits, ...options.limits }
  for (const [name, value] of Object.entries(limits)) {
    inRange(`limits.${name}`, value, needed.has(name) ? 1 : 0, Number.MAX_SAFE_INTEGER)
  }
  const byPort = options.udpIdleTimeoutMsByPort ?? {}
  for (const [port, value] of Object.entries(byPort)) {
    inRange('udpIdleTimeoutMsByPort', Number(port), 1, 65_535)
    inRange(`udpIdleTimeoutMsByPort[${port}]`, value, 1, Number.MAX_SAFE_INTEGER)
  }
  return {
    random: options.random,
    acceptAnyDestination,
    ownAddresses,
    limits,
    mtu: inRange('mtu', options.mtu ?? defaultNetStackMtu, 576, 65_535),
    hopLimit: inRange('hopLimit', options.hopLimit ?? 64, 1, 255),
    udpIdleTimeoutMs: duration('udpIdleTimeoutMs', options.udpIdleTimeoutMs ?? defaultUdpIdleTimeoutMs),
    udpIdleTimeoutMsByPort: byPort,
    keyedHash: options.keyedHash,
    superPackets: options.superPackets ?? false,
    tcp: options.tcp ?? {},
    requestTimeoutMs: duration('requestTimeoutMs', options.requestTimeoutMs ?? 75_000),
    reassemblyTimeoutMsV4: duration('reassemblyTimeoutMsV4', options.reassemblyTimeoutMsV4 ?? 15_000),
    reassemblyTimeoutMsV6: duration('reassemblyTimeoutMsV6', options.reassemblyTimeoutMsV6 ?? 60_000),
    ephemeralPorts: [first, last],
  }
}

function ownAddress(text: string): Uint8Array {
  const bytes = addressBytes(text)
  if (!bytes) throw new RangeError(`addresses must be IP addresses, not ${JSON.stringify(text)}`)
  return bytes
}

function duration(name: string, value: number): number {
  return inRange(name, value, 1, Number.MAX_SAFE_INTEGER)
}

function inRange(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} must be an integer from ${least} to ${most}`)
  }
  return value
}
