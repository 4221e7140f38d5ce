import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import type { DatagramSendError, SocketCounters } from '../../datagram-socket.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import { errno, errnoName, isPendingError } from './errno.ts'
import { SlabAddress } from './slab-address.ts'
import { MSG_DONTWAIT } from './structs.ts'
import type { Syscalls } from './syscalls.ts'
import { nameBytes, type SocketAddresses, type Zones } from './udp-address.ts'
import { SEGMENT_CONTROL_BYTES, writeSegmentControl } from './udp-control.ts'
import { MessageBlock } from './udp-messages.ts'
import { MAX_SEGMENTS, TrainRefusals, trainEnd } from './udp-trains.ts'

/** Messages of one call, and the pieces that they point to all together. */
const MESSAGES = 64
const VECTORS = 1024
/** The longest UDP payload: 65,535 bytes less the UDP header, and the IPv4 header where there is one. */
const MAX_PAYLOAD_IPV4 = 65_507
const MAX_PAYLOAD_IPV6 = 65_527
/** A system that refuses so many trains and never took one gets no more. */
const HOPELESS_REFUSALS = 32

export interface UdpSenderOptions {
  readonly system: Syscalls
  readonly descriptor: number
  readonly endpoints: EndpointTable
  readonly addresses: SocketAddresses
  readonly zones: Zones
  readonly counters: SocketCounters
  readonly gso: boolean
  /** The system takes no trains, it turned out. */
  readonly onGsoOff: (error: string) => void
}

/**
 * Sends by sendmmsg, straight from the slab. Runs of equal datagrams for one endpoint are trains (see `trainEnd`): one message
 * with UDP_SEGMENT, that the kernel or the network card cuts.
 */
export class UdpSender {
  /** Refusals since the last `takeErrors`. They are told when the call is over, since the listener may send again. */
  private errors: DatagramSendError[] = []
  private readonly options: UdpSenderOptions
  private readonly block: MessageBlock
  private readonly slab: SlabAddress
  private readonly refusals = new TrainRefusals()
  /** What each message of the block stands for: slots, and how many datagrams and bytes they are. */
  private readonly firstSlots = new Int32Array(MESSAGES)
  private readonly endSlots = new Int32Array(MESSAGES)
  private readonly datagrams = new Int32Array(MESSAGES)
  private readonly totals = new Int32Array(MESSAGES)
  private readonly firstVectors = new Int32Array(MESSAGES)
  private messages = 0
  private vectors = 0
  private gso: boolean
  /** The first slot that the system had no room for, or -1: the rest of the batch is dropped, or kept. */
  blockedAt = -1
  private keeps = false

  constructor(options: UdpSenderOptions) {
    this.options = options
    this.gso = options.gso
    this.slab = new SlabAddress(options.system.library)
    this.block = new MessageBlock(options.system.library, {
      messages: MESSAGES,
      vectors: VECTORS,
      controlBytes: SEGMENT_CONTROL_BYTES,
    })
  }

  send(batch: PacketBatch, keeps = false): number {
    const base = this.slab.of(batch)
    let sent = 0
    this.blockedAt = -1
    this.keeps = keeps
    for (let slot = 0; slot < batch.count; ) {
      if (batch.verdicts[slot] !== Verdict.forward) {
        slot++
        continue
      }
      if (this.messages === MESSAGES || this.vectors > VECTORS - MAX_SEGMENTS) sent += this.flush(batch)
      slot = this.add(batch, slot, base)
    }
    return sent + this.flush(batch)
  }

  /** What was refused since the last call. */
  takeErrors(): readonly DatagramSendError[] {
    if (this.errors.length === 0) return NO_ERRORS
    const { errors } = this
    this.errors = []
    return errors
  }

  /** Makes a message of the train that begins at a slot, or drops the slot. Returns the next slot to look at. */
  private add(batch: PacketBatch, slot: number, base: number): number {
    const { endpoints, addresses, counters } = this.options
    const { block, messages: message } = this
    const endpoint = batch.owners[slot]!
    const size = batch.lengths[slot]!
    if (this.blockedAt !== -1) {
      this.noRoom(batch, slot)
      return slot + 1
    }
    if (!endpoints.has(endpoint)) {
      counters.sendErrors++
      batch.drop(slot, DropReason.unknownPeer)
      return slot + 1
    }
    const family = endpoints.familyOf(endpoint)
    const longest = family === 4 ? MAX_PAYLOAD_IPV4 : MAX_PAYLOAD_IPV6
    const name = block.nameAt(message)
    let refusal = ''
    if (size > longest) refusal = 'EMSGSIZE'
    else if (family > addresses.family) refusal = 'EAFNOSUPPORT'
    else if (!addresses.write(endpoint, block.words, block.bytes, name)) refusal = 'ENODEV'
    if (refusal !== '') {
      this.refuse(batch, slot, refusal)
      return slot + 1
    }
    const trains = this.gso && !this.refusals.expect(endpoint, size)
    const end = trains ? trainEnd(batch, slot, longest) : slot + 1
    const firstVector = this.vectors
    let total = 0
    for (let i = slot; i < end; i++) {
      if (batch.verdicts[i] !== Verdict.forward) continue
      const length = batch.lengths[i]!
      block.setVector(this.vectors++, base + batch.offsets[i]!, length)
      total += length
    }
    const datagrams = this.vectors - firstVector
    block.setVectors(message, firstVector, datagrams)
    block.setLengths(message, nameBytes(addresses.family), datagrams > 1 ? SEGMENT_CONTROL_BYTES : 0)
    if (datagrams > 1) writeSegmentControl(block.words, block.controlOf(message), size)
    this.firstSlots[message] = slot
    this.endSlots[message] = end
    this.datagrams[message] = datagrams
    this.totals[message] = total
    this.firstVectors[message] = firstVector
    this.messages++
    return end
  }

  /** Hands the collected messages to the system. Returns how many datagrams it took. */
  private flush(batch: PacketBatch): number {
    const { counters } = this.options
    const { messages } = this
    let sent = 0
    for (let message = 0; message < messages; ) {
      const taken = this.blockedAt !== -1 ? 0 : this.call(message, messages - message)
      for (let end = message + Math.max(0, taken); message < end; message++) {
        const datagrams = this.datagrams[message]!
        sent += datagrams
        counters.datagramsSent += datagrams
        counters.bytesSent += this.totals[message]!
        if (datagrams > 1) {
          counters.trainsSent++
          counters.trainDatagramsSent += datagrams
        }
      }
      if (taken <= 0 && message < messages) sent += this.failed(batch, message++, -taken)
    }
    this.messages = 0
    this.vectors = 0
    return sent
  }

  /** Returns how many messages the system took, or the error of the first one as a negative number. */
  private call(message: number, count: number): number {
    const { system, descriptor, counters } = this.options
    for (let attempt = 0; ; attempt++) {
      counters.sendCalls++
      const taken = system.sendmmsg(descriptor, this.block.headerAddress(message), count, MSG_DONTWAIT)
      if (taken > 0) return taken
      const error = system.lastError()
      if (attempt === 0 && isPendingError(error)) continue
      return -error
    }
  }

  /** The system did not take a message. Returns how many of its datagrams it took one by one. */
  private failed(batch: PacketBatch, message: number, error: number): number {
    const first = this.firstSlots[message]!
    const end = this.endSlots[message]!
    const isBlocked = this.blockedAt !== -1 || hasNoRoom(error)
    const singles = !isBlocked && this.datagrams[message]! > 1 && this.trainRefused(batch, first, error)
    let sent = 0
    let vector = this.firstVectors[message]!
    for (let slot = first; slot < end; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      if (isBlocked || this.blockedAt !== -1) this.noRoom(batch, slot)
      else if (!singles) this.refuse(batch, slot, errnoName(error))
      else if (this.sendSingle(batch, slot, message, vector++)) sent++
    }
    return sent
  }

  /** Whether the datagrams of a refused train may go one by one; remembers what the refusal means for other trains. */
  private trainRefused(batch: PacketBatch, first: number, error: number): boolean {
    const { counters, onGsoOff } = this.options
    const unsupported = error === errno.EIO || error === errno.ENOPROTOOPT || error === errno.EOPNOTSUPP
    const unfit = error === errno.EINVAL || error === errno.EMSGSIZE
    if (!unsupported && !unfit) return false
    counters.trainsRefused++
    this.refusals.add(batch.owners[first]!, batch.lengths[first]!)
    const hopeless = counters.trainsSent === 0 && counters.trainsRefused >= HOPELESS_REFUSALS
    if (this.gso && (unsupported || hopeless)) {
      this.gso = false
      onGsoOff(errnoName(error))
    }
    return true
  }

  private sendSingle(batch: PacketBatch, slot: number, message: number, vector: number): boolean {
    const { counters, addresses } = this.options
    this.block.setVectors(message, vector, 1)
    this.block.setLengths(message, nameBytes(addresses.family), 0)
    const error = -this.call(message, 1)
    if (error < 0) {
      counters.datagramsSent++
      counters.bytesSent += batch.lengths[slot]!
      return true
    }
    if (hasNoRoom(error)) this.noRoom(batch, slot)
    else this.refuse(batch, slot, errnoName(error))
    return false
  }

  private noRoom(batch: PacketBatch, slot: number): void {
    if (this.blockedAt === -1) this.blockedAt = slot
    if (this.keeps) return
    this.options.counters.sendQueueDrops++
    batch.drop(slot, DropReason.queueFull)
  }

  private refuse(batch: PacketBatch, slot: number, code: string): void {
    this.options.counters.sendErrors++
    this.options.zones.forget()
    this.errors.push({ endpoint: batch.owners[slot]!, code, length: batch.lengths[slot]! })
    batch.drop(slot, reasonOf(code))
  }
}

function hasNoRoom(error: number): boolean {
  return error === errno.EAGAIN || error === errno.ENOBUFS || error === errno.ENOMEM
}

const NO_ERRORS: readonly DatagramSendError[] = []

function reasonOf(code: string): DropReason {
  if (code === 'EMSGSIZE') return DropReason.tooBig
  return code === 'EAFNOSUPPORT' ? DropReason.unknownPeer : DropReason.deviceError
}

/** A batch for single datagrams of any length. */
export function singleBatch(): PacketBatch {
  return new PacketBatch({ capacity: 1, slotBytes: 65_535, headroom: 0, tailroom: 0 })
}
