// Splits an IPv4 packet as a router does whose next link is too narrow (RFC 791 §3.2, RFC 1812 §4.2.2.7).
import { writeIpv4HeaderChecksum } from './checksum.ts'
import { IPV4_HEADER_BYTES, Ipv4Field, ipv4DontFragment, ipv4HeaderLength } from './ipv4.ts'

const moreFragmentsFlag = 0x2000
const fragmentOffsetMask = 0x1fff
const endOfOptions = 0
const noOperation = 1
/** The bit of an option's type that wants it in every fragment (RFC 791 §3.1). */
const copiedFlag = 0x80

/**
 * Splits the IPv4 packet at `offset`, which passed `checkPacket`, into fragments of at most `mtu` bytes, in order. A
 * packet that is a fragment itself is split further. The identification stays; options marked "copied" are in every
 * fragment, the others in the first one only. A packet that fits comes back alone, as a copy.
 *
 * Returns `undefined` when its "don't fragment" flag forbids it, or `mtu` has no room for a header and 8 bytes of data.
 */
export function fragmentIpv4(view: DataView, offset: number, length: number, mtu: number): Uint8Array[] | undefined {
  const packet = new Uint8Array(view.buffer, view.byteOffset + offset, length)
  if (length <= mtu) return [packet.slice()]
  const headerLength = ipv4HeaderLength(view, offset)
  // Every fragment but the last carries a whole number of 8-byte blocks.
  if (ipv4DontFragment(view, offset) || mtu - headerLength < 8) return undefined

  const flagsAndOffset = view.getUint16(offset + Ipv4Field.flagsAndFragmentOffset)
  const firstBlock = flagsAndOffset & fragmentOffsetMask
  const wasLast = (flagsAndOffset & moreFragmentsFlag) === 0
  const firstHeader = packet.subarray(0, headerLength)
  const laterHeader = headerOfLaterFragments(firstHeader)
  const fragments: Uint8Array[] = []
  for (let at = headerLength; at < length; ) {
    const header = at === headerLength ? firstHeader : laterHeader
    const dataLength = Math.min(length - at, (mtu - header.length) & ~7)
    const more = at + dataLength < length
    const fragment = new Uint8Array(header.length + dataLength)
    fragment.set(header)
    fragment.set(packet.subarray(at, at + dataLength), header.length)
    const fields = new DataView(fragment.buffer)
    fields.setUint16(Ipv4Field.totalLength, fragment.length)
    const block = firstBlock + ((at - headerLength) >>> 3)
    fields.setUint16(Ipv4Field.flagsAndFragmentOffset, (more || !wasLast ? moreFragmentsFlag : 0) | block)
    writeIpv4HeaderChecksum(fields, 0)
    fragments.push(fragment)
    at += dataLength
  }
  return fragments
}

/** The header without the options that only the first fragment has, padded to whole words. */
function headerOfLaterFragments(header: Uint8Array): Uint8Array {
  if (header.length === IPV4_HEADER_BYTES) return header
  const kept: number[] = []
  for (let at = IPV4_HEADER_BYTES; at < header.length; ) {
    const type = header[at]!
    if (type === endOfOptions) break
    const optionLength = type === noOperation ? 1 : (header[at + 1] ?? 0)
    // A malformed option ends what can be read: nothing behind it is copied.
    if ((type !== noOperation && optionLength < 2) || at + optionLength > header.length) break
    if (type & copiedFlag) kept.push(...header.subarray(at, at + optionLength))
    at += optionLength
  }
  const later = new Uint8Array(IPV4_HEADER_BYTES + ((kept.length + 3) & ~3))
  later.set(header.subarray(0, IPV4_HEADER_BYTES))
  later.set(kept, IPV4_HEADER_BYTES)
  later[Ipv4Field.versionAndHeaderLength] = 0x40 | (later.length >>> 2)
  return later
}
