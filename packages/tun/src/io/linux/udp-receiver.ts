import type { PacketBatch, PacketBatchOptions } from '@twinbore/core/packet'
import type { SocketCounters } from '../../datagram-socket.ts'
import { errno, isPendingError } from './errno.ts'
import { SlabAddress } from './slab-address.ts'
import { MSG_DONTWAIT, MSG_TRUNC } from './structs.ts'
import type { Syscalls } from './syscalls.ts'
import { nameBytes, type SocketAddresses } from './udp-address.ts'
import { readGroSize } from './udp-control.ts'
import { MessageBlock } from './udp-messages.ts'

/** Trains that one call may bring, and datagrams where trains are off. Senders without trains send so many at a time. */
const TRAINS = 48
const SINGLES = 64
/** Slots for the datagrams of trains. */
const SLOTS = 1024
/** A train has at most 64 KB, and as a rule at most 64 datagrams. */
const TRAIN_BYTES = 65_536
const TRAIN_DATAGRAMS = 64
/** Distance of two trains. Were it a multiple of the page size, the heads of all trains would compete for the same lines of the cache. */
const TRAIN_STRIDE = TRAIN_BYTES + 1536
const CONTROL_BYTES = 64

/** The layouts that `UdpReceiver` fills without copying. */
export function receiveLayout(gro: boolean): PacketBatchOptions {
  return gro
    ? { capacity: SLOTS, slotBytes: 2048, sharedBytes: TRAINS * TRAIN_STRIDE }
    : { capacity: SINGLES, slotBytes: 2048 }
}

/**
 * Receives by recvmmsg.
 *
 * Without UDP_GRO each message is one datagram and goes to a slot's own place. With UDP_GRO a message may be a train: it
 * goes to the shared part of the slab, and each of its datagrams becomes a slot that points there. A batch without a
 * shared part (or one that is already partly filled) gets its datagrams copied, by way of memory of the receiver's own;
 * what finds no slot waits there for the next call.
 */
export class UdpReceiver {
  /** Whether the last `receive` left nothing waiting. */
  drained = true
  private readonly system: Syscalls
  private readonly descriptor: number
  private readonly addresses: SocketAddresses
  private readonly counters: SocketCounters
  private readonly gro: boolean
  private readonly nameBytes: number
  private readonly block: MessageBlock
  private readonly slab: SlabAddress
  /** What the vectors of `block` point to: a batch, and the first of its slots. */
  private vectorsBatch: PacketBatch | undefined
  private vectorsFirst = -1
  /** Trains that wait to be copied; message, and bytes of it that are done. */
  private waiting: WaitingTrains | undefined
  private waitingFrom = 0
  private waitingTo = 0
  private waitingAt = 0
  /** The most datagrams that a train of the last call had: the next call asks for as many trains as find slots then. */
  private longestTrain = TRAIN_DATAGRAMS

  constructor(
    system: Syscalls,
    descriptor: number,
    addresses: SocketAddresses,
    counters: SocketCounters,
    gro: boolean,
  ) {
    this.system = system
    this.descriptor = descriptor
    this.addresses = addresses
    this.counters = counters
    this.gro = gro
    this.nameBytes = nameBytes(addresses.family)
    this.slab = new SlabAddress(system.library)
    this.block = receiveBlock(system, gro ? TRAINS : SINGLES)
    for (let message = 0; message < this.block.messages; message++) {
      this.block.setLengths(message, this.nameBytes, CONTROL_BYTES)
    }
  }

  /** Whether datagrams wait in the receiver's own memory, of which the system knows nothing. */
  get keeps(): boolean {
    return this.waitingFrom < this.waitingTo
  }

  receive(batch: PacketBatch): number {
    const before = batch.count
    this.addresses.startBatch()
    this.drained = false
    if (this.keeps) this.copyWaiting(batch)
    if (!this.keeps) {
      if (!this.gro) this.receiveSingles(batch)
      else if (before === 0 && batch.bytes.length - batch.sharedOffset >= TRAIN_BYTES) this.receiveTrains(batch)
      else this.receiveCopies(batch)
    }
    return batch.count - before
  }

  private receiveSingles(batch: PacketBatch): void {
    const { block, counters } = this
    const base = this.slab.of(batch)
    while (!batch.full) {
      const first = batch.count
      const wanted = Math.min(SINGLES, batch.capacity - first)
      const place = first * batch.stride + batch.headroom
      if (this.vectorsBatch !== batch || this.vectorsFirst !== first) {
        const last = Math.min(SINGLES, batch.capacity - first)
        for (let i = 0; i < last; i++) block.setVector(i, base + place + i * batch.stride, batch.slotBytes)
        this.vectorsBatch = batch
        this.vectorsFirst = first
      }
      const got = this.call(block, wanted)
      for (let i = 0; i < got; i++) {
        counters.messagesReceived++
        const length = block.lengthOf(i)
        const endpoint = this.addresses.intern(block.words, block.bytes, block.nameAt(i))
        if ((block.flagsOf(i) & MSG_TRUNC) !== 0) counters.receiveTooBig++
        else if (endpoint === -1) counters.endpointTableDrops++
        else {
          const slot = batch.reserve(endpoint)
          const from = place + i * batch.stride
          // A datagram before this one was passed over: slots lie at their own places.
          if (batch.offsets[slot] !== from) batch.bytes.copyWithin(batch.offsets[slot]!, from, from + length)
          batch.lengths[slot] = length
          counters.datagramsReceived++
          counters.bytesReceived += length
        }
      }
      this.reset(block, got)
      if (got < wanted) return
    }
  }

  private receiveTrains(batch: PacketBatch): void {
    const { block } = this
    const base = this.slab.of(batch) + batch.sharedOffset
    const shared = batch.bytes.length - batch.sharedOffset
    const trains = Math.min(TRAINS, Math.floor((shared + TRAIN_STRIDE - TRAIN_BYTES) / TRAIN_STRIDE))
    if (this.vectorsBatch !== batch) {
      for (let i = 0; i < trains; i++) block.setVector(i, base + i * TRAIN_STRIDE, TRAIN_BYTES)
      this.vectorsBatch = batch
    }
    let first = 0
    while (first < trains && !batch.full) {
      const wanted = Math.min(
        trains - first,
        Math.max(1, Math.floor((batch.capacity - batch.count) / this.longestTrain)),
      )
      const got = this.call(block, wanted, first)
      if (got > 0) this.longestTrain = 1
      for (let i = first; i < first + got; i++) {
        const at = batch.sharedOffset + i * TRAIN_STRIDE
        if (this.keeps) this.keep(batch, i, at, 0)
        else {
          const done = this.placeTrain(batch, i, at)
          if (done >= 0) this.keep(batch, i, at, done)
        }
      }
      this.reset(block, got, first)
      if (this.keeps) this.drained = false
      if (got < wanted) return
      first += got
    }
  }

  /** Makes slots of a train where it lies. Returns how many bytes were placed when the batch got full, otherwise -1. */
  private placeTrain(batch: PacketBatch, message: number, at: number): number {
    const { block, counters } = this
    counters.messagesReceived++
    const length = block.lengthOf(message)
    const size = sizeOf(block, message, length)
    this.longestTrain = Math.max(this.longestTrain, datagramsIn(length, size))
    const endpoint = this.addresses.intern(block.words, block.bytes, block.nameAt(message))
    if (endpoint === -1) {
      counters.endpointTableDrops += datagramsIn(length, size)
      return -1
    }
    let done = 0
    do {
      const bytes = Math.min(size, length - done)
      if (batch.place(at + done, bytes, endpoint) === -1) return done
      counters.datagramsReceived++
      done += bytes
    } while (done < length)
    counters.bytesReceived += length
    return -1
  }

  private receiveCopies(batch: PacketBatch): void {
    this.waiting ??= new WaitingTrains(this.system)
    const { block } = this.waiting
    while (!batch.full) {
      for (let i = 0; i < TRAINS; i++) block.setLengths(i, this.nameBytes, CONTROL_BYTES)
      const got = this.call(block, TRAINS)
      if (got === 0) return
      const drained = this.drained
      this.counters.messagesReceived += got
      this.waitingFrom = 0
      this.waitingTo = got
      this.waitingAt = 0
      this.copyWaiting(batch)
      this.drained = drained && !this.keeps
      if (drained) return
    }
  }

  /** Copies waiting datagrams to slots until none waits or the batch is full. */
  private copyWaiting(batch: PacketBatch): void {
    const { block, bytes } = this.waiting!
    const { counters } = this
    while (this.waitingFrom < this.waitingTo) {
      const message = this.waitingFrom
      const length = block.lengthOf(message)
      const size = sizeOf(block, message, length)
      const endpoint = this.addresses.intern(block.words, block.bytes, block.nameAt(message))
      if (endpoint === -1) counters.endpointTableDrops += datagramsIn(length - this.waitingAt, size)
      else {
        do {
          const piece = Math.min(size, length - this.waitingAt)
          if (piece > batch.slotBytes) counters.receiveTooBig++
          else {
            if (batch.full) return
            const from = message * TRAIN_STRIDE + this.waitingAt
            batch.push(bytes.subarray(from, from + piece), endpoint)
            counters.datagramsReceived++
            counters.bytesReceived += piece
          }
          this.waitingAt += piece
        } while (this.waitingAt < length)
      }
      this.waitingFrom++
      this.waitingAt = 0
    }
  }

  /** The batch is full: what is left of a train waits, with its address and its datagrams' size. */
  private keep(batch: PacketBatch, message: number, at: number, done: number): void {
    this.waiting ??= new WaitingTrains(this.system)
    const { block, bytes } = this.waiting
    if (!this.keeps) {
      this.waitingFrom = 0
      this.waitingTo = 0
      this.waitingAt = done
    } else this.counters.messagesReceived++
    const length = this.block.lengthOf(message)
    if (done > 0) this.counters.bytesReceived += done
    bytes.set(batch.bytes.subarray(at, at + length), this.waitingTo * TRAIN_STRIDE)
    block.copyMessage(this.waitingTo, this.block, message)
    this.waitingTo++
  }

  /** Fills messages from `first` on. Returns how many, 0 when nothing waits or receiving failed. */
  private call(block: MessageBlock, wanted: number, first = 0): number {
    for (let attempt = 0; ; attempt++) {
      const got = this.system.recvmmsg(this.descriptor, block.headerAddress(first), wanted, MSG_DONTWAIT, 0)
      if (got > 0) {
        this.counters.receiveCalls++
        this.drained = got < wanted
        return got
      }
      const error = this.system.lastError()
      // What a router or peer said about an earlier datagram is reported once, in place of a result.
      if (attempt < MAX_ATTEMPTS && isPendingError(error)) continue
      if (error !== errno.EAGAIN) this.counters.receiveErrors++
      this.drained = true
      return 0
    }
  }

  /** The system overwrote the lengths with those of what it delivered. */
  private reset(block: MessageBlock, used: number, first = 0): void {
    for (let message = first; message < first + used; message++) {
      block.setLengths(message, this.nameBytes, CONTROL_BYTES)
    }
  }
}

const MAX_ATTEMPTS = 4

/** Memory for trains that can't stay in a batch. Most sockets never need it. */
class WaitingTrains {
  readonly block: MessageBlock
  readonly bytes: Uint8Array

  constructor(system: Syscalls) {
    const memory = new ArrayBuffer(TRAINS * TRAIN_STRIDE)
    const base = system.library.addressOf(memory)
    this.bytes = new Uint8Array(memory)
    this.block = receiveBlock(system, TRAINS)
    for (let i = 0; i < TRAINS; i++) this.block.setVector(i, base + i * TRAIN_STRIDE, TRAIN_BYTES)
  }
}

function receiveBlock(system: Syscalls, messages: number): MessageBlock {
  const block = new MessageBlock(system.library, { messages, vectors: messages, controlBytes: CONTROL_BYTES })
  for (let message = 0; message < messages; message++) block.setVectors(message, message, 1)
  return block
}

/** Bytes of each datagram of a message; a single one is as long as the message. */
function sizeOf(block: MessageBlock, message: number, length: number): number {
  const control = block.controlOf(message)
  const controlBytes = block.controlBytesOf(message)
  const size = controlBytes === 0 ? 0 : readGroSize(block.words, control, control + (controlBytes >>> 2))
  return size === 0 ? length : size
}

function datagramsIn(bytes: number, size: number): number {
  return size === 0 ? 1 : Math.ceil(bytes / size)
}
