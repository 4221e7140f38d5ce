/** About what one write to TCP takes at once. Holds several of the longest records. */
const CAPACITY_BYTES = 65_536
/** So many are kept for the next taker; channels that wait hold one each. */
const MAX_SPARE = 16

const spare: RecordBuffer[] = []

/** A buffer of records on their way out. All channels of a thread share them, as most writes end within their call. */
export class RecordBuffer {
  readonly bytes: Buffer
  readonly view: DataView
  /** How many bytes are in use. */
  length = 0

  private constructor() {
    const buffer = new ArrayBuffer(CAPACITY_BYTES)
    this.bytes = Buffer.from(buffer)
    this.view = new DataView(buffer)
  }

  /** An empty buffer. */
  static take(): RecordBuffer {
    return spare.pop() ?? new RecordBuffer()
  }

  /** Gives it back. */
  release(): void {
    this.length = 0
    if (spare.length < MAX_SPARE) spare.push(this)
  }
}
