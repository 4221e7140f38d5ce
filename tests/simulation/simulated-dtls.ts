import type { Milliseconds } from '@twinbore/core/runtime'

// The datagram channel of the simulated world: as DTLS seen from a session. A handshake of two round trips with
// retransmission, associations told apart, duplicates dropped, nothing else.
//
//     kind 1 | association be32 | sequence be32 | body

const Kind = { hello: 1, helloReply: 2, finished: 3, done: 4, record: 5, close: 6 } as const
const HEADER_BYTES = 9
const RETRANSMIT_MS = 400
const HANDSHAKE_MS = 12_000

export interface DatagramHand {
  opened(): void
  failed(): void
  closed(): void
  frame(bytes: Uint8Array): void
  transmit(bytes: Uint8Array): void
  later(ms: Milliseconds, run: () => void): void
}

abstract class SimulatedDtls {
  protected readonly hand: DatagramHand
  /** The association that sends; 0 for none. */
  protected current = 0
  private sequence = 0
  private seen = new Set<number>()

  constructor(hand: DatagramHand) {
    this.hand = hand
  }

  send(frame: Uint8Array): void {
    if (this.current !== 0) this.put(Kind.record, this.current, frame)
  }

  protected put(kind: number, association: number, body: Uint8Array = new Uint8Array(0)): void {
    const bytes = new Uint8Array(HEADER_BYTES + body.length)
    const view = new DataView(bytes.buffer)
    view.setUint8(0, kind)
    view.setUint32(1, association)
    view.setUint32(5, ++this.sequence)
    bytes.set(body, HEADER_BYTES)
    this.hand.transmit(bytes)
  }

  protected read(bytes: Uint8Array): { kind: number; association: number; fresh: boolean; body: Uint8Array } {
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    const sequence = view.getUint32(5)
    const fresh = !this.seen.has(sequence)
    this.seen.add(sequence)
    if (this.seen.size > 10_000) this.seen = new Set([...this.seen].slice(-1000))
    return { kind: view.getUint8(0), association: view.getUint32(1), fresh, body: bytes.subarray(HEADER_BYTES) }
  }
}

export class SimulatedClientDtls extends SimulatedDtls {
  private attempt = 0
  private attempts = 0
  private greeted = false

  open(): void {
    this.attempt = ++this.attempts
    this.greeted = false
    this.retransmit(this.attempt, HANDSHAKE_MS)
  }

  close(): void {
    if (this.current !== 0) this.put(Kind.close, this.current)
    this.current = 0
    this.attempt = 0
  }

  receive(bytes: Uint8Array): void {
    const { kind, association, fresh, body } = this.read(bytes)
    if (!fresh) return
    if (kind === Kind.helloReply && association === this.attempt && !this.greeted) {
      this.greeted = true
      this.put(Kind.finished, association)
    } else if (kind === Kind.done && association === this.attempt) {
      this.attempt = 0
      this.current = association
      this.hand.opened()
    } else if (kind === Kind.record && association === this.current) this.hand.frame(body)
    else if (kind === Kind.close && association === this.current) {
      this.current = 0
      this.hand.closed()
    }
  }

  private retransmit(attempt: number, leftMs: Milliseconds): void {
    if (this.attempt !== attempt) return
    if (leftMs <= 0) {
      this.attempt = 0
      this.hand.failed()
      return
    }
    this.put(this.greeted ? Kind.finished : Kind.hello, attempt)
    this.hand.later(RETRANSMIT_MS, () => this.retransmit(attempt, leftMs - RETRANSMIT_MS))
  }
}

export class SimulatedGatewayDtls extends SimulatedDtls {
  close(): void {
    if (this.current !== 0) this.put(Kind.close, this.current)
    this.current = 0
  }

  receive(bytes: Uint8Array): void {
    const { kind, association, fresh, body } = this.read(bytes)
    if (!fresh) return
    if (kind === Kind.hello) this.put(Kind.helloReply, association)
    else if (kind === Kind.finished) {
      this.put(Kind.done, association)
      if (association <= this.current) return
      this.current = association
      this.hand.opened()
    } else if (kind === Kind.record && association === this.current) this.hand.frame(body)
    else if (kind === Kind.close && association === this.current) {
      this.current = 0
      this.hand.closed()
    }
  }
}
