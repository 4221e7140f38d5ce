import { DeadlineQueue } from '../runtime/deadline-queue.ts'
import { type Machine, OutputQueue } from '../runtime/machine.ts'
import type { Milliseconds } from '../runtime/time.ts'
import { IpAddress } from './ip-address.ts'
import { PoolSpace } from './pool-space.ts'
import { Prefix } from './prefix.ts'

export interface AddressPoolOptions {
  /** The block that addresses are leased from, of either family. At least /30 or /126. */
  readonly prefix: Prefix | string
  /** The gateway's own address inside the tunnel, never leased. @defaultValue the first address behind the network's */
  readonly gateway?: IpAddress | string
  /** Prefixes and addresses that are never leased. */
  readonly exclude?: readonly (Prefix | IpAddress | string)[]
  /** How long a released address is kept from other users, so that late packets find nobody new. @defaultValue 120_000 */
  readonly quarantineMs?: Milliseconds
  /** How long a lease lasts unless it is renewed. `Infinity`: until it is released. @defaultValue Infinity */
  readonly leaseMs?: Milliseconds
  /**
   * For how many absent users the pool remembers their address, about 200 bytes each. Beyond it the longest absent is
   * forgotten. @defaultValue 65_536
   */
  readonly maxBindings?: number
}

export const defaultAddressPoolOptions: Required<Pick<AddressPoolOptions, 'quarantineMs' | 'leaseMs' | 'maxBindings'>> =
  { quarantineMs: 120_000, leaseMs: Infinity, maxBindings: 65_536 }

/** The right to use an address: a value. `expiresAt` is that of the moment; `Infinity` when it lasts until released. */
export interface Lease {
  /** Different for every lease of a pool. */
  readonly id: number
  readonly address: IpAddress
  readonly user: string
  readonly expiresAt: Milliseconds
}

/** What `take` answers. `exhausted`: every address is leased or in quarantine. */
export type LeaseOutcome =
  | { readonly type: 'leased'; readonly lease: Lease }
  | {
      readonly type: 'refused'
      readonly reason: 'exhausted'
      readonly leased: number
      readonly quarantined: number
    }

/** A lease ended because it was not renewed. */
export interface AddressPoolOutput {
  readonly type: 'lease-expired'
  readonly lease: Lease
}

export interface AddressPoolStats {
  /** How many addresses can be leased at all. */
  readonly capacity: number
  readonly leased: number
  readonly quarantined: number
  /** Free addresses that are kept for users who had them. */
  readonly bound: number
}

/** An address that was leased at least once and isn't forgotten. */
interface Place {
  readonly offset: number
  state: 'leased' | 'quarantined' | 'bound'
  user: string
  /** The last lease of the address. */
  lease: Lease
}

/**
 * Leases addresses of one prefix, IPv4 or IPv6, to users.
 *
 * A place goes from *leased* to *quarantined* (kept from others) to *bound* (free, but kept for the user who had it as
 * long as others are free), and is forgotten or leased again. `take` prefers, in this order: the address asked for, the
 * user's binding, addresses that are free and nobody's, and the binding of the user who is absent the longest.
 *
 * The pool is never written out: memory grows with leases, quarantines and bindings, not with the prefix, and each
 * operation costs O(log n) in their number.
 */
export class AddressPool implements Machine<AddressPoolOutput> {
  readonly prefix: Prefix
  /** The gateway's own address, which is never leased. */
  readonly gateway: IpAddress
  private readonly space: PoolSpace
  private readonly quarantineMs: Milliseconds
  private readonly leaseMs: Milliseconds
  private readonly maxBindings: number
  private readonly outputs = new OutputQueue<AddressPoolOutput>()
  /** Places by a small number; its gaps are listed in `freeKeys`. */
  private readonly places: (Place | undefined)[] = []
  private readonly freeKeys: number[] = []
  private readonly keyOfOffset = new Map<number, number>()
  private readonly leaseCounts = { leased: 0, quarantined: 0 }
  /** The place that each absent user had last. */
  private readonly keyOfUser = new Map<string, number>()
  /** When leases and quarantines end. */
  private readonly endings = new DeadlineQueue()
  /** Bound places by when they became so: the longest absent first. */
  private readonly bound = new DeadlineQueue()
  /** Forgotten offsets. May hold some that are in use again, but each only once. */
  private readonly returned: number[] = []
  private readonly returnedOffsets = new Set<number>()
  /** Offsets from here on were never leased, except to who asked for them. -1: there are none left. */
  private cursor: number
  private nextId = 1

  /** @throws RangeError for options that make no pool */
  constructor(options: AddressPoolOptions) {
    const config = { ...defaultAddressPoolOptions, ...options }
    if (!(config.quarantineMs >= 0 && config.quarantineMs < Infinity)) {
      throw new RangeError('quarantineMs must be 0 or more, and finite')
    }
    if (!(config.leaseMs > 0)) throw new RangeError('leaseMs must be positive')
    if (!(config.maxBindings >= 0)) throw new RangeError('maxBindings must not be negative')
    this.prefix = typeof options.prefix === 'string' ? Prefix.of(options.prefix) : options.prefix
    this.gateway = gatewayOf(this.prefix, options.gateway)
    this.space = new PoolSpace(this.prefix, this.gateway, (options.exclude ?? []).map(prefixOf))
    if (this.space.capacity === 0) throw new RangeError(`prefix ${this.prefix} leaves no address to lease`)
    this.quarantineMs = config.quarantineMs
    this.leaseMs = config.leaseMs
    this.maxBindings = config.maxBindings
    this.cursor = this.space.nextFrom(0)
  }

  /**
   * Leases an address to a user: an account or one of its devices, any text that names who should get the same address
   * again. A user may hold several leases.
   *
   * @param preferred - the address that the client asks for, because it had it; given if it is free or the user's own
   */
  take(user: string, now: Milliseconds, preferred?: IpAddress): LeaseOutcome {
    this.handleDeadline(now)
    const offset = this.chooseOffset(user, preferred)
    if (offset === -1) return { type: 'refused', reason: 'exhausted', ...this.leaseCounts }
    const expiresAt = now + this.leaseMs
    const lease = { id: this.nextId++, address: this.space.addressAt(offset), user, expiresAt }
    this.occupy(offset, lease)
    return { type: 'leased', lease }
  }

  /** Ends a lease. Returns false for one that has ended before. */
  release(lease: Lease, now: Milliseconds): boolean {
    this.handleDeadline(now)
    const key = this.keyOfLease(lease)
    if (key === -1) return false
    this.endLease(key, now)
    return true
  }

  /** Makes a lease last from now on as long as a new one. Returns its new value, or `undefined` when it has ended. */
  renew(lease: Lease, now: Milliseconds): Lease | undefined {
    this.handleDeadline(now)
    const key = this.keyOfLease(lease)
    if (key === -1) return undefined
    const place = this.places[key]!
    place.lease = { ...place.lease, expiresAt: now + this.leaseMs }
    if (this.leaseMs !== Infinity) this.endings.set(key, place.lease.expiresAt)
    return place.lease
  }

  /** The lease of an address, if it has one. */
  leaseOf(address: IpAddress): Lease | undefined {
    const place = this.places[this.keyOfOffset.get(this.space.offsetOf(address)) ?? -1]
    return place?.state === 'leased' ? place.lease : undefined
  }

  stats(): AddressPoolStats {
    return { capacity: this.space.capacity, ...this.leaseCounts, bound: this.bound.size }
  }

  get deadline(): Milliseconds | undefined {
    return this.endings.deadline
  }

  handleDeadline(now: Milliseconds): void {
    for (;;) {
      const endedAt = this.endings.deadline
      const key = this.endings.takeExpired(now)
      if (key === -1 || endedAt === undefined) return
      const place = this.places[key]!
      if (place.state === 'leased') {
        this.outputs.push({ type: 'lease-expired', lease: place.lease })
        // Late handling must not lengthen the quarantine.
        this.endLease(key, endedAt)
      } else {
        this.endQuarantine(key, endedAt)
      }
    }
  }

  poll(): AddressPoolOutput | undefined {
    return this.outputs.take()
  }

  private chooseOffset(user: string, preferred: IpAddress | undefined): number {
    const wanted = preferred === undefined ? -1 : this.space.offsetOf(preferred)
    if (wanted !== -1 && this.isFreeFor(user, wanted)) return wanted
    const binding = this.places[this.keyOfUser.get(user) ?? -1]
    if (binding !== undefined && this.isFreeFor(user, binding.offset)) return binding.offset
    for (let offset = this.returned.pop(); offset !== undefined; offset = this.returned.pop()) {
      this.returnedOffsets.delete(offset)
      if (!this.keyOfOffset.has(offset)) return offset
    }
    while (this.cursor !== -1) {
      const offset = this.cursor
      this.cursor = this.space.nextFrom(offset + 1)
      if (!this.keyOfOffset.has(offset)) return offset
    }
    const key = this.bound.takeExpired(Infinity)
    return key === -1 ? -1 : this.places[key]!.offset
  }

  private isFreeFor(user: string, offset: number): boolean {
    const place = this.places[this.keyOfOffset.get(offset) ?? -1]
    if (place === undefined || place.state === 'bound') return true
    return place.state === 'quarantined' && place.user === user
  }

  private occupy(offset: number, lease: Lease): void {
    let key = this.keyOfOffset.get(offset)
    if (key === undefined) {
      key = this.freeKeys.pop() ?? this.places.length
      this.keyOfOffset.set(offset, key)
      this.places[key] = { offset, state: 'leased', user: lease.user, lease }
    } else {
      const place = this.places[key]!
      if (place.state === 'quarantined') this.leaseCounts.quarantined--
      this.unbind(key)
      this.endings.delete(key)
      place.state = 'leased'
      place.user = lease.user
      place.lease = lease
    }
    this.leaseCounts.leased++
    if (lease.expiresAt !== Infinity) this.endings.set(key, lease.expiresAt)
  }

  private endLease(key: number, at: Milliseconds): void {
    const place = this.places[key]!
    place.state = 'quarantined'
    this.leaseCounts.leased--
    this.leaseCounts.quarantined++
    const earlier = this.keyOfUser.get(place.user)
    this.keyOfUser.set(place.user, key)
    // A user has one binding: the address of the last lease.
    if (earlier !== undefined && this.places[earlier]?.state === 'bound') this.forget(earlier)
    this.endings.set(key, at + this.quarantineMs)
  }

  private endQuarantine(key: number, at: Milliseconds): void {
    const place = this.places[key]!
    place.state = 'bound'
    this.leaseCounts.quarantined--
    this.bound.set(key, at)
    // An address that its user would not get back first is nobody's.
    if (this.keyOfUser.get(place.user) !== key) this.forget(key)
    else if (this.bound.size > this.maxBindings) this.forget(this.bound.takeExpired(Infinity))
  }

  private unbind(key: number): void {
    const { user } = this.places[key]!
    if (this.keyOfUser.get(user) === key) this.keyOfUser.delete(user)
    this.bound.delete(key)
  }

  /** Makes an address one that nobody had. */
  private forget(key: number): void {
    const { offset } = this.places[key]!
    this.unbind(key)
    this.places[key] = undefined
    this.freeKeys.push(key)
    this.keyOfOffset.delete(offset)
    if (this.returnedOffsets.has(offset)) return
    this.returned.push(offset)
    this.returnedOffsets.add(offset)
  }

  private keyOfLease(lease: Lease): number {
    const key = this.keyOfOffset.get(this.space.offsetOf(lease.address)) ?? -1
    const place = this.places[key]
    return place?.state === 'leased' && place.lease.id === lease.id ? key : -1
  }
}

function gatewayOf(prefix: Prefix, gateway: IpAddress | string | undefined): IpAddress {
  if (gateway === undefined) {
    if (prefix.isHost) throw new RangeError(`prefix ${prefix} leaves no address to lease`)
    return IpAddress.fromNumber(prefix.address.toNumber() + 1n, prefix.family)
  }
  const address = typeof gateway === 'string' ? IpAddress.of(gateway) : gateway
  if (!prefix.contains(address)) throw new RangeError(`gateway ${address} must be inside ${prefix}`)
  return address
}

function prefixOf(excluded: Prefix | IpAddress | string): Prefix {
  if (typeof excluded === 'string') return Prefix.of(excluded)
  return excluded instanceof IpAddress ? Prefix.of(excluded, excluded.family === 4 ? 32 : 128) : excluded
}
