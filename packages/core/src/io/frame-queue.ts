/** How much may wait to be sent. */
export interface FrameQueueLimits {
  /** Bytes of data frames. */
  readonly maxBytes: number
  /** Data frames. */
  readonly maxFrames: number
  /** Control frames. */
  readonly maxControlFrames: number
}

/**
 * What many queues may hold together. Each may hold an eighth of what is left, so that few hold as much as their own limits
 * allow, many less each, and there is always room for one more (dynamic thresholds, Choudhury and Hahne 1998).
 */
export class QueueBudget {
  readonly maxBytes: number
  /** Bytes that wait in all queues. */
  used = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** The most that one queue may hold now. */
  get share(): number {
    return (this.maxBytes - this.used) / 8
  }
}

/**
 * Frames that wait for a stream. Control frames go first and are never dropped; of the data frames the oldest are
 * dropped when a new one does not fit, which shows the sender inside the tunnel soonest that the way is full.
 */
export class FrameQueue {
  private readonly limits: FrameQueueLimits
  private readonly budget: QueueBudget | undefined
  private control: Uint8Array[] = []
  private data: (Uint8Array | undefined)[] = []
  /** The first data frame that still waits. */
  private head = 0
  private dataBytes = 0
  /** Data frames dropped since creation. */
  dropped = 0

  /** @param budget - shared with other queues. @defaultValue there is none */
  constructor(limits: FrameQueueLimits, budget?: QueueBudget) {
    this.limits = limits
    this.budget = budget
  }

  get empty(): boolean {
    return this.control.length === 0 && this.head === this.data.length
  }

  /** Bytes of the data frames that wait. */
  get bytes(): number {
    return this.dataBytes
  }

  /** Frames that wait, of both kinds. */
  get frames(): number {
    return this.control.length + this.data.length - this.head
  }

  /** False when there are too many control frames: the stream is stuck. */
  pushControl(frame: Uint8Array): boolean {
    if (this.control.length >= this.limits.maxControlFrames) return false
    this.control.push(frame)
    return true
  }

  pushData(frame: Uint8Array): void {
    const { maxFrames } = this.limits
    while (this.waiting > 0 && (this.dataBytes + frame.length > this.mostBytes || this.waiting >= maxFrames)) {
      this.shiftData()
      this.dropped++
    }
    // Nothing of its own is left to be dropped: the others have it all.
    if (this.budget && frame.length > this.budget.share) {
      this.dropped++
      return
    }
    this.data.push(frame)
    this.addBytes(frame.length)
  }

  /** The next frame to send. */
  shift(): Uint8Array | undefined {
    return this.control.shift() ?? this.shiftData()
  }

  /** Forgets everything. Data frames count as dropped. */
  clear(): void {
    this.dropped += this.waiting
    this.control = []
    this.data = []
    this.head = 0
    this.addBytes(-this.dataBytes)
  }

  private get mostBytes(): number {
    const { maxBytes } = this.limits
    return this.budget ? Math.min(maxBytes, this.budget.share) : maxBytes
  }

  private addBytes(bytes: number): void {
    this.dataBytes += bytes
    if (this.budget) this.budget.used += bytes
  }

  private get waiting(): number {
    return this.data.length - this.head
  }

  private shiftData(): Uint8Array | undefined {
    if (this.head === this.data.length) return undefined
    const frame = this.data[this.head]!
    this.data[this.head++] = undefined
    this.addBytes(-frame.length)
    if (this.head === this.data.length) {
      this.data = []
      this.head = 0
    } else if (this.head > 1024) {
      this.data = this.data.slice(this.head)
      this.head = 0
    }
    return frame
  }
}
