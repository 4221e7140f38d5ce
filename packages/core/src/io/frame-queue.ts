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
 * Frames that wait for a stream. Control frames go first and are never dropped; of the data frames the oldest are
 * dropped when a new one does not fit, which shows the sender inside the tunnel soonest that the way is full.
 */
export class FrameQueue {
  private readonly limits: FrameQueueLimits
  private control: Uint8Array[] = []
  private data: (Uint8Array | undefined)[] = []
  /** The first data frame that still waits. */
  private head = 0
  private dataBytes = 0
  /** Data frames dropped since creation. */
  dropped = 0

  constructor(limits: FrameQueueLimits) {
    this.limits = limits
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
    const { maxBytes, maxFrames } = this.limits
    while (this.head < this.data.length && (this.dataBytes + frame.length > maxBytes || this.waiting >= maxFrames)) {
      this.shiftData()
      this.dropped++
    }
    this.data.push(frame)
    this.dataBytes += frame.length
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
    this.dataBytes = 0
  }

  private get waiting(): number {
    return this.data.length - this.head
  }

  private shiftData(): Uint8Array | undefined {
    if (this.head === this.data.length) return undefined
    const frame = this.data[this.head]!
    this.data[this.head++] = undefined
    this.dataBytes -= frame.length
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
