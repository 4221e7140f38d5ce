// Reads addresses from text by character codes. Texts come by the thousand from configurations and peers, and most are
// read once: no pattern, no list and no piece of the text is made on the way.

const DOT = 0x2e
const COLON = 0x3a

/** The IPv4 address from `start` to before `end` as an unsigned number, or -1: four decimals without leading zeros. */
export function readIpv4(text: string, start: number, end: number): number {
  let number = 0
  let octet = -1
  let dots = 0
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i)
    if (code === DOT) {
      if (octet === -1 || ++dots === 4) return -1
      number = (number << 8) | octet
      octet = -1
      continue
    }
    const digit = code - 0x30
    // An octet of 0 that goes on had a leading zero.
    if (digit < 0 || digit > 9 || octet === 0) return -1
    octet = octet === -1 ? digit : octet * 10 + digit
    if (octet > 255) return -1
  }
  return dots === 3 && octet !== -1 ? ((number << 8) | octet) >>> 0 : -1
}

/**
 * Reads the IPv6 address from the start to before `end` into four words, most significant first: forms 1 and 2 of RFC
 * 4291 §2.2, groups without a dotted end. Returns whether it is one; otherwise the words are of no use.
 */
export function readIpv6(text: string, end: number, words: Int32Array): boolean {
  words.fill(0)
  // Eight groups are written; `gap` is how many of them stand before `::`.
  let groups = 0
  let gap = -1
  let at = 0
  if (text.charCodeAt(0) === COLON) {
    if (end < 2 || text.charCodeAt(1) !== COLON) return false
    gap = 0
    at = 2
  }
  while (at < end) {
    if (groups === 8) return false
    const groupAt = at
    let group = 0
    for (; at < end; at++) {
      const digit = hexDigit(text.charCodeAt(at))
      if (digit === -1) break
      group = (group << 4) | digit
    }
    if (at === groupAt || at > groupAt + 4) return false
    setGroup(words, groups++, group)
    if (at === end) break
    if (text.charCodeAt(at++) !== COLON || at === end) return false
    if (text.charCodeAt(at) !== COLON) continue
    if (gap !== -1) return false
    gap = groups
    at++
  }
  if (gap === -1) return groups === 8
  if (groups === 8) return false
  moveBehindGap(words, gap, groups)
  return true
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}

/** Moves the groups from `gap` on to the end; zeros come in their place. */
function moveBehindGap(words: Int32Array, gap: number, groups: number): void {
  for (let from = groups - 1, to = 7; from >= gap; from--, to--) {
    const group = groupOf(words, from)
    setGroup(words, from, 0)
    setGroup(words, to, group)
  }
}

function groupOf(words: Int32Array, group: number): number {
  const word = words[group >> 1]!
  return group & 1 ? word & 0xffff : word >>> 16
}

function setGroup(words: Int32Array, group: number, value: number): void {
  const word = words[group >> 1]!
  words[group >> 1] = group & 1 ? (word & ~0xffff) | value : (word & 0xffff) | (value << 16)
}
