import type { PacketBatch } from '@twinbore/core/packet'
import { type CopyBytes, PacketRing } from '../rings/packet-ring.ts'
import type { WorkerMemory } from './worker-protocol.ts'

export interface StreamRingsHands {
  /** How bytes get into shared memory and out of it. @defaultValue `set` of Uint8Array */
  readonly copy?: CopyBytes
  /** Wakes the worker, if it waits: packets are there. */
  readonly wake: () => void
  /** Sends a packet on a session's stream channel. The bytes must be copied. */
  readonly sendOnStream: (session: number, bytes: Uint8Array, offset: number, length: number) => void
}

const RING_BYTES = 1 << 20
/**
 * After so many packets for stream channels at once, the next are looked for a moment later instead of being told of: each
 * wakeup, and each write to TCP, serves more of them. Fewer never wait.
 */
const BULK_PACKETS = 24
const BULK_PAUSE_MS = 1

/**
 * The main thread's ends of the rings that hold packets of stream channels on their way to a worker, and back. The rings outlive
 * a worker: its successor goes on where it was.
 */
export class StreamRings {
  readonly memory: Pick<WorkerMemory, 'fromStreams' | 'toStreams'>
  private readonly hands: StreamRingsHands
  private readonly toWorker: PacketRing
  private readonly fromWorker: PacketRing
  private handingIn: NodeJS.Immediate | undefined
  private handOutSoon: NodeJS.Timeout | undefined

  constructor(hands: StreamRingsHands) {
    this.hands = hands
    this.memory = { fromStreams: PacketRing.allocate(RING_BYTES), toStreams: PacketRing.allocate(RING_BYTES) }
    this.toWorker = new PacketRing(this.memory.fromStreams, hands.copy)
    this.fromWorker = new PacketRing(this.memory.toStreams, hands.copy)
    this.handOut()
  }

  /** Packets that found no room. */
  get dropped(): number {
    return this.toWorker.dropped + this.fromWorker.dropped
  }

  /** Takes the packet of one slot, for `publish` to let the worker know. */
  push(batch: PacketBatch, slot: number): void {
    this.toWorker.push(batch.bytes, batch.offsets[slot]!, batch.lengths[slot]!, batch.owners[slot]!)
  }

  /** One wakeup for all that this turn of the loop reads. */
  publish(): void {
    this.handingIn ??= setImmediate(() => {
      this.handingIn = undefined
      this.toWorker.publish()
      this.hands.wake()
    })
  }

  /** The worker has told of packets for stream channels. */
  readonly handOut = (): void => {
    const { sendOnStream } = this.hands
    let packets = 0
    do {
      this.fromWorker.drain((bytes, offset, length, session) => {
        packets++
        sendOnStream(session, bytes, offset, length)
        return true
      })
      if (packets >= BULK_PACKETS) {
        if (this.handOutSoon) this.handOutSoon.refresh()
        else this.handOutSoon = setTimeout(this.handOut, BULK_PAUSE_MS)
        return
      }
    } while (!this.fromWorker.willWait())
  }

  /**
   * A worker has died, and its successor will go on. It may have died after it had taken down that this thread waits, and before
   * it had told it: then nobody would ever tell it again.
   */
  takeOver(): void {
    this.handOut()
  }

  close(): void {
    clearImmediate(this.handingIn)
    clearTimeout(this.handOutSoon)
  }
}
