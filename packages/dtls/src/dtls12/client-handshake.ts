// The client's side of a DTLS 1.2 handshake with a pre-shared key. RFC 6347 §4.2.4, RFC 4279 §2:
//
//   flight 1   ClientHello                          -->
//   flight 2                                        <--   HelloVerifyRequest        (some servers)
//   flight 3   ClientHello with cookie              -->
//   flight 4                                        <--   ServerHello
//                                                         ServerKeyExchange         (only a hint, ignored)
//                                                         ServerHelloDone
//   flight 5   ClientKeyExchange
//              ChangeCipherSpec, Finished           -->
//   flight 6                                        <--   ChangeCipherSpec, Finished
//
// Messages before the keys are unauthenticated: one that is malformed or out of place is refused as if it had never come,
// because anyone could have sent it. Only what a well-formed ServerHello asks for and we won't do ends the handshake at once.
import { copyBytes } from '../copy-bytes.ts'
import type { CipherSuite } from '../crypto/cipher-suites.ts'
import { equalBytes } from '../crypto/constant-time.ts'
import { DtlsError } from '../errors.ts'
import { readExtendedMasterSecret } from '../handshake/extensions/extended-master-secret.ts'
import { ExtensionType } from '../handshake/extensions/extension-list.ts'
import { readRecordSizeLimit, recordSizeLimitValue } from '../handshake/extensions/record-size-limit.ts'
import { EMPTY_RENEGOTIATION_INFO, readRenegotiationInfo } from '../handshake/extensions/renegotiation-info.ts'
import type { Handshake, HandshakeCarrier } from '../handshake/handshake.ts'
import { encodeMessage, type HandshakeMessage, HandshakeType } from '../handshake/message-header.ts'
import { RANDOM_BYTES, writeClientHello } from '../handshake/messages/client-hello.ts'
import { writePskIdentity } from '../handshake/messages/client-key-exchange.ts'
import { readHelloVerifyRequest } from '../handshake/messages/hello-verify-request.ts'
import { readServerHello, type ServerHello } from '../handshake/messages/server-hello.ts'
import { readPskIdentityHint } from '../handshake/messages/server-key-exchange.ts'
import { Transcript } from '../handshake/transcript.ts'
import type { Milliseconds } from '../machine.ts'
import type { ClientConfig } from '../options.ts'
import { Alert, alertName } from '../record/alert.ts'
import { MAX_PLAINTEXT_BYTES, ProtocolVersion } from '../record/record-header.ts'
import type { RecordProtection } from '../record/record-protection.ts'
import { deriveProtection, deriveSecrets, pskPreMasterSecret, type Secrets, verifyData } from './key-schedule.ts'

/** How many cookies are taken in one handshake. A forger could send more. */
const MAX_COOKIES = 8

type State =
  /** A hello is out. HelloVerifyRequest: it goes out again; ServerHello: on. */
  | 'server-hello'
  /** ServerKeyExchange: stays; ServerHelloDone: flight 5 goes out. */
  | 'server-hello-done'
  /** Flight 5 is out. ChangeCipherSpec: the server's keys are put to use. */
  | 'change-cipher-spec'
  /** Finished, if right, ends the handshake. */
  | 'finished'
  | 'done'

export class ClientHandshake implements Handshake {
  private readonly config: ClientConfig
  private readonly carrier: HandshakeCarrier
  private readonly transcript = new Transcript()
  private readonly random: Uint8Array
  private state: State = 'server-hello'
  private cookie = new Uint8Array(0)
  private cookies = 0
  private helloSentAt: Milliseconds = 0
  private sendSeq = 0
  private sawHint = false
  private hello: ServerHello | undefined
  private suite: CipherSuite | undefined
  private isBound = false
  private maxPlaintextBytes = MAX_PLAINTEXT_BYTES
  private readLimit = MAX_PLAINTEXT_BYTES
  private secrets: Secrets | undefined
  private serverProtection: RecordProtection | undefined

  constructor(config: ClientConfig, carrier: HandshakeCarrier) {
    this.config = config
    this.carrier = carrier
    this.random = config.random.fill(new Uint8Array(RANDOM_BYTES))
  }

  get anchor(): number | undefined {
    return this.state === 'server-hello' ? HandshakeType.serverHello : undefined
  }

  get awaitsFinished(): boolean {
    return this.state === 'finished'
  }

  get hasKeys(): boolean {
    return this.secrets !== undefined
  }

  /** Sends the first hello. */
  start(now: Milliseconds): void {
    this.sendHello(now)
  }

  handleMessage(message: HandshakeMessage, now: Milliseconds): boolean {
    switch (message.type) {
      case HandshakeType.serverHello:
        return this.state === 'server-hello' && message.epoch === 0 && this.handleServerHello(message)
      case HandshakeType.serverKeyExchange:
        return this.state === 'server-hello-done' && message.epoch === 0 && this.handleServerKeyExchange(message)
      case HandshakeType.serverHelloDone:
        return this.state === 'server-hello-done' && message.epoch === 0 && this.handleServerHelloDone(message, now)
      case HandshakeType.finished:
        return this.state === 'finished' && message.epoch === 1 && this.handleFinished(message)
      default:
        return false
    }
  }

  handleHelloVerifyRequest(message: HandshakeMessage, now: Milliseconds): boolean {
    if (this.state !== 'server-hello' || message.epoch !== 0 || this.cookies >= MAX_COOKIES) return false
    const cookie = readHelloVerifyRequest(message.body)
    if (cookie === undefined || equalBytes(cookie, this.cookie)) return false
    if (this.cookies > 0 && !this.answersLastHello(message.messageSeq, now)) return false
    this.cookies++
    this.cookie = copyBytes(cookie)
    this.carrier.restartMessages(message.messageSeq + 1)
    this.sendHello(now)
    return true
  }

  /**
   * Whether a HelloVerifyRequest is about the hello that is out, and not about a repeat of an earlier one, whose answer has
   * another cookie when secrets changed meanwhile: the server goes on from the hello that is out, and the transcripts would
   * differ if there were a newer one. Servers give it the number of the hello, or always 0; then time tells.
   */
  private answersLastHello(messageSeq: number, now: Milliseconds): boolean {
    return messageSeq === this.sendSeq - 1 || now - this.helloSentAt >= this.config.retransmitTimeoutMs
  }

  handleChangeCipherSpec(): boolean {
    if (this.state !== 'change-cipher-spec') return false
    this.state = 'finished'
    this.carrier.installReadKeys(this.serverProtection!)
    return true
  }

  private sendHello(now: Milliseconds): void {
    const extensions = new Map([
      [ExtensionType.renegotiationInfo as number, EMPTY_RENEGOTIATION_INFO],
      [ExtensionType.recordSizeLimit, recordSizeLimitValue(this.config.recordSizeLimit)],
    ])
    if (this.config.extendedMasterSecret) extensions.set(ExtensionType.extendedMasterSecret, new Uint8Array(0))
    const body = writeClientHello({
      version: ProtocolVersion.dtls12,
      random: this.random,
      sessionId: this.config.sessionId,
      cookie: this.cookie,
      cipherSuites: this.config.cipherSuites.map(suite => suite.id),
      compressionMethods: Uint8Array.of(0),
      extensions,
    })
    // Only the last hello counts.
    this.transcript.restart()
    this.helloSentAt = now
    this.carrier.sendFlight({ plain: [this.encode(HandshakeType.clientHello, body)], secured: [], final: false }, now)
  }

  private handleServerHello(message: HandshakeMessage): boolean {
    const hello = readServerHello(message.body)
    if (hello === undefined || hello.random.every(byte => byte === 0)) return false
    const suite = this.config.cipherSuites.find(candidate => candidate.id === hello.cipherSuite)
    if (hello.version !== ProtocolVersion.dtls12) {
      return this.refuse('the server chose another version than DTLS 1.2', Alert.protocolVersion)
    }
    if (suite === undefined || hello.compressionMethod !== 0) {
      return this.refuse('the server chose what was not offered', Alert.illegalParameter)
    }
    if (hello.sessionId.length > 0 && equalBytes(hello.sessionId, this.config.sessionId)) {
      return this.refuse('the server wants to resume a session', Alert.illegalParameter)
    }
    if (readRenegotiationInfo(hello.extensions) !== 'empty') {
      return this.refuse('the server does not secure renegotiation (RFC 5746)', Alert.handshakeFailure)
    }
    for (const type of hello.extensions.keys()) {
      if (!isOffered(type, this.config))
        return this.refuse(`the server sent extension ${type} unasked`, Alert.illegalParameter)
    }
    const limit = readRecordSizeLimit(hello.extensions)
    const bound = readExtendedMasterSecret(hello.extensions)
    if (limit === -1 || bound === 'malformed') {
      return this.refuse('the server sent an extension that is not allowed', Alert.illegalParameter)
    }
    this.hello = hello
    this.suite = suite
    this.isBound = bound === 'present'
    this.maxPlaintextBytes = limit ?? MAX_PLAINTEXT_BYTES
    if (limit !== undefined) this.readLimit = this.config.recordSizeLimit
    this.transcript.addReceived(message)
    this.state = 'server-hello-done'
    return true
  }

  private handleServerKeyExchange(message: HandshakeMessage): boolean {
    if (this.sawHint || readPskIdentityHint(message.body) === undefined) return false
    this.sawHint = true
    this.transcript.addReceived(message)
    return true
  }

  private handleServerHelloDone(message: HandshakeMessage, now: Milliseconds): boolean {
    if (message.body.length !== 0) return false
    const { crypto, identity, key } = this.config
    const suite = this.suite!
    this.transcript.addReceived(message)
    const exchange = this.encode(HandshakeType.clientKeyExchange, writePskIdentity(identity))
    const preMaster = pskPreMasterSecret(key)
    const sessionHash = this.isBound ? this.transcript.hash(crypto, suite.hash) : undefined
    const secrets = deriveSecrets(crypto, suite, preMaster, this.random, copyBytes(this.hello!.random), sessionHash)
    const protection = deriveProtection(secrets)
    this.secrets = secrets
    this.serverProtection = protection.server
    this.carrier.installWriteKeys(protection.client)
    const finished = this.encode(
      HandshakeType.finished,
      verifyData(secrets, 'client', this.transcript.hash(crypto, suite.hash)),
    )
    this.state = 'change-cipher-spec'
    this.carrier.sendFlight({ plain: [exchange], secured: [finished], final: false }, now)
    return true
  }

  private handleFinished(message: HandshakeMessage): boolean {
    const { crypto, sessionId, identity } = this.config
    const secrets = this.secrets!
    const expected = verifyData(secrets, 'server', this.transcript.hash(crypto, secrets.suite.hash))
    if (!equalBytes(message.body, expected)) {
      const error = new DtlsError(
        'ERR_DTLS_PROTOCOL_VIOLATION',
        'the Finished of the server does not match the handshake',
        {
          alert: alertName(Alert.decryptError),
        },
      )
      this.carrier.fail(error, Alert.decryptError)
      return true
    }
    this.state = 'done'
    this.carrier.stopRetransmission()
    this.carrier.complete(
      {
        version: 'DTLSv1.2',
        cipherSuite: secrets.suite.name,
        sessionId,
        identity,
        overhead: this.serverProtection!.overhead,
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

function isOffered(type: number, config: ClientConfig): boolean {
  if (type === ExtensionType.extendedMasterSecret) return config.extendedMasterSecret
  return type === ExtensionType.renegotiationInfo || type === ExtensionType.recordSizeLimit
}
