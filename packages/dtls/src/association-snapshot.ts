import { copyBytes } from './copy-bytes.ts'
import { cipherSuiteOf } from './crypto/cipher-suites.ts'
import type { CryptoProvider } from './crypto/crypto-provider.ts'
import type { Secrets } from './dtls12/key-schedule.ts'
import type { Negotiated } from './events.ts'
import { ReadEpoch, WriteEpoch } from './record/epoch-keys.ts'
import { MAX_PLAINTEXT_BYTES, MAX_SEQUENCE } from './record/record-header.ts'
import { RecordProtection } from './record/record-protection.ts'
import { REPLAY_RING_WORDS } from './record/replay-window.ts'

/**
 * All of an established association: plain values that structured clone copies, so that it can go on in another thread or another
 * process, or that something else than this package can protect its records.
 *
 * It holds the traffic keys: **whoever has it can read and forge everything, from its first record on.** Keep it in memory, wipe
 * what you don't need. **Two owners must never seal with it**: a sequence number that is used twice gives away the plaintext of
 * both records and the key that authenticates them. Either the exporting side seals nothing after the export, or both keep
 * their numbers in the same `sequences` (see `DtlsOptions`) and only one of them lives.
 */
export interface AssociationSnapshot {
  /** The layout of this value. */
  readonly format: 1
  readonly role: 'client' | 'server'
  /** Its number in the `DtlsServer` that it is of; -1 for a `DtlsAssociation`. */
  readonly association: number
  /** The number of the endpoint that its peer is at; -1 for a `DtlsAssociation`. */
  readonly endpoint: number
  /** Suite, session id, identity, extended master secret, longest plaintext of the peer. */
  readonly negotiated: Negotiated
  /** The longest plaintext that the peer may send, in bytes. */
  readonly maxReceivedBytes: number
  /** The epoch of keys and sequence numbers. */
  readonly epoch: 1
  /** 16 or 32 bytes each. */
  readonly writeKey: Uint8Array
  readonly readKey: Uint8Array
  /** The part of the nonce that is fixed: 4 bytes for GCM, 12 for ChaCha20-Poly1305. */
  readonly writeIv: Uint8Array
  readonly readIv: Uint8Array
  /** The sequence number of the next record to be sent. */
  readonly writeSequence: number
  /** The highest sequence number that was received; -1 if none was. */
  readonly highestRead: number
  /** Which of the 992 numbers up to `highestRead` were received: bit n % 32 of word (n / 32) % 32 is set for number n. */
  readonly replayWindow: Uint32Array
  /** What `exportKeyingMaterial` needs, 48 and twice 32 bytes. */
  readonly masterSecret: Uint8Array
  readonly clientRandom: Uint8Array
  readonly serverRandom: Uint8Array
}

/** What an association lives on. */
export interface LiveState {
  readonly negotiated: Negotiated
  readonly secrets: Secrets
  readonly read: ReadEpoch
  readonly write: WriteEpoch
  readonly readLimit: number
}

/** A copy of everything. */
export function takeSnapshot(
  role: 'client' | 'server',
  association: number,
  endpoint: number,
  { negotiated, secrets, read, write, readLimit }: LiveState,
): AssociationSnapshot {
  const writeKeys = write.protection!
  return {
    format: 1,
    role,
    association,
    endpoint,
    negotiated: {
      ...negotiated,
      sessionId: copyBytes(negotiated.sessionId),
      identity: copyBytes(negotiated.identity),
    },
    maxReceivedBytes: readLimit,
    epoch: 1,
    writeKey: copyBytes(writeKeys.key),
    readKey: copyBytes(read.protection.key),
    writeIv: copyBytes(writeKeys.fixedIv),
    readIv: copyBytes(read.protection.fixedIv),
    writeSequence: write.sequence,
    highestRead: read.window.highest,
    replayWindow: read.window.snapshot(),
    masterSecret: copyBytes(secrets.master),
    clientRandom: copyBytes(secrets.clientRandom),
    serverRandom: copyBytes(secrets.serverRandom),
  }
}

/**
 * Brings a snapshot to life. `sequences[at]` and `[at + 1]`, where they are given, are newer numbers than the snapshot's, if higher.
 * @throws RangeError or TypeError naming the field that is wrong
 */
export function reviveSnapshot(
  crypto: CryptoProvider,
  role: 'client' | 'server',
  snapshot: AssociationSnapshot,
  sequences: Float64Array | undefined,
  at: number,
): LiveState {
  if (snapshot.format !== 1) throw new RangeError('snapshot.format must be 1')
  if (snapshot.role !== role) throw new RangeError(`snapshot.role must be '${role}'`)
  if (snapshot.epoch !== 1) throw new RangeError('snapshot.epoch must be 1')
  const { negotiated, writeSequence, highestRead } = snapshot
  const suite = cipherSuiteOf(negotiated.cipherSuite)
  const bytes = (
    name: 'writeKey' | 'readKey' | 'writeIv' | 'readIv' | 'masterSecret' | 'clientRandom' | 'serverRandom',
    length: number,
  ) => {
    const value = snapshot[name]
    if (!(value instanceof Uint8Array)) throw new TypeError(`snapshot.${name} must be a Uint8Array`)
    if (value.length !== length) throw new RangeError(`snapshot.${name} must have ${length} bytes`)
    return copyBytes(value)
  }
  requireInteger('writeSequence', writeSequence, 0, MAX_SEQUENCE)
  requireInteger('highestRead', highestRead, -1, MAX_SEQUENCE)
  requireInteger('maxReceivedBytes', snapshot.maxReceivedBytes, 1, MAX_PLAINTEXT_BYTES)
  requireInteger('negotiated.maxPlaintextBytes', negotiated.maxPlaintextBytes, 1, MAX_PLAINTEXT_BYTES)
  if (snapshot.replayWindow.length !== REPLAY_RING_WORDS) {
    throw new RangeError(`snapshot.replayWindow must have ${REPLAY_RING_WORDS} words`)
  }
  const protection = (key: Uint8Array, iv: Uint8Array) => new RecordProtection(crypto, suite, key, iv)
  const read = new ReadEpoch(protection(bytes('readKey', suite.keyBytes), bytes('readIv', suite.fixedIvBytes)))
  read.window.restore(highestRead, snapshot.replayWindow)
  const newest = sequences?.[at + 1] ?? -1
  // Of numbers that came after the snapshot only the highest is known: the others count as received.
  if (newest > highestRead) read.window.restore(newest, undefined)
  const next = Math.max(writeSequence, sequences?.[at] ?? 0)
  const write = new WriteEpoch(
    1,
    protection(bytes('writeKey', suite.keyBytes), bytes('writeIv', suite.fixedIvBytes)),
    next,
  )
  return {
    negotiated: {
      ...negotiated,
      sessionId: copyBytes(negotiated.sessionId),
      identity: copyBytes(negotiated.identity),
    },
    secrets: {
      crypto,
      suite,
      master: bytes('masterSecret', 48),
      clientRandom: bytes('clientRandom', 32),
      serverRandom: bytes('serverRandom', 32),
    },
    read,
    write,
    readLimit: snapshot.maxReceivedBytes,
  }
}

function requireInteger(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`snapshot.${name} must be an integer from ${least} to ${most}`)
  }
}
