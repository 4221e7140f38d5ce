// What a server does with a ClientHello before it keeps any state: checks its form, asks whether its session id is known at
// all, and has the client prove its address by a cookie. RFC 6347 §4.2.1.
import { copyBytes } from '../copy-bytes.ts'
import { Counter, type Counters } from '../counters.ts'
import { isZero } from '../dtls12/server-handshake.ts'
import { CookieJar } from '../handshake/cookie.ts'
import { encodeMessage, HandshakeType, MESSAGE_HEADER_BYTES, readFragmentHeader } from '../handshake/message-header.ts'
import { type ClientHello, readClientHello } from '../handshake/messages/client-hello.ts'
import { writeHelloVerifyRequest } from '../handshake/messages/hello-verify-request.ts'
import type { Milliseconds } from '../machine.ts'
import type { ServerConfig } from '../options.ts'
import {
  ContentType,
  ProtocolVersion,
  RECORD_HEADER_BYTES,
  recordSequence,
  recordVersion,
  writeRecordHeader,
} from '../record/record-header.ts'

/** A hello is the first or second message of a client, a few more if cookies expire on the way. */
const MAX_HELLO_SEQ = 8
/** Our records go on from the number of the hello's record; this leaves room. */
const MAX_HELLO_RECORD_SEQUENCE = 2 ** 40

/** A hello that may begin a handshake. */
export interface AdmittedHello {
  readonly hello: ClientHello
  readonly messageSeq: number
  readonly recordSequence: number
  /** Whether the client has proven its address. */
  readonly isProven: boolean
}

/** Whether the record in `[at, end)` carries (the beginning of) a ClientHello. */
export function isClientHello(bytes: Uint8Array, at: number, end: number): boolean {
  const type = at + RECORD_HEADER_BYTES
  return bytes[at] === ContentType.handshake && type < end && bytes[type] === HandshakeType.clientHello
}

export class HelloGate {
  private readonly config: ServerConfig
  private readonly counters: Counters
  private readonly cookies: CookieJar

  constructor(config: ServerConfig, counters: Counters) {
    this.config = config
    this.counters = counters
    this.cookies = new CookieJar(config.crypto, config.random, config.cookieLifetimeMs)
  }

  /**
   * Judges the hello in the record `[at, end)`. Gives the hello if it is admitted, bytes to send back (a HelloVerifyRequest,
   * always shorter than the hello), or the counter of a drop. `isBusy`: many handshakes are under way, or one with this endpoint.
   */
  judge(
    bytes: Uint8Array,
    at: number,
    end: number,
    endpoint: number,
    isBusy: boolean,
    now: Milliseconds,
  ): AdmittedHello | Uint8Array | number {
    const version = recordVersion(bytes, at)
    if (version !== ProtocolVersion.dtls10 && version !== ProtocolVersion.dtls12) return Counter['unsupported-version']
    const from = at + RECORD_HEADER_BYTES
    const header = readFragmentHeader(bytes, from, end)
    if (header === undefined) return Counter['malformed-message']
    const content = from + MESSAGE_HEADER_BYTES
    if (header.fragmentLength !== header.length) return Counter['fragmented-hello']
    if (content + header.length !== end || header.messageSeq > MAX_HELLO_SEQ) return Counter['malformed-message']
    const sequence = recordSequence(bytes, at)
    if (sequence > MAX_HELLO_RECORD_SEQUENCE) return Counter['malformed-record']
    const hello = readClientHello(copyBytes(bytes, content, end))
    if (hello === undefined) return Counter['malformed-message']
    if (isZero(hello.random)) return Counter['zero-random']
    if (!this.config.knowsSession(hello.sessionId)) return Counter['unknown-session-id']

    const policy = this.config.cookies
    const isProven = hello.cookie.length > 0 && this.isGood(hello, endpoint, now)
    if (!isProven && (policy === 'always' || (policy === 'under-load' && isBusy))) {
      if (hello.cookie.length > 0) this.counters.add(Counter['cookie-refused'])
      return this.request(hello, endpoint, header.messageSeq, sequence, now)
    }
    return { hello, messageSeq: header.messageSeq, recordSequence: sequence, isProven }
  }

  private isGood(hello: ClientHello, endpoint: number, now: Milliseconds): boolean {
    return this.cookies.accepts(this.config.hostOf(endpoint), this.config.portOf(endpoint), hello, now)
  }

  /** A HelloVerifyRequest. It says DTLS 1.0 whatever follows, and repeats the numbers of the hello. RFC 6347 §4.2.1. */
  private request(
    hello: ClientHello,
    endpoint: number,
    messageSeq: number,
    sequence: number,
    now: Milliseconds,
  ): Uint8Array {
    this.counters.add(Counter['cookies-sent'])
    const cookie = this.cookies.make(this.config.hostOf(endpoint), this.config.portOf(endpoint), hello, now)
    const body = writeHelloVerifyRequest(ProtocolVersion.dtls10, cookie)
    const message = encodeMessage(HandshakeType.helloVerifyRequest, messageSeq, body)
    const record = new Uint8Array(RECORD_HEADER_BYTES + message.length)
    writeRecordHeader(record, 0, ContentType.handshake, ProtocolVersion.dtls10, 0, sequence, message.length)
    record.set(message, RECORD_HEADER_BYTES)
    return record
  }
}
