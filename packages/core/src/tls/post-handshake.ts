import { AlertDescription } from './record-format.ts'

/** What a record of handshake messages asks for. */
export type PostHandshakeResult =
  /** Nothing to do. */
  | 'nothing'
  /** The peer's next record has new keys. */
  | 'key-update'
  /** The same, and it wants new keys from us before our next data. */
  | 'key-update-requested'
  | { readonly alert: AlertDescription; readonly text: string }

const HEADER_BYTES = 4
const NEW_SESSION_TICKET = 4
const KEY_UPDATE = 24
/** So many updates without data between them are an attempt to keep us busy. */
const MAX_KEY_UPDATES_IN_A_ROW = 32

/**
 * The handshake messages that may still come in TLS 1.3 (RFC 8446 §4.6): KeyUpdate from either side, NewSessionTicket from a
 * server, which is skipped. Messages may span records; nothing of them is kept but the header.
 */
export class PostHandshake {
  private readonly takesTickets: boolean
  private readonly header = new Uint8Array(HEADER_BYTES)
  private headerBytes = 0
  private bodyLeft = 0
  private updatesInARow = 0

  constructor(role: 'client' | 'server') {
    this.takesTickets = role === 'client'
  }

  /** Whether a message is incomplete: then nothing but its rest may come. */
  get incomplete(): boolean {
    return this.headerBytes > 0
  }

  /** Data came in. */
  noteData(): void {
    this.updatesInARow = 0
  }

  /** Takes the plaintext of one record. */
  handle(bytes: Uint8Array, at: number, length: number): PostHandshakeResult {
    const end = at + length
    if (length === 0) return unexpected('an empty handshake record')
    while (at < end) {
      if (this.headerBytes < HEADER_BYTES) {
        this.header[this.headerBytes++] = bytes[at++]!
        if (this.headerBytes < HEADER_BYTES) continue
        const wrong = this.begin()
        if (wrong) return wrong
        if (this.bodyLeft > 0) continue
      } else if (this.header[0] === KEY_UPDATE) {
        this.headerBytes = 0
        // What follows would be under the old keys (RFC 8446 §5.1).
        return at + 1 === end ? this.keyUpdate(bytes[at]!) : unexpected('a key update within a record')
      } else {
        const taken = Math.min(this.bodyLeft, end - at)
        this.bodyLeft -= taken
        at += taken
      }
      if (this.bodyLeft === 0) this.headerBytes = 0
    }
    return 'nothing'
  }

  private begin(): PostHandshakeResult | undefined {
    const { header } = this
    this.bodyLeft = (header[1]! << 16) | (header[2]! << 8) | header[3]!
    if (header[0] === KEY_UPDATE) {
      if (this.bodyLeft !== 1) return { alert: AlertDescription.decodeError, text: 'a malformed key update' }
    } else if (header[0] !== NEW_SESSION_TICKET || !this.takesTickets) {
      return unexpected(`handshake message ${header[0]}`)
    }
    return undefined
  }

  private keyUpdate(request: number): PostHandshakeResult {
    if (request > 1) return { alert: AlertDescription.decodeError, text: 'a malformed key update' }
    if (++this.updatesInARow > MAX_KEY_UPDATES_IN_A_ROW) return unexpected('too many key updates')
    return request === 1 ? 'key-update-requested' : 'key-update'
  }
}

function unexpected(text: string): PostHandshakeResult {
  return { alert: AlertDescription.unexpectedMessage, text }
}
