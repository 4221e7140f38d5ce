// Addresses as pat sees them: four 32-bit words, IPv4 in its mapped form (::ffff:a.b.c.d, RFC 4291 §2.5.5.2), so that
// every table is the same for both families. Text is read from options and written to outputs, never on the data path.

/** An IP address: its text, its 4 or 16 bytes, or anything that has such `bytes`. */
export type AddressInput = string | Uint8Array | { readonly bytes: Uint8Array }

/** An address block: `10.8.0.0/16` or `fd00::/64` as text, or anything with an address and a length. */
export type PrefixInput = string | { readonly address: AddressInput; readonly length: number }

/** Four 32-bit words, signed so that they stay small integers for the engine. */
export type AddressWords = Int32Array

/** What stands in the third word of an IPv4 address. */
export const V4_MAPPED = 0xffff

export function isIpv4(words: AddressWords): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === V4_MAPPED
}

/**
 * Reads an address of an option.
 *
 * @param what - the option's name, for the message
 * @throws TypeError
 */
export function addressWords(input: AddressInput, what: string): AddressWords {
  const bytes = typeof input === 'string' ? parseAddress(input) : input instanceof Uint8Array ? input : input?.bytes
  if (!(bytes instanceof Uint8Array) || (bytes.length !== 4 && bytes.length !== 16)) {
    throw new TypeError(`${what}: not an IP address${typeof input === 'string' ? `: '${input}'` : ''}`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length === 4) return Int32Array.of(0, 0, V4_MAPPED, view.getInt32(0))
  const words = Int32Array.of(view.getInt32(0), view.getInt32(4), view.getInt32(8), view.getInt32(12))
  if (isIpv4(words)) throw new TypeError(`${what}: IPv4-mapped IPv6 address, write it as IPv4`)
  return words
}

/** An address block as words and a mask. */
export interface PrefixWords {
  readonly words: AddressWords
  readonly mask: AddressWords
}

/** @throws TypeError */
export function prefixWords(input: PrefixInput, what: string): PrefixWords {
  let address: AddressInput
  let length: number
  if (typeof input === 'string') {
    const [text, lengthText, ...rest] = input.split('/')
    if (rest.length > 0 || (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText))) {
      throw new TypeError(`${what}: not a prefix: '${input}'`)
    }
    address = text!
    length = lengthText === undefined ? Number.NaN : Number(lengthText)
  } else {
    address = input.address
    length = input.length
  }
  const words = addressWords(address, what)
  const bits = isIpv4(words) ? 32 : 128
  if (Number.isNaN(length)) length = bits
  if (!Number.isInteger(length) || length < 0 || length > bits)
    throw new TypeError(`${what}: length must be 0 to ${bits}`)
  const kept = length + 128 - bits
  const mask = new Int32Array(4)
  for (let i = 0; i < 4; i++) {
    const ones = Math.min(32, Math.max(0, kept - i * 32))
    mask[i] = ones === 0 ? 0 : 0xffffffff << (32 - ones)
  }
  return { words: words.map((word, i) => word & mask[i]!), mask }
}

export function prefixContains(prefix: PrefixWords, a: number, b: number, c: number, d: number): boolean {
  const { words, mask } = prefix
  return (
    (a & mask[0]!) === words[0] &&
    (b & mask[1]!) === words[1] &&
    (c & mask[2]!) === words[2] &&
    (d & mask[3]!) === words[3]
  )
}

/** Canonical text: dotted IPv4, RFC 5952 IPv6. */
export function formatAddress(a: number, b: number, c: number, d: number): string {
  if (a === 0 && b === 0 && c === V4_MAPPED) return [d >>> 24, (d >>> 16) & 255, (d >>> 8) & 255, d & 255].join('.')
  const groups = [a, b, c, d].flatMap(word => [word >>> 16, word & 0xffff])
  let start = -1
  let longest = 1
  for (let i = 0; i < 8; i++) {
    let run = 0
    while (i + run < 8 && groups[i + run] === 0) run++
    if (run > longest) {
      start = i
      longest = run
    }
  }
  const text = (part: number[]) => part.map(group => group.toString(16)).join(':')
  return start === -1 ? text(groups) : `${text(groups.slice(0, start))}::${text(groups.slice(start + longest))}`
}

/** Reads dotted IPv4 or RFC 4291 §2.2 text, without zones. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (!text.includes(':')) return parseIpv4(text)
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0]!, halves.length === 1)
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : []
  if (!head || !tail) return undefined
  const missing = 16 - head.length - tail.length
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail])
}

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every(part => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined
  return Uint8Array.from(parts, Number)
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [i, group] of groups.entries()) {
    if (mayEndInIpv4 && i === groups.length - 1 && group.includes('.')) {
      const last = parseIpv4(group)
      if (!last) return undefined
      bytes.push(...last)
      continue
    }
    if (!/^[0-9a-f]{1,4}$/i.test(group)) return undefined
    const value = Number.parseInt(group, 16)
    bytes.push(value >>> 8, value & 255)
  }
  return bytes
}
