const octets: readonly string[] = Array.from({ length: 256 }, (_, octet) => `${octet}`)
const dottedOctets: readonly string[] = Array.from({ length: 256 }, (_, octet) => `${octet}.`)

/** The text of the IPv4 address at `offset`: `192.0.2.1`. */
export function ipv4Text(bytes: Uint8Array, offset = 0): string {
  const [first, second] = [dottedOctets[bytes[offset]!]!, dottedOctets[bytes[offset + 1]!]!]
  return first + second + dottedOctets[bytes[offset + 2]!]! + octets[bytes[offset + 3]!]!
}

/** The text of an IPv4 address as a 32-bit number, signed or not. */
export function ipv4NumberText(number: number): string {
  const [first, second] = [dottedOctets[number >>> 24]!, dottedOctets[(number >>> 16) & 0xff]!]
  return first + second + dottedOctets[(number >>> 8) & 0xff]! + octets[number & 0xff]!
}

/**
 * The canonical text of the IPv6 address at `offset` (RFC 5952 §4): `2001:db8::1`. IPv4-mapped addresses end in dotted
 * form, as RFC 5952 §5 recommends for known prefixes: `::ffff:192.0.2.1`.
 */
export function ipv6Text(bytes: Uint8Array, offset = 0): string {
  if (isIpv4Mapped(bytes, offset)) return `::ffff:${ipv4Text(bytes, offset + 12)}`
  const { start, length } = longestZeroRun(bytes, offset)
  if (length < 2) return groupsText(bytes, offset, 0, 8)
  return `${groupsText(bytes, offset, 0, start)}::${groupsText(bytes, offset, start + length, 8)}`
}

/** Whether the 16 bytes at `offset` are of ::ffff:0:0/96. */
function isIpv4Mapped(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return false
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff
}

/** The longest run of zero groups; the first of equals (RFC 5952 §4.2.3). */
function longestZeroRun(bytes: Uint8Array, offset: number): { start: number; length: number } {
  const best = { start: 0, length: 0 }
  for (let group = 0, length = 0; group < 8; group++) {
    length = groupAt(bytes, offset, group) === 0 ? length + 1 : 0
    if (length <= best.length) continue
    best.start = group + 1 - length
    best.length = length
  }
  return best
}

/** The groups from `from` to before `to`. */
function groupsText(bytes: Uint8Array, offset: number, from: number, to: number): string {
  let text = ''
  for (let group = from; group < to; group++) {
    if (group > from) text += ':'
    text += groupAt(bytes, offset, group).toString(16)
  }
  return text
}

function groupAt(bytes: Uint8Array, offset: number, group: number): number {
  return (bytes[offset + group * 2]! << 8) | bytes[offset + group * 2 + 1]!
}
