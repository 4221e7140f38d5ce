import { type RecordBatch, Verdict } from '../src/index.ts'

const HEADROOM = 32
const STRIDE = 2048

/** The batch of the data plane, as small as it can be. */
export class TestBatch implements RecordBatch {
  readonly capacity: number
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly offsets: Int32Array
  readonly lengths: Int32Array
  readonly verdicts: Uint8Array
  readonly owners: Int32Array
  count = 0

  constructor(capacity = 16) {
    this.capacity = capacity
    this.bytes = new Uint8Array(capacity * STRIDE)
    this.view = new DataView(this.bytes.buffer)
    this.offsets = new Int32Array(capacity)
    this.lengths = new Int32Array(capacity)
    this.verdicts = new Uint8Array(capacity)
    this.owners = new Int32Array(capacity)
  }

  push(bytes: Uint8Array, owner: number): number {
    if (this.count === this.capacity) return -1
    const slot = this.count++
    this.offsets[slot] = slot * STRIDE + HEADROOM
    this.lengths[slot] = bytes.length
    this.verdicts[slot] = Verdict.forward
    this.owners[slot] = owner
    this.bytes.set(bytes, this.offsets[slot])
    return slot
  }

  at(slot: number): Uint8Array {
    const offset = this.offsets[slot]!
    return this.bytes.slice(offset, offset + this.lengths[slot]!)
  }

  /** The slots that go on, as owner and text. */
  get forwarded(): [number, string][] {
    const result: [number, string][] = []
    for (let slot = 0; slot < this.count; slot++) {
      if (this.verdicts[slot] !== Verdict.forward) continue
      result.push([this.owners[slot]!, new TextDecoder().decode(this.at(slot))])
    }
    return result
  }
}
