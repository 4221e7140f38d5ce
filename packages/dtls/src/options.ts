import type { RecordBatch } from './batch.ts'
import { copyBytes } from './copy-bytes.ts'
import { type CipherSuite, type CipherSuiteName, cipherSuiteOf, cipherSuites } from './crypto/cipher-suites.ts'
import type { CryptoProvider } from './crypto/crypto-provider.ts'
import type { Milliseconds, Random } from './machine.ts'

/** A key that both peers know beforehand. RFC 4279. */
export interface PreSharedKey {
  /** The name that the client sends in clear, at most 128 bytes. Text is sent as UTF-8. */
  readonly identity: Uint8Array | string
  /** 1 to 512 bytes. */
  readonly key: Uint8Array
}

/** What both roles can set. Everything but `crypto` and `random` has a default. */
export interface DtlsOptions {
  /** The primitives; `systemCrypto` of `dtls/io`, or `nodeCrypto`, which needs no other package. */
  readonly crypto: CryptoProvider
  /** For hellos and cookie secrets; `nodeRandom` of `dtls/io`. */
  readonly random: Random
  /** What may be agreed on, best first. A server goes by its own order. @defaultValue all of `cipherSuites` */
  readonly cipherSuites?: readonly CipherSuiteName[]
  /** The longest datagram of a handshake, in bytes of UDP payload, 256 or more. Application data is not held to it. @defaultValue 1200 */
  readonly mtu?: number
  /** The wait before a flight is sent again the first time; it doubles each time. RFC 6347 §4.2.4.1. @defaultValue 1000 */
  readonly retransmitTimeoutMs?: Milliseconds
  /** What the wait doubles up to. @defaultValue 60_000 */
  readonly maxRetransmitTimeoutMs?: Milliseconds
  /** After this time an unfinished handshake fails. @defaultValue 60_000 */
  readonly handshakeTimeoutMs?: Milliseconds
  /** Whether to offer, and to accept, keys bound to the whole handshake (RFC 7627). A peer without it is served too. @defaultValue true */
  readonly extendedMasterSecret?: boolean
  /** The longest plaintext that the peer may send, 64 to 16384 bytes; told to it if it knows RFC 8449. @defaultValue 16_384 */
  readonly recordSizeLimit?: number
  /**
   * Where the sequence numbers of established associations are noted as they change, before a record leaves: for association `n`
   * its next number to write at `2 * n` (0 once it has ended), the highest number read at `2 * n + 1` (-1). It may lie over a
   * SharedArrayBuffer; then whoever holds snapshots can go on where a thread stopped. A `DtlsAssociation` is number 0. A
   * `DtlsServer` needs four numbers for each of `maxAssociations`. @defaultValue nowhere
   */
  readonly sequences?: Float64Array
}

/** Options of a client. */
export interface DtlsClientOptions extends DtlsOptions {
  readonly role: 'client'
  readonly psk: PreSharedKey
  /** The session id of the hello, 0 to 32 bytes: OpenConnect puts its App-ID there. No session is resumed by it. @defaultValue empty */
  readonly sessionId?: Uint8Array
}

/** Looks a key up. `undefined` refuses the client. It is called once per handshake and must answer at once. */
export type FindPsk = (sessionId: Uint8Array, identity: Uint8Array) => Uint8Array | undefined

/** Options of the server side of a single association, whose peer is already known. Many peers: `DtlsServer`. */
export interface DtlsPeerServerOptions extends DtlsOptions {
  readonly role: 'server'
  readonly findPsk: FindPsk
}

/**
 * When a server asks a client to prove its address before it keeps any state (RFC 6347 §4.2.1). `under-load`: when a quarter
 * of `maxHalfOpen` is in use, or the endpoint already has a handshake under way. Without the proof a server sends an endpoint
 * at most three times the bytes that it received from it.
 */
export type CookiePolicy = 'always' | 'under-load' | 'never'

/** Options of `DtlsServer`. */
export interface DtlsServerOptions extends DtlsOptions {
  readonly findPsk: FindPsk
  /**
   * Whether a session id (an App-ID) is known at all. A hello with another one is dropped without a word, before any work.
   * @defaultValue every session id is
   */
  readonly knowsSession?: (sessionId: Uint8Array) => boolean
  /** @defaultValue 'always' */
  readonly cookies?: CookiePolicy
  /** How long a cookie is good, at least; at most twice as long. @defaultValue 30_000 */
  readonly cookieLifetimeMs?: Milliseconds
  /** Handshakes under way at once; one costs up to 30 kB. More hellos are dropped and counted. @defaultValue 1024 */
  readonly maxHalfOpen?: number
  /** The same for one host. @defaultValue 64 */
  readonly maxHalfOpenPerHost?: number
  /** Established associations at once; one costs about 7 kB. Hellos beyond it are dropped and counted. @defaultValue 10_000 */
  readonly maxAssociations?: number
  /**
   * Trial decryptions a second for records from unknown endpoints, by which peers are followed when their address changes.
   * A record is tried against at most eight associations, and twice as many records as this a second are looked at. 0 turns it off. @defaultValue 200
   */
  readonly maxRoamingTrials?: number
  /** The host part of an endpoint, for caps and cookies. @defaultValue the endpoint's number as text */
  readonly hostOf?: (endpoint: number) => string
  /** The port of an endpoint, for cookies. @defaultValue the endpoint's number */
  readonly portOf?: (endpoint: number) => number
  /** Called for each reference that the server keeps to an endpoint. */
  readonly retainEndpoint?: (endpoint: number) => void
  /** Called when it gives one up. */
  readonly releaseEndpoint?: (endpoint: number) => void
  /**
   * Takes a datagram that `openDatagrams` would drop, untouched: one record of application data that no association here
   * knows. It may be that of another server behind the same address and port. Returns whether it took it; then the slot becomes
   * `divert`, and nothing is counted. @defaultValue takes nothing
   */
  readonly takeUnknown?: (batch: RecordBatch, slot: number) => boolean
}

/** The defaults of the options that have one. */
export const defaultDtlsOptions: {
  readonly mtu: number
  readonly retransmitTimeoutMs: Milliseconds
  readonly maxRetransmitTimeoutMs: Milliseconds
  readonly handshakeTimeoutMs: Milliseconds
  readonly extendedMasterSecret: boolean
  readonly recordSizeLimit: number
} = {
  mtu: 1200,
  retransmitTimeoutMs: 1000,
  maxRetransmitTimeoutMs: 60_000,
  handshakeTimeoutMs: 60_000,
  extendedMasterSecret: true,
  recordSizeLimit: 16_384,
}

/** The further defaults of a server. */
export const defaultDtlsServerOptions: {
  readonly cookies: CookiePolicy
  readonly cookieLifetimeMs: Milliseconds
  readonly maxHalfOpen: number
  readonly maxHalfOpenPerHost: number
  readonly maxAssociations: number
  readonly maxRoamingTrials: number
} = {
  cookies: 'always',
  cookieLifetimeMs: 30_000,
  maxHalfOpen: 1024,
  maxHalfOpenPerHost: 64,
  maxAssociations: 10_000,
  maxRoamingTrials: 200,
}

/** `DtlsOptions` as the code reads them. */
export interface DtlsConfig {
  readonly crypto: CryptoProvider
  readonly random: Random
  readonly cipherSuites: readonly CipherSuite[]
  readonly mtu: number
  readonly retransmitTimeoutMs: Milliseconds
  readonly maxRetransmitTimeoutMs: Milliseconds
  readonly handshakeTimeoutMs: Milliseconds
  readonly extendedMasterSecret: boolean
  readonly recordSizeLimit: number
  readonly sequences: Float64Array | undefined
}

export interface ClientConfig extends DtlsConfig {
  readonly role: 'client'
  readonly sessionId: Uint8Array
  readonly identity: Uint8Array
  readonly key: Uint8Array
}

export interface PeerServerConfig extends DtlsConfig {
  readonly role: 'server'
  readonly findPsk: FindPsk
}

export interface ServerConfig extends PeerServerConfig {
  readonly knowsSession: (sessionId: Uint8Array) => boolean
  readonly cookies: CookiePolicy
  readonly cookieLifetimeMs: Milliseconds
  readonly maxHalfOpen: number
  readonly maxHalfOpenPerHost: number
  readonly maxAssociations: number
  readonly maxRoamingTrials: number
  readonly hostOf: (endpoint: number) => string
  readonly portOf: (endpoint: number) => number
  readonly retainEndpoint: (endpoint: number) => void
  readonly releaseEndpoint: (endpoint: number) => void
  readonly takeUnknown: ((batch: RecordBatch, slot: number) => boolean) | undefined
}

/** Checks the options of a client and fills in defaults. @throws RangeError or TypeError naming the option */
export function clientConfig(options: DtlsClientOptions): ClientConfig {
  const sessionId = options.sessionId ?? new Uint8Array(0)
  if (sessionId.length > 32) throw new RangeError('sessionId must be at most 32 bytes')
  const { identity, key } = options.psk
  const identityBytes = typeof identity === 'string' ? new TextEncoder().encode(identity) : identity
  if (identityBytes.length > 128) throw new RangeError('psk.identity must be at most 128 bytes')
  if (key.length < 1 || key.length > 512) throw new RangeError('psk.key must be 1 to 512 bytes')
  return {
    ...commonConfig(options),
    role: 'client',
    sessionId: copyBytes(sessionId),
    identity: copyBytes(identityBytes),
    key: copyBytes(key),
  }
}

/** Checks the options of a one-peer server and fills in defaults. @throws RangeError or TypeError naming the option */
export function peerServerConfig(options: DtlsPeerServerOptions): PeerServerConfig {
  if (typeof options.findPsk !== 'function') throw new TypeError('findPsk must be a function')
  return { ...commonConfig(options), role: 'server', findPsk: options.findPsk }
}

/** Checks the options of a server and fills in defaults. @throws RangeError or TypeError naming the option */
export function serverConfig(options: DtlsServerOptions): ServerConfig {
  const defaults = defaultDtlsServerOptions
  const cookies = options.cookies ?? defaults.cookies
  if (!['always', 'under-load', 'never'].includes(cookies)) {
    throw new RangeError("cookies must be 'always', 'under-load' or 'never'")
  }
  const maxAssociations = integer('maxAssociations', options.maxAssociations ?? defaults.maxAssociations, 1, MILLION)
  if (options.sequences !== undefined && options.sequences.length < 4 * maxAssociations) {
    throw new RangeError(`sequences must have room for ${4 * maxAssociations} numbers`)
  }
  return {
    ...peerServerConfig({ ...options, role: 'server' }),
    knowsSession: options.knowsSession ?? (() => true),
    cookies,
    cookieLifetimeMs: integer('cookieLifetimeMs', options.cookieLifetimeMs ?? defaults.cookieLifetimeMs, 1000, DAY),
    maxHalfOpen: integer('maxHalfOpen', options.maxHalfOpen ?? defaults.maxHalfOpen, 1, MILLION),
    maxHalfOpenPerHost: integer(
      'maxHalfOpenPerHost',
      options.maxHalfOpenPerHost ?? defaults.maxHalfOpenPerHost,
      1,
      MILLION,
    ),
    maxAssociations,
    maxRoamingTrials: integer('maxRoamingTrials', options.maxRoamingTrials ?? defaults.maxRoamingTrials, 0, MILLION),
    hostOf: options.hostOf ?? String,
    portOf: options.portOf ?? (endpoint => endpoint),
    retainEndpoint: options.retainEndpoint ?? (() => {}),
    releaseEndpoint: options.releaseEndpoint ?? (() => {}),
    takeUnknown: options.takeUnknown,
  }
}

function commonConfig(options: DtlsOptions): DtlsConfig {
  const defaults = defaultDtlsOptions
  if (options.crypto === undefined) throw new TypeError('crypto is missing')
  if (options.random === undefined) throw new TypeError('random is missing')
  const suites = options.cipherSuites?.map(cipherSuiteOf) ?? cipherSuites
  if (suites.length === 0) throw new RangeError('cipherSuites must not be empty')
  if (options.sequences !== undefined && options.sequences.length < 2) {
    throw new RangeError('sequences must have room for two numbers an association')
  }
  return {
    crypto: options.crypto,
    random: options.random,
    cipherSuites: suites,
    mtu: integer('mtu', options.mtu ?? defaults.mtu, 256, 65_507),
    retransmitTimeoutMs: integer(
      'retransmitTimeoutMs',
      options.retransmitTimeoutMs ?? defaults.retransmitTimeoutMs,
      10,
      DAY,
    ),
    maxRetransmitTimeoutMs: integer(
      'maxRetransmitTimeoutMs',
      options.maxRetransmitTimeoutMs ?? defaults.maxRetransmitTimeoutMs,
      10,
      DAY,
    ),
    handshakeTimeoutMs: integer(
      'handshakeTimeoutMs',
      options.handshakeTimeoutMs ?? defaults.handshakeTimeoutMs,
      100,
      DAY,
    ),
    extendedMasterSecret: options.extendedMasterSecret ?? defaults.extendedMasterSecret,
    recordSizeLimit: integer('recordSizeLimit', options.recordSizeLimit ?? defaults.recordSizeLimit, 64, 16_384),
    sequences: options.sequences,
  }
}

const DAY = 86_400_000
const MILLION = 1_000_000

function integer(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} must be an integer from ${least} to ${most}`)
  }
  return value
}
