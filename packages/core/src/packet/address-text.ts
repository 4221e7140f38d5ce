const octets: readonly string[] = Array.from({ length: 256 }, (_, octet) => `${octet}`)
const dottedOctets: readonly string[] = Array.from({ length: 256 }, (_, octet) => `${octet}.`)
const hexNumbers: readonly string[] = Array.from({ length: 256 }, (_, octet) => octet.toString(16))
const hexOctets: readonly string[] = hexNumbers.map(text => text.padStart(2, '0'))

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
  return ipv6WordsText(
    wordAt(bytes, offset),
    wordAt(bytes, offset + 4),
    wordAt(bytes, offset + 8),
    wordAt(bytes, offset + 12),
  )
}

/** `ipv6Text` of an address as four 32-bit numbers, signed or not, most significant first. */
export function ipv6WordsText(word0: number, word1: number, word2: number, word3: number): string {
  if (word0 === 0 && word1 === 0 && word2 === 0xffff) return `::ffff:${ipv4NumberText(word3)}`
  const groups = [word0 >>> 16, word0 & 0xffff, word1 >>> 16, word1 & 0xffff]
  groups.push(word2 >>> 16, word2 & 0xffff, word3 >>> 16, word3 & 0xffff)
  // The longest run of zero groups; the first of equals (RFC 5952 §4.2.3). One group alone is written (§4.2.2).
  let end = 0
  let longest = 1
  for (let group = 0, run = 0; group < 8; group++) {
    run = groups[group] === 0 ? run + 1 : 0
    if (run <= longest) continue
    longest = run
    end = group + 1
  }
  if (longest === 1) return groupsText(groups, 0, 8)
  return `${groupsText(groups, 0, end - longest)}::${groupsText(groups, end, 8)}`
}

/** The groups from `from` to before `to`. */
function groupsText(groups: readonly number[], from: number, to: number): string {
  let text = ''
  for (let i = from; i < to; i++) {
    const group = groups[i]!
    if (i > from) text += ':'
    text += group < 256 ? hexNumbers[group]! : hexNumbers[group >>> 8]! + hexOctets[group & 0xff]!
  }
  return text
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!
}
