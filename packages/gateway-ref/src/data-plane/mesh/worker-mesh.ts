import { DropReason, type PacketBatch } from '@twinbore/core/packet'
import { HandoverRing } from '../rings/handover-ring.ts'
import { allocateFragmentPlaces, FragmentPlaces } from './fragment-places.ts'

/** What a packet that goes from one worker to another is. */
export const Handover = {
  /** Read from the device, before translation: its flow, or its session, is the receiver's. */
  fromDevice: 0,
  /** Came out of a tunnel and may leave; the receiver translates for its session. */
  fromTunnel: 1,
  /** On its way to a client, translated and short enough, but for the tunnel, which is the receiver's. */
  toTunnel: 2,
  /** Three of `RoamingClients`, the owner of each is the worker that sent it: a datagram for an association of the receiver, */
  datagram: 3,
  /** one that may be, */
  offer: 4,
  /** and what the receiver should know of an endpoint. */
  notice: 5,
} as const
export type Handover = (typeof Handover)[keyof typeof Handover]

/** What the workers of a data plane share. Plain, for the message that starts a thread. */
export interface MeshMemory {
  readonly workers: number
  /** Int32 for each session: its owner, then its home; -1 is nobody. */
  readonly sessions: SharedArrayBuffer
  /** Of `FragmentPlaces`. */
  readonly fragments: SharedArrayBuffer
  /** Int32 for each worker: 1 while it waits. */
  readonly waits: SharedArrayBuffer
  /** `HandoverRing`s from worker i to worker j, at i * workers + j. */
  readonly rings: readonly (SharedArrayBuffer | undefined)[]
}

/** Rings into one worker take about so much, and each at least the second: three super-packets. */
const RINGS_BYTES = 2 << 20
const LEAST_RING_BYTES = 256 << 10

/** @throws RangeError unless there are 2 to 64 workers */
export function allocateMesh(workers: number, capacity: number): MeshMemory {
  if (!Number.isInteger(workers) || workers < 2 || workers > 64) throw new RangeError('workers must be 2 to 64')
  const sessions = new SharedArrayBuffer(capacity * 8)
  new Int32Array(sessions).fill(-1)
  const ringBytes = meshRingBytes(workers)
  const rings = Array.from({ length: workers * workers }, (_, n) =>
    n % (workers + 1) === 0 ? undefined : HandoverRing.allocate(ringBytes),
  )
  return { workers, sessions, fragments: allocateFragmentPlaces(), waits: new SharedArrayBuffer(workers * 4), rings }
}

/** The size of each ring between two of so many workers. */
export function meshRingBytes(workers: number): number {
  return Math.max(LEAST_RING_BYTES, 2 ** Math.floor(Math.log2(RINGS_BYTES / (workers - 1))))
}

/**
 * Which worker has what of each session, for all threads to read:
 *
 * - its **owner** holds its DTLS association, as that is where the client's datagrams arrive;
 * - its **home** translates for it, from its first packet on that may leave: mappings never move, so that flows outlive an
 *   association that comes up elsewhere.
 */
export class SessionPlaces {
  private readonly owners: Int32Array
  private readonly homes: Int32Array

  constructor({ sessions }: Pick<MeshMemory, 'sessions'>) {
    const words = sessions.byteLength / 8
    this.owners = new Int32Array(sessions, 0, words)
    this.homes = new Int32Array(sessions, words * 4)
  }

  /** The worker that holds its association, or -1. */
  ownerOf(session: number): number {
    return Atomics.load(this.owners, session)
  }

  setOwner(session: number, worker: number): void {
    Atomics.store(this.owners, session, worker)
  }

  /** The worker has no association of it any more; another one may have one already. */
  releaseOwner(session: number, worker: number): void {
    Atomics.compareExchange(this.owners, session, worker, -1)
  }

  /** Goes on as its owner, unless another worker is it by now. */
  restoreOwner(session: number, worker: number): void {
    Atomics.compareExchange(this.owners, session, -1, worker)
  }

  homeOf(session: number): number {
    return Atomics.load(this.homes, session)
  }

  /** Its home, which is `worker` when it had none. */
  claimHome(session: number, worker: number): number {
    const before = Atomics.compareExchange(this.homes, session, -1, worker)
    return before === -1 ? worker : before
  }

  /** Its number is free. */
  forget(session: number): void {
    Atomics.store(this.owners, session, -1)
    Atomics.store(this.homes, session, -1)
  }
}

/**
 * A worker's place among the others of its data plane: what it hands to them and gets from them. Each pair of workers has a ring
 * in each direction; nobody ever waits for another one.
 *
 * Memory of all: workers * (workers - 1) rings of `meshRingBytes`.
 */
export class WorkerMesh {
  readonly workers: number
  readonly self: number
  readonly places: SessionPlaces
  readonly fragments: FragmentPlaces
  private readonly waits: Int32Array
  private readonly outgoing: readonly (HandoverRing | undefined)[]
  private readonly incoming: readonly HandoverRing[]
  private readonly wake: (worker: number) => void
  private readonly touched: Uint8Array
  private hasOutgoing = false
  /** The ring that is drained first next time, so that none starves. */
  private first = 0

  /** @param wake - wakes a worker that waits */
  constructor(memory: MeshMemory, self: number, wake: (worker: number) => void) {
    const { workers, rings } = memory
    this.workers = workers
    this.self = self
    this.places = new SessionPlaces(memory)
    this.fragments = new FragmentPlaces(memory.fragments)
    this.waits = new Int32Array(memory.waits)
    this.wake = wake
    this.touched = new Uint8Array(workers)
    const open = (ring: SharedArrayBuffer | undefined) => ring && new HandoverRing(ring)
    this.outgoing = rings.slice(self * workers, (self + 1) * workers).map(open)
    this.incoming = rings.flatMap((ring, n) => (n % workers === self && ring ? [new HandoverRing(ring)] : []))
  }

  /** What waits for a worker that has died is not for its successor: sessions may have changed since. Returns how much it was. */
  discard(): number {
    return this.incoming.reduce((sum, ring) => sum + ring.discard(), 0)
  }

  /** Hands the packet of a slot to another worker, which sees it after `publish`; without room it is dropped. `head` goes before its bytes. */
  handOver(batch: PacketBatch, slot: number, worker: number, kind: Handover, head?: Uint8Array): void {
    if (this.push(batch, slot, worker, kind, head)) batch.divert(slot)
    else batch.drop(slot, DropReason.queueFull)
  }

  /** Hands a copy to each of the others, as far as there is room. */
  copyToAll(batch: PacketBatch, slot: number, kind: Handover, head?: Uint8Array): void {
    for (let worker = 0; worker < this.workers; worker++) {
      if (worker !== this.self) this.push(batch, slot, worker, kind, head)
    }
  }

  private push(batch: PacketBatch, slot: number, worker: number, kind: Handover, head?: Uint8Array): boolean {
    if (!this.outgoing[worker]!.pushSlot(batch, slot, kind, head)) return false
    this.touched[worker] = 1
    this.hasOutgoing = true
    return true
  }

  /** Lets the others see what they were handed, and wakes those that wait. */
  publish(): void {
    if (!this.hasOutgoing) return
    this.hasOutgoing = false
    for (let worker = 0; worker < this.workers; worker++) {
      if (this.touched[worker] === 0) continue
      this.touched[worker] = 0
      this.outgoing[worker]!.publish()
      if (Atomics.exchange(this.waits, worker, 0) === 1) this.wake(worker)
    }
  }

  get isEmpty(): boolean {
    for (const ring of this.incoming) if (!ring.isEmpty) return false
    return true
  }

  /** Moves what was handed to this worker to batches by kind, until one of them is full. Returns whether that was all. */
  drain(batchOf: (kind: number) => PacketBatch): boolean {
    const { incoming } = this
    let hasRoom = true
    for (let n = 0; n < incoming.length && hasRoom; n++) {
      const ring = incoming[this.first]!
      this.first = (this.first + 1) % incoming.length
      hasRoom = ring.drainSlots(batchOf)
    }
    return hasRoom
  }

  /** Says that this worker is about to wait. False when something came meanwhile: then it must not. */
  willWait(): boolean {
    Atomics.store(this.waits, this.self, 1)
    if (this.isEmpty) return true
    Atomics.store(this.waits, this.self, 0)
    return false
  }

  /** This worker waits no more. */
  isAwake(): void {
    Atomics.store(this.waits, this.self, 0)
  }
}
