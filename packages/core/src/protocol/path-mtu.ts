import { assert, type Machine, type Milliseconds, minutes, OutputQueue } from '../runtime/index.ts'

// The longest tunnel packet that really gets through the datagram channel, found by the prober of RFC 8899 §5: DPD
// requests padded to a candidate size, which the peer must send back whole. A probe that gets lost costs no user data, a
// size is only believed when an answer came back, and nothing waits for the search (the session sends its data by stream
// until the first result).
//
//     start -> ceiling answered --------------------------------> settled --(a minute of traffic)--> confirm
//          \-> lost 5 times -> binary search, floor..ceiling --/     ^--(10 minutes)-- raise          |
//                                   ^------------------------------------------------ lost 5 times --/

/** Tries per size. They go out close together and are judged together, so one size costs a round trip and a bit. */
const TRIES = 5
const TRY_GAP_MS = 30
/** The search ends when the answer is known to within so many bytes. */
const GRANULARITY = 8
/** RFC 8899 §5.1.1 asks for a confirmation timer when nothing else confirms the path, and for a raise timer of 600 s. */
const CONFIRM_AFTER_MS: Milliseconds = minutes(1)
const RAISE_AFTER_MS: Milliseconds = minutes(10)

export type PathMtuOutput =
  /** Send a DPD request whose payload is `size` bytes long. Report its id with `probeSent`. */
  | { readonly type: 'probe'; readonly size: number }
  /** Packets of this size get through; longer ones don't. */
  | { readonly type: 'settled'; readonly mtu: number }
  /** Not even the smallest size gets through. */
  | { readonly type: 'failed' }

export class PathMtu implements Machine<PathMtuOutput> {
  private readonly outputs = new OutputQueue<PathMtuOutput>()
  private readonly graceMs: () => Milliseconds
  private phase: 'stopped' | 'searching' | 'settled' = 'stopped'
  private floor = 0
  private ceiling = 0
  /** Largest size that was answered, 0 for none; smallest that is believed not to pass. */
  private low = 0
  private high = 0
  private size = 0
  private tries = 0
  private readonly ids: number[] = []
  private nextAt: Milliseconds = 0
  private raiseAt: Milliseconds | undefined = undefined
  private confirmedAt: Milliseconds = 0

  /** `graceMs` says how long an answer may take. */
  constructor(graceMs: () => Milliseconds) {
    this.graceMs = graceMs
  }

  /** Whether nothing is known and nothing is being done about it. */
  get stopped(): boolean {
    return this.phase === 'stopped'
  }

  /** Searches from `ceiling` downwards. */
  start(ceiling: number, floor: number, now: Milliseconds): void {
    assert(floor > 0, 'a floor below 1')
    this.ceiling = Math.max(floor, ceiling)
    this.floor = floor
    this.low = 0
    this.high = this.ceiling + 1
    this.search(this.ceiling, now)
  }

  /** Forgets everything: the channel is gone. */
  stop(): void {
    this.phase = 'stopped'
    this.ids.length = 0
    this.raiseAt = undefined
  }

  /** Checks the size in use again: after the channel was silent, it may be another path. */
  confirm(now: Milliseconds): void {
    if (this.phase !== 'settled') return
    const size = this.low
    this.low = 0
    this.high = size + 1
    this.search(size, now)
  }

  /** Data was sent; once a minute that is worth a confirmation. */
  noteTraffic(now: Milliseconds): void {
    if (this.phase === 'settled' && now >= this.confirmedAt + CONFIRM_AFTER_MS) this.confirm(now)
  }

  /** The probe that was asked for last went out with this id. */
  probeSent(id: number): void {
    this.ids.push(id)
  }

  /** A whole probe came back. */
  handleAnswer(id: number, now: Milliseconds): void {
    if (this.phase !== 'searching' || !this.ids.includes(id)) return
    this.low = this.size
    this.advance(now)
  }

  /** The operating system refused this size. */
  handleTooBig(size: number, now: Milliseconds): void {
    if (this.phase === 'stopped' || size <= this.floor) return
    this.high = Math.min(this.high, size)
    if (this.phase === 'searching' && this.size >= size) this.advance(now)
    else if (this.phase === 'settled' && this.low >= size) {
      this.low = 0
      this.advance(now)
    }
  }

  get deadline(): Milliseconds | undefined {
    if (this.phase === 'searching') return this.nextAt
    return this.phase === 'settled' ? this.raiseAt : undefined
  }

  handleDeadline(now: Milliseconds): void {
    if (this.phase === 'searching' && now >= this.nextAt) {
      if (this.tries < TRIES) this.probe(now)
      else {
        this.high = Math.min(this.high, this.size)
        this.advance(now)
      }
    } else if (this.phase === 'settled' && this.raiseAt !== undefined && now >= this.raiseAt) {
      this.high = this.ceiling + 1
      this.search(this.ceiling, now)
    }
  }

  poll(): PathMtuOutput | undefined {
    return this.outputs.take()
  }

  /** The size just tried is judged: next size, or the end. */
  private advance(now: Milliseconds): void {
    if (this.high <= this.floor) this.fail()
    else if (this.low >= this.ceiling || (this.low > 0 && this.high - this.low <= GRANULARITY)) this.settle(now)
    else if (this.low === 0 && this.high - this.floor <= GRANULARITY) {
      if (this.size === this.floor) this.fail()
      else this.search(this.floor, now)
    } else this.search(Math.floor(((this.low || this.floor) + this.high) / 2), now)
  }

  private search(size: number, now: Milliseconds): void {
    this.phase = 'searching'
    this.size = size
    this.tries = 0
    this.ids.length = 0
    this.raiseAt = undefined
    this.probe(now)
  }

  private probe(now: Milliseconds): void {
    this.tries++
    this.nextAt = now + (this.tries < TRIES ? TRY_GAP_MS : this.graceMs())
    this.outputs.push({ type: 'probe', size: this.size })
  }

  private settle(now: Milliseconds): void {
    this.phase = 'settled'
    this.ids.length = 0
    this.confirmedAt = now
    this.raiseAt = this.low < this.ceiling ? now + RAISE_AFTER_MS : undefined
    this.outputs.push({ type: 'settled', mtu: this.low })
  }

  private fail(): void {
    this.stop()
    this.outputs.push({ type: 'failed' })
  }
}
