import { type PacketBatch, Verdict } from '@twinbore/core/packet'
import type { Milliseconds } from '@twinbore/core/runtime'
import { Codel } from './codel.ts'

export interface SendQueueLimits {
  /** Memory of what waits in all, in bytes; beyond it the longest queue loses its oldest. @defaultValue 16 MiB */
  readonly maxBytes?: number
  /** The same of one owner. @defaultValue 1 MiB */
  readonly maxOwnerBytes?: number
  /** Bytes that an owner may send before it is the next one's turn. @defaultValue 6000, four full records */
  readonly quantumBytes?: number
}

/** What a record that waits takes besides its bytes. */
const OVERHEAD_BYTES = 256
/** RFC 8290 §4.1: so many go at once, so that a new one does not search for the longest queue each time. */
const MOST_AT_ONCE = 64
/** Those that have just begun to send wait for no more than so many records whose turn has come before. */
const MOST_PULLED = 32

interface Waiting {
  readonly bytes: Uint8Array
  readonly since: Milliseconds
}

/** A record whose turn has come. */
interface Staged {
  readonly owner: number
  readonly bytes: Uint8Array
}

/** What waits for one owner. */
class Queue {
  readonly owner: number
  readonly codel = new Codel()
  readonly items: (Waiting | undefined)[] = []
  head = 0
  /** With what they take besides. */
  bytes = 0
  deficit = 0

  constructor(owner: number) {
    this.owner = owner
  }

  get isEmpty(): boolean {
    return this.head === this.items.length
  }

  peek(): Waiting | undefined {
    return this.items[this.head]
  }

  shift(): Waiting {
    const item = this.items[this.head]!
    this.items[this.head++] = undefined
    this.bytes -= cost(item)
    if (this.isEmpty) {
      this.items.length = 0
      this.head = 0
    } else if (this.head >= 1024) {
      this.items.splice(0, this.head)
      this.head = 0
    }
    return item
  }

  push(item: Waiting): void {
    this.items.push(item)
    this.bytes += cost(item)
  }
}

/**
 * Records that wait for a socket that has no room, a queue for each owner. Owners take turns by bytes, those that have just
 * begun to send first, and a queue that stands loses packets until it does not (RFC 8290: FQ-CoDel). So whoever sends little
 * is served at once, however much the others send; who sends more shares what is left, and nobody waits long. Owners are
 * small integers of any kind; the records of each stay in order.
 *
 * Nothing is allocated until something waits.
 */
export class SendQueues {
  private dropped = 0
  private readonly maxBytes: number
  private readonly maxOwnerBytes: number
  private readonly quantum: number
  private readonly queues = new Map<number, Queue>()
  private fresh: Queue[] = []
  private old: Queue[] = []
  private readonly staged: Staged[] = []
  private total = 0

  constructor(limits: SendQueueLimits = {}) {
    this.maxBytes = limits.maxBytes ?? 16 * 1024 * 1024
    this.maxOwnerBytes = limits.maxOwnerBytes ?? 1024 * 1024
    this.quantum = limits.quantumBytes ?? 6000
  }

  get isEmpty(): boolean {
    return this.total === 0
  }

  /** Memory of what waits. */
  get bytes(): number {
    return this.total
  }

  /** Records dropped since the last call, for lack of room or because their queue stood. */
  takeDropped(): number {
    const { dropped } = this
    this.dropped = 0
    return dropped
  }

  /** Copies the `forward` slots of a batch in, from a slot on. */
  push(batch: PacketBatch, from: number, now: Milliseconds): void {
    for (let slot = from; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const offset = batch.offsets[slot]!
      this.add(batch.owners[slot]!, batch.bytes.slice(offset, offset + batch.lengths[slot]!), now)
    }
  }

  /** Fills a batch, which is empty, with what is next, up to 32 records. What finds no room comes back by `giveBack`. */
  pull(batch: PacketBatch, now: Milliseconds): void {
    const most = Math.min(batch.capacity, MOST_PULLED)
    for (; this.staged.length < most; ) {
      const queue = this.fresh[0] ?? this.old[0]
      if (!queue) break
      const isFresh = queue === this.fresh[0]
      if (queue.deficit <= 0) {
        queue.deficit += this.quantum
        this.rotate(isFresh)
        continue
      }
      const bytes = this.next(queue, now)
      if (!bytes) {
        // Behind the old ones first, so that it can't be fresh again with each packet (RFC 8290 §4.2).
        if (isFresh) this.rotate(true)
        else this.forget()
        continue
      }
      queue.deficit -= bytes.length
      this.staged.push({ owner: queue.owner, bytes })
    }
    for (const { owner, bytes } of this.staged.slice(0, most)) batch.push(bytes, owner)
  }

  /** Of what the last `pull` gave, the slots from one on are still to be sent: first, when it is called next. */
  giveBack(from: number): void {
    for (const { bytes } of this.staged.splice(0, from)) this.total -= bytes.length + OVERHEAD_BYTES
  }

  private add(owner: number, bytes: Uint8Array, now: Milliseconds): void {
    let queue = this.queues.get(owner)
    if (!queue) {
      queue = new Queue(owner)
      queue.deficit = this.quantum
      this.queues.set(owner, queue)
      this.fresh.push(queue)
    }
    queue.push({ bytes, since: now })
    this.total += bytes.length + OVERHEAD_BYTES
    while (queue.bytes > this.maxOwnerBytes) this.dropOldest(queue)
    while (this.total > this.maxBytes) this.shorten(this.longest())
  }

  /** The next record of a queue that may go out. */
  private next(queue: Queue, now: Milliseconds): Uint8Array | undefined {
    for (let item = queue.peek(); item; item = queue.peek()) {
      if (!queue.codel.drops(now - item.since, queue.bytes, now)) return queue.shift().bytes
      this.dropOldest(queue)
    }
    return undefined
  }

  private dropOldest(queue: Queue): void {
    this.total -= cost(queue.shift())
    this.dropped++
  }

  private shorten(queue: Queue): void {
    const half = queue.bytes / 2
    for (let n = 0; n < MOST_AT_ONCE && queue.bytes > half; n++) this.dropOldest(queue)
  }

  private longest(): Queue {
    let longest: Queue | undefined
    for (const queue of this.queues.values()) if (!longest || queue.bytes > longest.bytes) longest = queue
    return longest!
  }

  /** The turn of the first queue of a list is over. */
  private rotate(isFresh: boolean): void {
    const queue = (isFresh ? this.fresh : this.old).shift()!
    this.old.push(queue)
  }

  private forget(): void {
    const queue = this.old.shift()!
    this.queues.delete(queue.owner)
  }
}

function cost({ bytes }: Waiting): number {
  return bytes.length + OVERHEAD_BYTES
}
