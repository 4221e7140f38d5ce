// The TCP header (RFC 9293 §3.1). `at` is where it begins in the view.
//
//   0 source port | 2 destination port
//   4 sequence number
//   8 acknowledgment number
//  12 data offset | 13 flags | 14 window
//  16 checksum | 18 urgent pointer | 20 options

/** A TCP header without options. */
export const TCP_HEADER_BYTES = 20

/** Where each field of the header begins. */
export const TcpField = {
  sourcePort: 0,
  destinationPort: 2,
  sequenceNumber: 4,
  acknowledgmentNumber: 8,
  dataOffset: 12,
  flags: 13,
  window: 14,
  checksum: 16,
  urgentPointer: 18,
} as const

/** Control bits of byte 13. */
export const TcpFlag = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const

export function tcpSourcePort(view: DataView, at: number): number {
  return view.getUint16(at)
}

export function tcpDestinationPort(view: DataView, at: number): number {
  return view.getUint16(at + TcpField.destinationPort)
}

export function tcpSequenceNumber(view: DataView, at: number): number {
  return view.getUint32(at + TcpField.sequenceNumber)
}

export function tcpAcknowledgmentNumber(view: DataView, at: number): number {
  return view.getUint32(at + TcpField.acknowledgmentNumber)
}

/** The header's length in bytes, options included. */
export function tcpHeaderLength(view: DataView, at: number): number {
  return (view.getUint8(at + TcpField.dataOffset) >>> 4) << 2
}

/** The control bits: a sum of `TcpFlag` values. */
export function tcpFlags(view: DataView, at: number): number {
  return view.getUint8(at + TcpField.flags)
}

/** The window as sent, without its scale. */
export function tcpWindow(view: DataView, at: number): number {
  return view.getUint16(at + TcpField.window)
}

export function tcpChecksum(view: DataView, at: number): number {
  return view.getUint16(at + TcpField.checksum)
}
