// The ports of one outside address for one protocol (RFC 6056 §3.3.1: random start, then the next free one). A bitmap
// says which are taken; freed ports may rest in a queue before they return.
import type { PortRange, Random } from './options.ts'
import { grown } from './table/rows.ts'

const bitmapWords = 65_536 / 32
/** Random draws before the bitmap is searched: below 90 % use almost every draw sequence hits. */
const draws = 16

/** Which ports are never given out: those outside the range, the exclusions, and 0, which names nobody. */
export function excludedPortsBitmap(range: PortRange, excluded: readonly (number | PortRange)[]): Uint32Array {
  const bitmap = new Uint32Array(bitmapWords).fill(0xffffffff)
  for (let port = range.first; port <= range.last; port++) clearBit(bitmap, port)
  for (const item of excluded) {
    const { first, last } = typeof item === 'number' ? { first: item, last: item } : item
    for (let port = first; port <= last; port++) setBit(bitmap, port)
  }
  setBit(bitmap, 0)
  return bitmap
}

/** 8 KiB and 10 bytes a resting port. */
export class PortPool {
  /** Ports that can be given out now. */
  available: number
  private readonly taken: Uint32Array
  private readonly range: PortRange
  private readonly random: Random
  private readonly maxResting: number
  /** A ring of resting ports, the longest resting first. */
  private restingPorts: Uint16Array = new Uint16Array(16)
  private restingUntil: Float64Array = new Float64Array(16)
  private restingHead = 0
  private restingCount = 0

  constructor(range: PortRange, never: Uint32Array, random: Random, maxResting: number) {
    this.range = range
    this.taken = never.slice()
    this.random = random
    this.maxResting = maxResting
    this.available = 0
    for (let port = range.first; port <= range.last; port++) if (!hasBit(never, port)) this.available++
  }

  get memoryBytes(): number {
    return this.taken.byteLength + this.restingPorts.byteLength + this.restingUntil.byteLength
  }

  /** How many ports rest. */
  resting(now: number): number {
    this.wake(now)
    return this.restingCount
  }

  /** A free port, or -1 when there is none. Every free port may come; which one can't be guessed. */
  allocate(now: number): number {
    this.wake(now)
    if (this.available === 0) return -1
    const { first, last } = this.range
    const size = last - first + 1
    let port = first
    for (let draw = 0; draw < draws; draw++) {
      // The bias of a 32-bit draw over at most 65536 values is below 2^-16.
      port = first + (this.random.uint32() % size)
      if (!hasBit(this.taken, port)) return this.take(port)
    }
    return this.take(this.searchFrom(port))
  }

  /** Takes a certain port. False when it is taken, rests, or is never given out. */
  claim(port: number): boolean {
    if (hasBit(this.taken, port)) return false
    this.take(port)
    return true
  }

  /** Gives a port back, at once or after it rested for `restMs`. */
  release(port: number, restMs: number, now: number): void {
    if (restMs <= 0 || this.maxResting === 0) {
      this.free(port)
      return
    }
    this.wake(now)
    if (this.restingCount === this.maxResting) this.wakeFirst()
    if (this.restingCount === this.restingPorts.length) this.growRing()
    const at = (this.restingHead + this.restingCount++) % this.restingPorts.length
    this.restingPorts[at] = port
    this.restingUntil[at] = now + restMs
  }

  private take(port: number): number {
    setBit(this.taken, port)
    this.available--
    return port
  }

  private free(port: number): void {
    clearBit(this.taken, port)
    this.available++
  }

  /** The first free port from `start` upwards, around the end. There is one. */
  private searchFrom(start: number): number {
    let word = start >>> 5
    let open = ~this.taken[word]! & (0xffffffff << (start & 31))
    while (open === 0) {
      word = (word + 1) % bitmapWords
      open = ~this.taken[word]!
    }
    return word * 32 + (31 - Math.clz32(open & -open))
  }

  private wake(now: number): void {
    while (this.restingCount > 0 && this.restingUntil[this.restingHead]! <= now) this.wakeFirst()
  }

  private wakeFirst(): void {
    this.free(this.restingPorts[this.restingHead]!)
    this.restingHead = (this.restingHead + 1) % this.restingPorts.length
    this.restingCount--
  }

  private growRing(): void {
    const length = this.restingPorts.length
    const ports = grown(this.restingPorts, length * 2)
    const until = grown(this.restingUntil, length * 2)
    // The part before the head moves behind the old end.
    ports.copyWithin(length, 0, this.restingHead)
    until.copyWithin(length, 0, this.restingHead)
    this.restingPorts = ports
    this.restingUntil = until
  }
}

function hasBit(bitmap: Uint32Array, port: number): boolean {
  return (bitmap[port >>> 5]! & (1 << (port & 31))) !== 0
}

function setBit(bitmap: Uint32Array, port: number): void {
  bitmap[port >>> 5] = bitmap[port >>> 5]! | (1 << (port & 31))
}

function clearBit(bitmap: Uint32Array, port: number): void {
  bitmap[port >>> 5] = bitmap[port >>> 5]! & ~(1 << (port & 31))
}
