import { DropReason } from '../packet/drop-reason.ts'
import { type PacketBatch, Verdict } from '../packet/packet-batch.ts'

// On the stream channel a frame is `53 54 46 01 | length be16 | type | 00 | payload`, one per TLS record in both
// directions; on the datagram channel it is `type | payload`, one per DTLS record. The types are the same.

/** What a frame carries. Closed: a stock peer ends the tunnel when it meets another type on the stream channel. */
export const FrameType = {
  /** One IP packet. */
  data: 0,
  /** "Are you there?" Answered with `dpdResponse` and the same payload. */
  dpdRequest: 3,
  dpdResponse: 4,
  /** The sender leaves; payload: reason byte and text. */
  disconnect: 5,
  /** Nothing but traffic, for address translators on the way. Not answered. */
  keepalive: 7,
  /** One compressed IP packet; never negotiated by this library. */
  compressed: 8,
  /** The gateway ends the session. */
  terminate: 9,
} as const

export type FrameType = (typeof FrameType)[keyof typeof FrameType]

/** Bytes before the payload of a stream frame. */
export const STREAM_FRAME_HEADER_BYTES = 8
/** Bytes before the payload of a datagram frame. */
export const DATAGRAM_FRAME_HEADER_BYTES = 1
/** The longest payload of a stream frame that fits one TLS record of 2^14 bytes. */
export const MAX_STREAM_PAYLOAD_BYTES: number = 16_384 - STREAM_FRAME_HEADER_BYTES

/** `STF` and the version byte 1, as one big-endian number. */
export const STREAM_MAGIC = 0x53544601

/** Whether a type is one of the control frames that a session machine handles. */
export function isControlFrame(type: number): boolean {
  return controlTypes[type] === 1
}

const controlTypes = new Uint8Array(256)
for (const type of [
  FrameType.dpdRequest,
  FrameType.dpdResponse,
  FrameType.disconnect,
  FrameType.keepalive,
  FrameType.terminate,
]) {
  controlTypes[type] = 1
}

/** A whole stream frame as new bytes. For control frames; data goes through `wrapStreamFrames`. */
export function encodeStreamFrame(type: FrameType, payload: Uint8Array): Uint8Array {
  if (payload.length > MAX_STREAM_PAYLOAD_BYTES) throw new RangeError(`payload is ${payload.length} bytes long`)
  const frame = new Uint8Array(STREAM_FRAME_HEADER_BYTES + payload.length)
  writeStreamHeader(new DataView(frame.buffer), 0, type, payload.length)
  frame.set(payload, STREAM_FRAME_HEADER_BYTES)
  return frame
}

/** A whole datagram frame as new bytes. For control frames; data goes through `wrapDatagramFrames`. */
export function encodeDatagramFrame(type: FrameType, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(DATAGRAM_FRAME_HEADER_BYTES + payload.length)
  frame[0] = type
  frame.set(payload, DATAGRAM_FRAME_HEADER_BYTES)
  return frame
}

/** Writes the 8 bytes of a stream frame header. */
export function writeStreamHeader(view: DataView, offset: number, type: FrameType, payloadBytes: number): void {
  view.setUint32(offset, STREAM_MAGIC)
  view.setUint16(offset + 4, payloadBytes)
  view.setUint8(offset + 6, type)
  view.setUint8(offset + 7, 0)
}

/**
 * A stage: takes the type byte off authenticated datagram frames.
 *
 * Data stays `forward`, its packet one byte further on. Control frames become `divert` and are left as they are (type
 * byte and payload); `onControl` is called for each of them in order, while its bytes are in the batch. The rest is
 * dropped: empty frames as `malformed`, unknown types as `unexpectedFrame`.
 */
export function unwrapDatagramFrames(batch: PacketBatch, onControl?: (slot: number, type: FrameType) => void): void {
  const { bytes, offsets, lengths, verdicts } = batch
  for (let slot = 0; slot < batch.count; slot++) {
    if (verdicts[slot] !== Verdict.forward) continue
    const length = lengths[slot]!
    if (length === 0) {
      batch.drop(slot, DropReason.malformed)
      continue
    }
    const offset = offsets[slot]!
    const type = bytes[offset]!
    if (type === FrameType.data) {
      if (length === DATAGRAM_FRAME_HEADER_BYTES) {
        batch.drop(slot, DropReason.malformed)
        continue
      }
      offsets[slot] = offset + DATAGRAM_FRAME_HEADER_BYTES
      lengths[slot] = length - DATAGRAM_FRAME_HEADER_BYTES
    } else if (controlTypes[type] === 1) {
      batch.divert(slot)
      onControl?.(slot, type as FrameType)
    } else {
      batch.drop(slot, DropReason.unexpectedFrame)
    }
  }
}

/** The payload of a control frame that `unwrapDatagramFrames` diverted: a copy, so it may outlive the batch. */
export function datagramFramePayload(batch: PacketBatch, slot: number): Uint8Array {
  const offset = batch.offsets[slot]!
  return batch.bytes.slice(offset + DATAGRAM_FRAME_HEADER_BYTES, offset + batch.lengths[slot]!)
}

/** A stage: puts the type byte of a data frame before each packet. Needs 1 byte of headroom. */
export function wrapDatagramFrames(batch: PacketBatch): void {
  const { bytes, offsets, lengths, verdicts } = batch
  for (let slot = 0; slot < batch.count; slot++) {
    if (verdicts[slot] !== Verdict.forward) continue
    const offset = offsets[slot]! - DATAGRAM_FRAME_HEADER_BYTES
    bytes[offset] = FrameType.data
    offsets[slot] = offset
    lengths[slot] = lengths[slot]! + DATAGRAM_FRAME_HEADER_BYTES
  }
}

/**
 * A stage: puts the header of a stream data frame before each packet. Needs 8 bytes of headroom. Packets that don't fit
 * one TLS record are dropped as `tooBig`.
 */
export function wrapStreamFrames(batch: PacketBatch): void {
  const { view, offsets, lengths, verdicts } = batch
  for (let slot = 0; slot < batch.count; slot++) {
    if (verdicts[slot] !== Verdict.forward) continue
    const length = lengths[slot]!
    if (length > MAX_STREAM_PAYLOAD_BYTES) {
      batch.drop(slot, DropReason.tooBig)
      continue
    }
    const offset = offsets[slot]! - STREAM_FRAME_HEADER_BYTES
    writeStreamHeader(view, offset, FrameType.data, length)
    offsets[slot] = offset
    lengths[slot] = length + STREAM_FRAME_HEADER_BYTES
  }
}
