import type { AddressWords } from '../address.ts'
import { RESTING_BYTES } from '../translator-memory.ts'

// Words of an entry. The first one of the memory is no entry: its first word counts what was noted.
const entryWords = RESTING_BYTES / 4
const word = { address: 2, port: 3 } as const

/** A port that rests: whose, by `addressKey`, of which protocol, and until when. */
export interface RestingPort {
  readonly addressKey: number
  readonly protocol: number
  readonly port: number
  readonly until: number
}

/**
 * For a successor: the ports that rest, in memory that outlives this thread. A ring, of which the newest stay. Entries are
 * judged by their times only: one that was being written when the thread stopped has none.
 */
export class RestingRecords {
  private readonly words: Int32Array
  private readonly times: Float64Array
  /** A power of two, or 0. */
  private readonly count: number

  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory)
    this.times = new Float64Array(memory)
    this.count = memory.byteLength / RESTING_BYTES - 1
  }

  get memoryBytes(): number {
    return this.words.byteLength
  }

  /** Notes that a port of an address rests. The address is at `at` in `addresses`. */
  note(addresses: AddressWords, at: number, protocol: number, port: number, until: number): void {
    const { words, times, count } = this
    if (count === 0) return
    const noted = words[0]!
    const entry = 1 + (noted & (count - 1))
    times[entry * 2] = 0
    words[entry * entryWords + word.address] = addressKey(addresses, at)
    words[entry * entryWords + word.port] = port | (protocol << 16)
    times[entry * 2] = until
    words[0] = (noted + 1) | 0
  }

  /** Ports that still rest, the first to return first. None rests longer than `mostMs`. */
  resting(now: number, mostMs: number): RestingPort[] {
    const found: RestingPort[] = []
    for (let entry = 1; entry <= this.count; entry++) {
      const until = this.times[entry * 2]!
      if (!(until > now)) continue
      const value = this.words[entry * entryWords + word.port]!
      const addressKey = this.words[entry * entryWords + word.address]!
      const [protocol, port] = [value >>> 16, value & 0xffff]
      found.push({ addressKey, protocol, port, until: Math.min(until, now + mostMs) })
    }
    return found.sort((one, other) => one.until - other.until)
  }
}

/** What stands for an outside address. */
export function addressKey(words: AddressWords, at: number): number {
  let key = 0
  for (let i = 0; i < 4; i++) key = Math.imul(key ^ words[at + i]!, 0x9e37_79b1 | 0)
  return key
}
