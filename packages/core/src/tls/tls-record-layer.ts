import { copyBytes } from './copy-bytes.ts'
import { PostHandshake, type PostHandshakeResult } from './post-handshake.ts'
import { type AlertDescription, ContentType } from './record-format.ts'
import { type RecordProtection, Tls12Protection, Tls13Protection } from './record-protection.ts'
import type { TlsCrypto } from './tls-crypto.ts'
import { nextTrafficSecret, type TrafficKeys, trafficKeysOf, wipe } from './tls-key-schedule.ts'
import type { TlsSuite } from './tls-suite.ts'

/** One direction of a connection whose handshake is over. Secrets are copied. */
export type DirectionState = {
  /** The number of the next record. */
  readonly sequence: number
} & (
  | { /** TLS 1.3: the application traffic secret. */ readonly secret: Uint8Array }
  | { /** TLS 1.2. */ readonly keys: TrafficKeys }
)

export interface TlsRecordLayerOptions {
  readonly suite: TlsSuite
  readonly crypto: TlsCrypto
  readonly role: 'client' | 'server'
  /** What this side sends. */
  readonly sealing: DirectionState
  /** What the peer sends. */
  readonly opening: DirectionState
  /**
   * After so many records this side changes its key; TLS 1.3 only.
   * @defaultValue 2^24, below the limit of AES-GCM (RFC 8446 §5.5)
   */
  readonly recordsPerKey?: number
}

const HANDSHAKE_KEY_UPDATE = [24, 0, 0, 1, 0] as const
const WARNING = 1
const FATAL = 2

/**
 * The record layer of a TLS connection whose handshake somebody else has made: a machine over bytes.
 *
 * It begins with the traffic secrets and sequence numbers of both directions, as kernel TLS does, and follows key updates
 * (RFC 8446 §4.6.3) from then on. `TlsFrameReader` reads through it; who writes puts plaintext `headerBytes` behind the place where
 * a record shall begin, after having asked `keyUpdateDue`.
 */
export class TlsRecordLayer {
  /** Whether a key update must be sealed before the next data. */
  keyUpdateDue = false
  /** Keys changed so far, of either direction. */
  keyUpdates = 0
  opening: RecordProtection
  private sealing: RecordProtection
  private readonly options: TlsRecordLayerOptions
  private readonly recordsPerKey: number
  private readonly postHandshake: PostHandshake
  private sealingSecret: Uint8Array | undefined
  private openingSecret: Uint8Array | undefined
  private disposed = false

  constructor(options: TlsRecordLayerOptions) {
    this.options = options
    this.recordsPerKey =
      options.suite.version === 'TLSv1.3' ? (options.recordsPerKey ?? 2 ** 24) : Number.MAX_SAFE_INTEGER
    this.postHandshake = new PostHandshake(options.role)
    this.sealingSecret = 'secret' in options.sealing ? copyBytes(options.sealing.secret) : undefined
    this.openingSecret = 'secret' in options.opening ? copyBytes(options.opening.secret) : undefined
    this.sealing = protectionOf(options, options.sealing, 'seal')
    this.opening = protectionOf(options, options.opening, 'open')
  }

  /** Bytes of a record of ours before its plaintext. */
  get headerBytes(): number {
    return this.sealing.headerBytes
  }

  /** Bytes of a record of ours behind its plaintext. */
  get trailerBytes(): number {
    return this.sealing.trailerBytes
  }

  /** Seals `length` bytes of application data at `at + headerBytes`. Returns the length of the record. */
  sealData(bytes: Uint8Array, at: number, length: number): number {
    const recordBytes = this.sealing.seal(bytes, at, length, ContentType.applicationData)
    if (this.sealing.sequence >= this.recordsPerKey) this.keyUpdateDue = true
    return recordBytes
  }

  /** Writes the record that announces new keys of this side, and changes to them. Returns its length. */
  sealKeyUpdate(bytes: Uint8Array, at: number): number {
    const { suite, crypto } = this.options
    this.keyUpdateDue = false
    if (this.sealingSecret === undefined) return 0
    bytes.set(HANDSHAKE_KEY_UPDATE, at + this.headerBytes)
    const recordBytes = this.sealing.seal(bytes, at, HANDSHAKE_KEY_UPDATE.length, ContentType.handshake)
    const next = nextTrafficSecret(crypto.hmac, suite, this.sealingSecret)
    wipe(this.sealingSecret)
    this.sealingSecret = next
    this.sealing.dispose()
    this.sealing = protectionOf(this.options, { secret: next, sequence: 0 }, 'seal')
    this.keyUpdates++
    return recordBytes
  }

  /** Writes an alert. Returns the length of its record. */
  sealAlert(bytes: Uint8Array, at: number, description: AlertDescription): number {
    const content = at + this.headerBytes
    bytes[content] = description === 0 ? WARNING : FATAL
    bytes[content + 1] = description
    return this.sealing.seal(bytes, at, 2, ContentType.alert)
  }

  /** A record with data came in. */
  noteData(): void {
    this.postHandshake.noteData()
  }

  /** Whether the rest of a handshake message must come before anything else. */
  get inHandshakeMessage(): boolean {
    return this.postHandshake.incomplete
  }

  /** Takes the plaintext of a handshake record, and changes the keys of the peer when it says so. */
  handleHandshake(bytes: Uint8Array, at: number, length: number): PostHandshakeResult {
    // Another handshake within a TLS 1.2 connection is not offered.
    if (this.openingSecret === undefined) return { alert: 10, text: 'renegotiation' }
    const result = this.postHandshake.handle(bytes, at, length)
    if (result === 'key-update' || result === 'key-update-requested') {
      const { suite, crypto } = this.options
      const next = nextTrafficSecret(crypto.hmac, suite, this.openingSecret)
      wipe(this.openingSecret)
      this.openingSecret = next
      this.opening.dispose()
      this.opening = protectionOf(this.options, { secret: next, sequence: 0 }, 'open')
      this.keyUpdates++
      if (result === 'key-update-requested') this.keyUpdateDue = true
    }
    return result
  }

  /** Wipes all keys. Nothing may be sealed or opened afterwards. */
  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    wipe(this.sealingSecret, this.openingSecret)
    this.sealing.dispose()
    this.opening.dispose()
  }
}

/** The protection of one direction. The caller disposes of it. */
export function protectionOf(
  { suite, crypto }: Pick<TlsRecordLayerOptions, 'suite' | 'crypto'>,
  state: DirectionState,
  direction: 'seal' | 'open',
): RecordProtection {
  const keys = 'secret' in state ? trafficKeysOf(crypto.hmac, suite, state.secret) : state.keys
  const aead = crypto.aead(suite.aead, keys.key, direction)
  const Protection = suite.version === 'TLSv1.3' ? Tls13Protection : Tls12Protection
  const protection = new Protection(aead, keys.iv, state.sequence)
  if ('secret' in state) wipe(keys.key, keys.iv)
  return protection
}
