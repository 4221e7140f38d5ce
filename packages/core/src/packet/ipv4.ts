// The IPv4 header (RFC 791 §3.1), read and written in place. `offset` is where the packet begins in the view.
//
//   0 version, header length | 1 DSCP, ECN | 2 total length
//   4 identification         | 6 flags, fragment offset
//   8 time to live | 9 protocol | 10 header checksum
//  12 source | 16 destination | 20 options

/** An IPv4 header without options. */
export const IPV4_HEADER_BYTES = 20

/** Where each field of the header begins. */
export const Ipv4Field = {
  versionAndHeaderLength: 0,
  dscpAndEcn: 1,
  totalLength: 2,
  identification: 4,
  flagsAndFragmentOffset: 6,
  timeToLive: 8,
  protocol: 9,
  checksum: 10,
  source: 12,
  destination: 16,
} as const

const dontFragmentFlag = 0x4000
const moreFragmentsFlag = 0x2000
const fragmentOffsetMask = 0x1fff

/** The header's length in bytes, options included. */
export function ipv4HeaderLength(view: DataView, offset: number): number {
  return (view.getUint8(offset) & 0x0f) << 2
}

/** DSCP and ECN, the former type of service. */
export function ipv4DscpAndEcn(view: DataView, offset: number): number {
  return view.getUint8(offset + Ipv4Field.dscpAndEcn)
}

/** The packet's length in bytes as its header says. */
export function ipv4TotalLength(view: DataView, offset: number): number {
  return view.getUint16(offset + Ipv4Field.totalLength)
}

export function ipv4Identification(view: DataView, offset: number): number {
  return view.getUint16(offset + Ipv4Field.identification)
}

export function ipv4DontFragment(view: DataView, offset: number): boolean {
  return (view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset) & dontFragmentFlag) !== 0
}

export function ipv4MoreFragments(view: DataView, offset: number): boolean {
  return (view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset) & moreFragmentsFlag) !== 0
}

/** Where this fragment's data belongs in the whole datagram, in bytes. */
export function ipv4FragmentOffset(view: DataView, offset: number): number {
  return (view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset) & fragmentOffsetMask) << 3
}

/** Whether this is a piece of a larger datagram, the first one included. */
export function ipv4IsFragment(view: DataView, offset: number): boolean {
  const field = view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset)
  return (field & (moreFragmentsFlag | fragmentOffsetMask)) !== 0
}

export function ipv4TimeToLive(view: DataView, offset: number): number {
  return view.getUint8(offset + Ipv4Field.timeToLive)
}

export function ipv4Protocol(view: DataView, offset: number): number {
  return view.getUint8(offset + Ipv4Field.protocol)
}

export function ipv4Checksum(view: DataView, offset: number): number {
  return view.getUint16(offset + Ipv4Field.checksum)
}

/** The source address as an unsigned 32-bit number. */
export function ipv4Source(view: DataView, offset: number): number {
  return view.getUint32(offset + Ipv4Field.source)
}

/** The destination address as an unsigned 32-bit number. */
export function ipv4Destination(view: DataView, offset: number): number {
  return view.getUint32(offset + Ipv4Field.destination)
}
