import type { ChannelKind } from './events.ts'

// What our DPD requests carry. Any payload is legal and comes back in the answer, so nothing here needs the peer to know
// it: a stock peer echoes it, ours also reads it.
//
//     probe           id be32 | zeros up to the probed size
//     channel notice  "TBCH" | 's' or 'd': from now on my data goes by the stream, or by the datagram channel. It lets
//                     the other side follow at once, also when there happens to be no data to show it.

const NOTICE_BYTES = 5
const [T, B, C, H] = [0x54, 0x42, 0x43, 0x48]
const noticeOf = { stream: 0x73, datagram: 0x64 } as const

/** A probe padded to `size` bytes; at least the id. */
export function encodeProbe(id: number, size: number): Uint8Array {
  const payload = new Uint8Array(Math.max(4, size))
  new DataView(payload.buffer).setUint32(0, id)
  return payload
}

/** The id in an answer, or undefined for an answer without echo. */
export function probeId(payload: Uint8Array): number | undefined {
  if (payload.length < 4) return undefined
  return ((payload[0]! << 24) | (payload[1]! << 16) | (payload[2]! << 8) | payload[3]!) >>> 0
}

export function writeChannelNotice(channel: ChannelKind): Uint8Array {
  return Uint8Array.of(T, B, C, H, noticeOf[channel])
}

/** The channel that a notice names, or undefined when the payload is none. */
export function readChannelNotice(payload: Uint8Array): ChannelKind | undefined {
  if (payload.length !== NOTICE_BYTES) return undefined
  if (payload[0] !== T || payload[1] !== B || payload[2] !== C || payload[3] !== H) return undefined
  if (payload[4] === noticeOf.stream) return 'stream'
  return payload[4] === noticeOf.datagram ? 'datagram' : undefined
}
