import { copyBytes } from '../copy-bytes.ts'
import { Counter } from '../counters.ts'
import type { Milliseconds } from '../machine.ts'
import type { Handshake } from './handshake.ts'
import { HandshakeType, MESSAGE_HEADER_BYTES, readFragmentHeader } from './message-header.ts'
import { Reassembler } from './reassembler.ts'

/** The highest number that a peer's counting may begin with: it has sent nothing but HelloVerifyRequests before. */
const MAX_ANCHOR_SEQ = 16

/** What came of the fragments in a record. */
export interface IntakeResult {
  /** The counter of the last drop in it, or -1. */
  readonly drop: number
  /** Whether a message was taken that the handshake waited for. */
  readonly isProgress: boolean
  /** Whether a message was seen that had been taken before. */
  readonly isRepeat: boolean
}

/** Brings the fragments in records to a handshake as whole messages in order. */
export class MessageIntake {
  private readonly reassembler: Reassembler

  constructor(nextSeq: number) {
    this.reassembler = new Reassembler(nextSeq)
  }

  /** The number of the message that comes next; all below it were taken. */
  get nextSeq(): number {
    return this.reassembler.nextSeq
  }

  /** Takes the fragments in `bytes[from, end)`, until the handshake `isOver`. */
  handle(
    handshake: Handshake,
    bytes: Uint8Array,
    from: number,
    end: number,
    epoch: number,
    now: Milliseconds,
    isOver: () => boolean,
  ): IntakeResult {
    let drop = from === end ? Counter['empty-record'] : -1
    let isProgress = false
    let isRepeat = false
    for (let at = from; at < end && !isOver(); ) {
      const header = readFragmentHeader(bytes, at, end)
      if (header === undefined) return { drop: Counter['malformed-message'], isProgress, isRepeat }
      const content = at + MESSAGE_HEADER_BYTES
      at = content + header.fragmentLength
      if (header.type === HandshakeType.helloVerifyRequest) {
        const message = { type: header.type, messageSeq: header.messageSeq, epoch, body: copyBytes(bytes, content, at) }
        const isWhole = header.fragmentLength === header.length
        if (isWhole && handshake.handleHelloVerifyRequest(message, now)) isProgress = true
        else drop = Counter['unexpected-message']
        continue
      }
      if (header.type === handshake.anchor && header.messageSeq <= MAX_ANCHOR_SEQ) this.anchor(header.messageSeq)
      const fate = this.reassembler.add(header, bytes, content, epoch)
      if (fate === 'over-limit') drop = Counter['reassembly-limit']
      else if (fate === 'inconsistent') drop = Counter['unexpected-message']
      else if (fate === 'repeated') isRepeat = true
      else {
        const before = this.reassembler.nextSeq
        if (!this.handOn(handshake, now, isOver)) drop = Counter['unexpected-message']
        isProgress ||= this.reassembler.nextSeq > before
      }
    }
    return { drop, isProgress, isRepeat }
  }

  /** Goes on from a number that settles how the peer counts. */
  private anchor(messageSeq: number): void {
    if (messageSeq !== this.reassembler.nextSeq) this.reassembler.restart(messageSeq)
  }

  /** Starts anew at a number. */
  restart(nextSeq: number): void {
    this.reassembler.restart(nextSeq)
  }

  /** Throws unfinished messages away. */
  clear(): void {
    this.reassembler.clear()
  }

  /** Hands whole messages on, in order. Returns false if one was refused; it is then as if it had never come. */
  private handOn(handshake: Handshake, now: Milliseconds, isOver: () => boolean): boolean {
    for (let message = this.reassembler.peek(); message !== undefined; message = this.reassembler.peek()) {
      if (!handshake.handleMessage(message, now)) {
        this.reassembler.discard()
        return false
      }
      this.reassembler.advance()
      if (isOver()) break
    }
    return true
  }
}
