// The server's side of a DTLS 1.2 handshake with a pre-shared key. It begins with the hello that counts: whether a client
// has to prove its address first is settled before, without state (flights 1 and 2, `HelloGate`).
//
//   flight 3   ClientHello                          -->
//   flight 4                                        <--   ServerHello, ServerHelloDone
//   flight 5   ClientKeyExchange
//              ChangeCipherSpec, Finished           -->
//   flight 6                                        <--   ChangeCipherSpec, Finished
//
// No ServerKeyExchange is sent, as there is no hint (RFC 4279 §2). The session id is empty: nothing can be resumed.
// Messages before the keys are unauthenticated: one that is malformed or out of place is refused as if it had never come.
import { copyBytes } from '../copy-bytes.ts'
import type { CipherSuite } from '../crypto/cipher-suites.ts'
import { equalBytes } from '../crypto/constant-time.ts'
import { DtlsError } from '../errors.ts'
import { readExtendedMasterSecret } from '../handshake/extensions/extended-master-secret.ts'
import { ExtensionType } from '../handshake/extensions/extension-list.ts'
import { readRecordSizeLimit, recordSizeLimitValue } from '../handshake/extensions/record-size-limit.ts'
import {
  EMPTY_RENEGOTIATION_INFO,
  EMPTY_RENEGOTIATION_INFO_SCSV,
  readRenegotiationInfo,
} from '../handshake/extensions/renegotiation-info.ts'
import type { Handshake, HandshakeCarrier } from '../handshake/handshake.ts'
import { encodeMessage, type HandshakeMessage, HandshakeType } from '../handshake/message-header.ts'
import { type ClientHello, RANDOM_BYTES, readClientHello } from '../handshake/messages/client-hello.ts'
import { readPskIdentity } from '../handshake/messages/client-key-exchange.ts'
import { writeServerHello } from '../handshake/messages/server-hello.ts'
import { Transcript } from '../handshake/transcript.ts'
import type { Milliseconds } from '../machine.ts'
import type { PeerServerConfig } from '../options.ts'
import { Alert, alertName } from '../record/alert.ts'
import { MAX_PLAINTEXT_BYTES, ProtocolVersion } from '../record/record-header.ts'
import type { RecordProtection } from '../record/record-protection.ts'
import { deriveProtection, deriveSecrets, pskPreMasterSecret, type Secrets, verifyData } from './key-schedule.ts'

type State =
  /** Nothing has come. ClientHello: flight 4 goes out. */
  | 'client-hello'
  /** Flight 4 is out. ClientKeyExchange: keys are made. */
  | 'client-key-exchange'
  /** ChangeCipherSpec: the client's keys are put to use. */
  | 'change-cipher-spec'
  /** Finished, if right: flight 6 goes out and ends the handshake. */
  | 'finished'
  | 'done'

export class ServerHandshake implements Handshake {
  readonly anchor = undefined
  private readonly config: PeerServerConfig
  private readonly carrier: HandshakeCarrier
  private readonly transcript = new Transcript()
  private readonly random: Uint8Array
  private state: State = 'client-hello'
  private sendSeq = 0
  private hello: ClientHello | undefined
  private suite: CipherSuite | undefined
  private isBound = false
  private maxPlaintextBytes = MAX_PLAINTEXT_BYTES
  private readLimit = MAX_PLAINTEXT_BYTES
  private identity = new Uint8Array(0)
  private secrets: Secrets | undefined
  private protection: { client: RecordProtection; server: RecordProtection } | undefined
  private sawChangeCipherSpec = false

  constructor(config: PeerServerConfig, carrier: HandshakeCarrier) {
    this.config = config
    this.carrier = carrier
    this.random = config.random.fill(new Uint8Array(RANDOM_BYTES))
  }

  get awaitsFinished(): boolean {
    return this.state === 'finished'
  }

  get hasKeys(): boolean {
    return this.secrets !== undefined
  }

  handleMessage(message: HandshakeMessage, now: Milliseconds): boolean {
    switch (message.type) {
      case HandshakeType.clientHello:
        return this.state === 'client-hello' && message.epoch === 0 && this.handleClientHello(message, now)
      case HandshakeType.clientKeyExchange:
        return this.state === 'client-key-exchange' && message.epoch === 0 && this.handleClientKeyExchange(message)
      case HandshakeType.finished:
        return this.state === 'finished' && message.epoch === 1 && this.handleFinished(message, now)
      default:
        return false
    }
  }

  handleHelloVerifyRequest(): boolean {
    return false
  }

  handleChangeCipherSpec(): boolean {
    // It has no number, so it may overtake the ClientKeyExchange of its flight. Noting it makes no keys (RFC 6347 §4.1).
    if (this.state === 'client-key-exchange') {
      this.sawChangeCipherSpec = true
      return true
    }
    if (this.state !== 'change-cipher-spec') return false
    this.state = 'finished'
    this.carrier.installReadKeys(this.protection!.client)
    return true
  }

  private handleClientHello(message: HandshakeMessage, now: Milliseconds): boolean {
    const hello = readClientHello(message.body)
    if (hello === undefined || isZero(hello.random)) return false
    // Versions count downwards: FE FD is 1.2, FE FF is 1.0. A newer client offers less than FE FD and takes 1.2.
    if (hello.version >>> 8 !== 0xfe || hello.version > ProtocolVersion.dtls12) {
      return this.refuse('the client does not know DTLS 1.2', Alert.protocolVersion)
    }
    const suite = this.config.cipherSuites.find(candidate => hello.cipherSuites.includes(candidate.id))
    if (suite === undefined || !hello.compressionMethods.includes(0)) {
      return this.refuse('no cipher suite is shared with the client', Alert.handshakeFailure)
    }
    const renegotiation = readRenegotiationInfo(hello.extensions)
    if (renegotiation === 'not-empty') {
      return this.refuse('the client wants to renegotiate in a first handshake', Alert.handshakeFailure)
    }
    const limit = readRecordSizeLimit(hello.extensions)
    const bound = readExtendedMasterSecret(hello.extensions)
    if (limit === -1 || bound === 'malformed') {
      return this.refuse('the client sent an extension that is not allowed', Alert.illegalParameter)
    }
    this.hello = hello
    this.suite = suite
    this.isBound = bound === 'present' && this.config.extendedMasterSecret
    this.maxPlaintextBytes = limit ?? MAX_PLAINTEXT_BYTES
    if (limit !== undefined) this.readLimit = this.config.recordSizeLimit
    this.sendSeq = message.messageSeq
    this.transcript.addReceived(message)
    const extensions = new Map<number, Uint8Array>()
    if (renegotiation === 'empty' || hello.cipherSuites.includes(EMPTY_RENEGOTIATION_INFO_SCSV)) {
      extensions.set(ExtensionType.renegotiationInfo, EMPTY_RENEGOTIATION_INFO)
    }
    if (this.isBound) extensions.set(ExtensionType.extendedMasterSecret, new Uint8Array(0))
    if (limit !== undefined) {
      extensions.set(ExtensionType.recordSizeLimit, recordSizeLimitValue(this.config.recordSizeLimit))
    }
    const body = writeServerHello({
      version: ProtocolVersion.dtls12,
      random: this.random,
      sessionId: new Uint8Array(0),
      cipherSuite: suite.id,
      compressionMethod: 0,
      extensions,
    })
    const serverHello = this.encode(HandshakeType.serverHello, body)
    const done = this.encode(HandshakeType.serverHelloDone, new Uint8Array(0))
    this.state = 'client-key-exchange'
    this.carrier.sendFlight({ plain: [serverHello, done], secured: [], final: false }, now)
    return true
  }

  private handleClientKeyExchange(message: HandshakeMessage): boolean {
    const identity = readPskIdentity(message.body)
    if (identity === undefined) return false
    const { crypto } = this.config
    const hello = this.hello!
    const suite = this.suite!
    const key = this.config.findPsk(hello.sessionId, identity)
    if (key === undefined) {
      const alert = Alert.unknownPskIdentity
      const error = new DtlsError('ERR_DTLS_UNKNOWN_PSK', 'no key is known for the client', { alert: alertName(alert) })
      this.carrier.fail(error, alert)
      return true
    }
    this.identity = copyBytes(identity)
    this.transcript.addReceived(message)
    const sessionHash = this.isBound ? this.transcript.hash(crypto, suite.hash) : undefined
    const secrets = deriveSecrets(crypto, suite, pskPreMasterSecret(key), hello.random, this.random, sessionHash)
    this.secrets = secrets
    this.protection = deriveProtection(secrets)
    this.carrier.stopRetransmission()
    this.state = 'change-cipher-spec'
    if (this.sawChangeCipherSpec) this.handleChangeCipherSpec()
    return true
  }

  private handleFinished(message: HandshakeMessage, now: Milliseconds): boolean {
    const { crypto } = this.config
    const secrets = this.secrets!
    const expected = verifyData(secrets, 'client', this.transcript.hash(crypto, secrets.suite.hash))
    if (!equalBytes(message.body, expected)) {
      const error = new DtlsError(
        'ERR_DTLS_PROTOCOL_VIOLATION',
        'the Finished of the client does not match the handshake',
        {
          alert: alertName(Alert.decryptError),
        },
      )
      this.carrier.fail(error, Alert.decryptError)
      return true
    }
    this.transcript.addReceived(message)
    this.carrier.installWriteKeys(this.protection!.server)
    const finished = this.encode(
      HandshakeType.finished,
      verifyData(secrets, 'server', this.transcript.hash(crypto, secrets.suite.hash)),
    )
    this.state = 'done'
    this.carrier.sendFlight({ plain: [], secured: [finished], final: true }, now)
    this.carrier.complete(
      {
        version: 'DTLSv1.2',
        cipherSuite: secrets.suite.name,
        sessionId: copyBytes(this.hello!.sessionId),
        identity: this.identity,
        overhead: this.protection!.server.overhead,
        extendedMasterSecret: this.isBound,
        maxPlaintextBytes: this.maxPlaintextBytes,
      },
      secrets,
      this.readLimit,
    )
    return true
  }

  private encode(type: number, body: Uint8Array): Uint8Array {
    const bytes = encodeMessage(type, this.sendSeq++, body)
    this.transcript.addSent(bytes)
    return bytes
  }

  private refuse(reason: string, alert: number): true {
    this.carrier.fail(new DtlsError('ERR_DTLS_NEGOTIATION_FAILED', reason, { alert: alertName(alert) }), alert)
    return true
  }
}

/** A hello whose random is all zero comes from a broken generator: its keys would lack the client's share (CVE-2020-11501). */
export function isZero(random: Uint8Array): boolean {
  return random.every(byte => byte === 0)
}
