// Sequence numbers are 32 bits on the wire and wrap (RFC 9293 §3.4). Inside the machine they are *positions*: plain
// numbers that count from the initial sequence number and never wrap, so that every comparison is an ordinary one. The
// SYN has position 0, the first byte of data 1, the FIN the one behind the last byte.

/** The wire form of a position in the space that begins at `initial`. */
export function toSequenceNumber(position: number, initial: number): number {
  return (position + initial) >>> 0
}

/** The position of a sequence number: of all that it may stand for, the one nearest to `near`. May be negative. */
export function toPosition(sequenceNumber: number, initial: number, near: number): number {
  return near + ((sequenceNumber - initial - near) | 0)
}

/** Whether one 32-bit sequence number or timestamp is before another (RFC 9293 §3.4, RFC 7323 §5.2). */
export function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0
}
