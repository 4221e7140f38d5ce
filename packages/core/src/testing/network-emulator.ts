import { DeadlineQueue } from '../runtime/deadline-queue.ts'
import { type Machine, OutputQueue } from '../runtime/machine.ts'
import { type Random, randomBelow, seededRandom } from '../runtime/random.ts'
import type { Milliseconds } from '../runtime/time.ts'

/** Outbound: client towards corporate network. Inbound: back. */
export type LinkDirection = 'outbound' | 'inbound'

/** How one direction of a link treats datagrams. Probabilities are from 0 to 1. */
export interface LinkConditions {
  /** Whether everything disappears. What is already on its way still arrives. @defaultValue false */
  readonly blackhole: boolean
  /** The longest datagram in bytes; longer ones disappear without a word. @defaultValue Infinity */
  readonly mtu: number
  /** Probability that a datagram disappears. @defaultValue 0 */
  readonly loss: number
  /** Probability that a datagram arrives twice. @defaultValue 0 */
  readonly duplicate: number
  /** Probability that one bit of a datagram is flipped. @defaultValue 0 */
  readonly corrupt: number
  /** Delay of every datagram. @defaultValue 0 */
  readonly latencyMs: Milliseconds
  /** Additional delay, uniform from 0 to this. It doesn't change the order: later datagrams wait. @defaultValue 0 */
  readonly jitterMs: Milliseconds
  /** Probability that a datagram is held back for `reorderMs`, so that later ones overtake it. @defaultValue 0 */
  readonly reorder: number
  /** @defaultValue 20 */
  readonly reorderMs: Milliseconds
  /** Bits per second; `Infinity` means that sending takes no time. @defaultValue Infinity */
  readonly rateBps: number
  /** How many bytes may wait for the rate; what comes on top disappears. @defaultValue 262144 */
  readonly queueBytes: number
}

export const defaultLinkConditions: LinkConditions = {
  blackhole: false,
  mtu: Infinity,
  loss: 0,
  duplicate: 0,
  corrupt: 0,
  latencyMs: 0,
  jitterMs: 0,
  reorder: 0,
  reorderMs: 20,
  rateBps: Infinity,
  queueBytes: 262_144,
}

export interface NetworkEmulatorOptions {
  /** The same seed and the same inputs give the same link. @defaultValue 1 */
  readonly seed?: number
  /** Conditions of both directions. */
  readonly conditions?: Partial<LinkConditions>
}

/** A datagram that arrives. `bytes` is the receiver's own. */
export interface LinkDelivery {
  readonly type: 'delivery'
  readonly direction: LinkDirection
  readonly bytes: Uint8Array
}

/** What happened in one direction since creation, in datagrams. */
export interface LinkStats {
  sent: number
  delivered: number
  lost: number
  blackholed: number
  tooBig: number
  queueOverflow: number
  duplicated: number
  corrupted: number
  reordered: number
}

interface Direction {
  conditions: LinkConditions
  stats: LinkStats
  /** When the sender's interface has sent all that waits. */
  freeAt: Milliseconds
  /** The latest arrival of those in order. */
  lastArrival: Milliseconds
}

/**
 * A link of two directions that loses, delays, reorders, duplicates, corrupts and swallows datagrams on demand, as a
 * machine: `send` is its input, deliveries are its outputs, `deadline` is the next arrival. It copies what it is given.
 */
export class NetworkEmulator implements Machine<LinkDelivery> {
  private readonly random: Random
  private readonly directions: Record<LinkDirection, Direction>
  private readonly outputs = new OutputQueue<LinkDelivery>()
  private readonly arrivals = new DeadlineQueue()
  /** Datagrams on their way, by their key in `arrivals`. */
  private readonly flights: (LinkDelivery | undefined)[] = []
  private readonly freeKeys: number[] = []

  constructor(options: NetworkEmulatorOptions = {}) {
    this.random = seededRandom(options.seed ?? 1)
    const conditions = checked({ ...defaultLinkConditions, ...options.conditions })
    this.directions = { outbound: newDirection(conditions), inbound: newDirection(conditions) }
  }

  /** Puts a datagram on the link. */
  send(direction: LinkDirection, bytes: Uint8Array, now: Milliseconds): void {
    const link = this.directions[direction]
    const { conditions, stats } = link
    stats.sent++
    if (conditions.blackhole) stats.blackholed++
    else if (bytes.length > conditions.mtu) stats.tooBig++
    else if (this.happens(conditions.loss)) stats.lost++
    else {
      this.transmit(direction, bytes, now)
      if (this.happens(conditions.duplicate)) {
        stats.duplicated++
        this.transmit(direction, bytes, now)
      }
    }
    this.handleDeadline(now)
  }

  /** Changes conditions of one direction, or of both when none is given. Datagrams on their way keep their fate. */
  change(conditions: Partial<LinkConditions>, direction?: LinkDirection): void {
    for (const name of direction ? [direction] : (['outbound', 'inbound'] as const)) {
      const link = this.directions[name]
      link.conditions = checked({ ...link.conditions, ...conditions })
    }
  }

  /** Makes one direction, or both, swallow everything from now on. */
  blackhole(direction?: LinkDirection): void {
    this.change({ blackhole: true }, direction)
  }

  /** Ends a blackhole. */
  restore(direction?: LinkDirection): void {
    this.change({ blackhole: false }, direction)
  }

  stats(direction: LinkDirection): Readonly<LinkStats> {
    return { ...this.directions[direction].stats }
  }

  /** How many datagrams are on their way. */
  get inFlight(): number {
    return this.arrivals.size
  }

  get deadline(): Milliseconds | undefined {
    return this.arrivals.deadline
  }

  handleDeadline(now: Milliseconds): void {
    for (let key = this.arrivals.takeExpired(now); key !== -1; key = this.arrivals.takeExpired(now)) {
      const delivery = this.flights[key]!
      this.flights[key] = undefined
      this.freeKeys.push(key)
      this.directions[delivery.direction].stats.delivered++
      this.outputs.push(delivery)
    }
  }

  poll(): LinkDelivery | undefined {
    return this.outputs.take()
  }

  private transmit(direction: LinkDirection, bytes: Uint8Array, now: Milliseconds): void {
    const link = this.directions[direction]
    const { conditions, stats } = link
    const start = Math.max(now, link.freeAt)
    const waiting = conditions.rateBps === Infinity ? 0 : ((start - now) * conditions.rateBps) / 8000
    if (waiting + bytes.length > conditions.queueBytes && waiting > 0) {
      stats.queueOverflow++
      return
    }
    link.freeAt = start + (bytes.length * 8000) / conditions.rateBps
    let arrival = link.freeAt + conditions.latencyMs + this.fraction() * conditions.jitterMs
    if (this.happens(conditions.reorder)) {
      stats.reordered++
      arrival += conditions.reorderMs
    } else {
      arrival = Math.max(arrival, link.lastArrival)
      link.lastArrival = arrival
    }
    const copy = bytes.slice()
    if (copy.length > 0 && this.happens(conditions.corrupt)) {
      stats.corrupted++
      const bit = randomBelow(this.random, copy.length * 8)
      copy[bit >>> 3]! ^= 0x80 >>> (bit & 7)
    }
    const key = this.freeKeys.pop() ?? this.flights.length
    this.flights[key] = { type: 'delivery', direction, bytes: copy }
    this.arrivals.set(key, arrival)
  }

  private happens(probability: number): boolean {
    return probability > 0 && this.fraction() < probability
  }

  /** From 0 to below 1. */
  private fraction(): number {
    return this.random.uint32() / 0x1_0000_0000
  }
}

function newDirection(conditions: LinkConditions): Direction {
  const stats = {
    sent: 0,
    delivered: 0,
    lost: 0,
    blackholed: 0,
    tooBig: 0,
    queueOverflow: 0,
    duplicated: 0,
    corrupted: 0,
    reordered: 0,
  }
  return { conditions, stats, freeAt: 0, lastArrival: 0 }
}

function checked(conditions: LinkConditions): LinkConditions {
  for (const name of ['loss', 'duplicate', 'corrupt', 'reorder'] as const) {
    if (!(conditions[name] >= 0 && conditions[name] <= 1)) throw new RangeError(`${name} must be from 0 to 1`)
  }
  for (const name of ['latencyMs', 'jitterMs', 'reorderMs'] as const) {
    if (!(conditions[name] >= 0 && conditions[name] < Infinity)) throw new RangeError(`${name} must not be negative`)
  }
  for (const name of ['mtu', 'rateBps', 'queueBytes'] as const) {
    if (!(conditions[name] > 0)) throw new RangeError(`${name} must be positive`)
  }
  return conditions
}
