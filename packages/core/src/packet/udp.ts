// The UDP header (RFC 768). `at` is where it begins in the view.
//
//   0 source port | 2 destination port
//   4 length, header included | 6 checksum

/** A UDP header. */
export const UDP_HEADER_BYTES = 8

/** Where each field of the header begins. */
export const UdpField = { sourcePort: 0, destinationPort: 2, length: 4, checksum: 6 } as const

export function udpSourcePort(view: DataView, at: number): number {
  return view.getUint16(at)
}

export function udpDestinationPort(view: DataView, at: number): number {
  return view.getUint16(at + UdpField.destinationPort)
}

/** The datagram's length in bytes, header included. */
export function udpLength(view: DataView, at: number): number {
  return view.getUint16(at + UdpField.length)
}

/** The checksum; 0 means "none", which IPv6 forbids (RFC 8200 §8.1). */
export function udpChecksum(view: DataView, at: number): number {
  return view.getUint16(at + UdpField.checksum)
}
