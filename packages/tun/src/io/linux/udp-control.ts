import { SOL_UDP, UDP_GRO, UDP_SEGMENT } from './structs.ts'

// Control messages, as 32-bit words of a little-endian 64-bit host:
// struct cmsghdr: u64 len @0; int level @8; int type @12; data @16; the next one begins at a multiple of 8.

const HEADER_BYTES = 16

/** What one control message with a UDP_SEGMENT takes. */
export const SEGMENT_CONTROL_BYTES = 24

/** Writes the UDP_SEGMENT (u16) of a train whose datagrams have `bytes` bytes each. `at` counts words. */
export function writeSegmentControl(words: Uint32Array, at: number, bytes: number): void {
  words[at] = HEADER_BYTES + 2
  words[at + 1] = 0
  words[at + 2] = SOL_UDP
  words[at + 3] = UDP_SEGMENT
  words[at + 4] = bytes
  words[at + 5] = 0
}

/**
 * The UDP_GRO (int) among the control messages in words `at` to `end`: how many bytes each datagram of the train has. 0 if
 * there is none, that is for a single datagram.
 */
export function readGroSize(words: Uint32Array, at: number, end: number): number {
  let header = at
  while (header + 4 <= end) {
    const length = words[header]!
    if (words[header + 1] !== 0 || length < HEADER_BYTES || header * 4 + length > end * 4) return 0
    if (words[header + 2] === SOL_UDP && words[header + 3] === UDP_GRO && length >= HEADER_BYTES + 4) {
      return words[header + 4]!
    }
    header += ((length + 7) >>> 3) * 2
  }
  return 0
}
