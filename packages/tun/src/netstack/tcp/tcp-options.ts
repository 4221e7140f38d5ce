// TCP options (RFC 9293 §3.2, RFC 7323 §2 and §3, RFC 2018 §2 and §3), read into numbers and written in place.

/** Most SACK blocks that an option can hold; three beside timestamps (RFC 2018 §3). */
export const MAX_SACK_BLOCKS = 4

const endOfOptions = 0
const noOperation = 1
const maximumSegmentSize = 2
const windowScale = 3
const sackPermitted = 4
const sack = 5
const timestamps = 8

/** The largest shift a window scale may have (RFC 7323 §2.3). */
export const MAX_WINDOW_SCALE = 14

/** Bytes of the options of each kind, with the padding that aligns them. */
export const TIMESTAMPS_BYTES = 12
export const MSS_BYTES = 4
export const WINDOW_SCALE_BYTES = 4
export const SACK_PERMITTED_BYTES = 4

/** Bytes of a SACK option with so many blocks. */
export function sackBytes(blocks: number): number {
  return blocks === 0 ? 0 : 4 + 8 * blocks
}

/** What the options of a segment said. A field keeps its default when the option is absent. */
export class TcpOptionValues {
  /** -1 when absent. */
  mss = -1
  /** At most `MAX_WINDOW_SCALE`; -1 when absent. */
  windowScale = -1
  sackPermitted = false
  hasTimestamps = false
  timestampValue = 0
  timestampEcho = 0
  sackCount = 0
  /** Left and right edge of each SACK block, as sequence numbers. */
  readonly sackEdges: Uint32Array = new Uint32Array(2 * MAX_SACK_BLOCKS)

  /**
   * Reads the options from `at` up to `end`. Unknown ones are skipped (RFC 9293 MUST-6), options of a known kind but a
   * wrong length count as unknown, and an illegal length ends the reading (MUST-7): what was read before it holds.
   */
  read(view: DataView, at: number, end: number): void {
    this.mss = -1
    this.windowScale = -1
    this.sackPermitted = false
    this.hasTimestamps = false
    this.sackCount = 0
    // The one arrangement that nearly every segment has: two no-operations and timestamps.
    if (end - at === TIMESTAMPS_BYTES && view.getUint32(at) === 0x0101080a) {
      this.readTimestamps(view, at + 4)
      return
    }
    while (at < end) {
      const kind = view.getUint8(at)
      if (kind === endOfOptions) return
      if (kind === noOperation) {
        at++
        continue
      }
      if (at + 2 > end) return
      const length = view.getUint8(at + 1)
      if (length < 2 || at + length > end) return
      this.readOne(view, at, kind, length)
      at += length
    }
  }

  private readOne(view: DataView, at: number, kind: number, length: number): void {
    if (kind === maximumSegmentSize && length === 4) this.mss = view.getUint16(at + 2)
    else if (kind === windowScale && length === 3) this.windowScale = Math.min(view.getUint8(at + 2), MAX_WINDOW_SCALE)
    else if (kind === sackPermitted && length === 2) this.sackPermitted = true
    else if (kind === timestamps && length === 10) this.readTimestamps(view, at + 2)
    else if (kind === sack && length >= 10 && (length - 2) % 8 === 0) {
      this.sackCount = Math.min((length - 2) >>> 3, MAX_SACK_BLOCKS)
      for (let i = 0; i < 2 * this.sackCount; i++) this.sackEdges[i] = view.getUint32(at + 2 + 4 * i)
    }
  }

  private readTimestamps(view: DataView, at: number): void {
    this.hasTimestamps = true
    this.timestampValue = view.getUint32(at)
    this.timestampEcho = view.getUint32(at + 4)
  }
}

// Each writer returns where the next option begins.

export function writeMss(view: DataView, at: number, mss: number): number {
  view.setUint16(at, (maximumSegmentSize << 8) | MSS_BYTES)
  view.setUint16(at + 2, mss)
  return at + MSS_BYTES
}

export function writeWindowScale(view: DataView, at: number, shift: number): number {
  view.setUint32(at, (noOperation << 24) | (windowScale << 16) | (3 << 8) | shift)
  return at + WINDOW_SCALE_BYTES
}

export function writeSackPermitted(view: DataView, at: number): number {
  view.setUint32(at, (noOperation << 24) | (noOperation << 16) | (sackPermitted << 8) | 2)
  return at + SACK_PERMITTED_BYTES
}

export function writeTimestamps(view: DataView, at: number, value: number, echo: number): number {
  view.setUint32(at, 0x0101080a)
  view.setUint32(at + 4, value)
  view.setUint32(at + 8, echo)
  return at + TIMESTAMPS_BYTES
}

/** Writes the first `blocks` blocks of `edges`. */
export function writeSack(view: DataView, at: number, edges: Uint32Array, blocks: number): number {
  view.setUint32(at, (noOperation << 24) | (noOperation << 16) | (sack << 8) | (2 + 8 * blocks))
  for (let i = 0; i < 2 * blocks; i++) view.setUint32(at + 4 + 4 * i, edges[i]!)
  return at + sackBytes(blocks)
}
