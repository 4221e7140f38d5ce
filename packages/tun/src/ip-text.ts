// Addresses as text and as bytes, for what the operating system wants. Packets themselves never pass through here.

/** Reads an IPv4 or IPv6 address into `into` as 16 bytes (IPv4 as IPv4-mapped IPv6, RFC 4291 §2.5.5.2). Says whether it could. */
export function parseAddress(text: string, into: Uint8Array): boolean {
  return text.includes(':') ? parseIpv6(text, into) : parseMapped(text, 0, into)
}

/** Reads an address into its own 4 or 16 bytes. An IPv4-mapped IPv6 address stays 16. `undefined` for anything else. */
export function addressBytes(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16)
  if (!parseAddress(text, bytes)) return undefined
  return text.includes(':') ? bytes : bytes.slice(12)
}

/** Reads `10.0.0.1/24` or `fd00::1/64`; without a slash the length is that of one host. */
export function parsePrefix(text: string): { readonly bytes: Uint8Array; readonly length: number } | undefined {
  const slash = text.indexOf('/')
  const bytes = addressBytes(slash === -1 ? text : text.slice(0, slash))
  if (!bytes) return undefined
  if (slash === -1) return { bytes, length: bytes.length * 8 }
  const digits = text.slice(slash + 1)
  const length = /^(0|[1-9]\d{0,2})$/.test(digits) ? Number(digits) : -1
  return length < 0 || length > bytes.length * 8 ? undefined : { bytes, length }
}

/** Writes 4 bytes dotted, 16 bytes as RFC 5952 asks (also IPv4-mapped ones in their hexadecimal groups). */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!)
  let start = 0
  let longest = 1
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && groups[end] === 0) end++
    if (end - i > longest) {
      start = i
      longest = end - i
    }
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map(group => group.toString(16))
      .join(':')
  return longest === 1 ? hex(0, 8) : `${hex(0, start)}::${hex(start + longest, 8)}`
}

/** Whether 16 bytes are `::ffff:a.b.c.d`. */
export function isIpv4Mapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false
  return bytes[10] === 0xff && bytes[11] === 0xff
}

function parseMapped(text: string, from: number, into: Uint8Array): boolean {
  into.fill(0, 0, 10)
  into.fill(0xff, 10, 12)
  return parseDotted(text, from, into, 12)
}

/** Four decimal numbers without leading zeros, up to the end of the text. */
function parseDotted(text: string, from: number, into: Uint8Array, at: number): boolean {
  let part = 0
  let value = -1
  for (let i = from; i <= text.length; i++) {
    const code = i === text.length ? 0x2e : text.charCodeAt(i)
    if (code >= 0x30 && code <= 0x39) {
      if (value === 0) return false
      value = value === -1 ? code - 0x30 : value * 10 + code - 0x30
      if (value > 255) return false
    } else {
      if (code !== 0x2e || value === -1 || part === 4) return false
      into[at + part++] = value
      value = -1
    }
  }
  return part === 4
}

function parseIpv6(text: string, into: Uint8Array): boolean {
  const groups: number[] = []
  let gap = -1
  let i = 0
  if (text.startsWith('::')) {
    gap = 0
    i = 2
  }
  while (i < text.length) {
    if (groups.length === 8) return false
    let end = i
    while (end < text.length && text.charCodeAt(end) !== 0x3a) end++
    const group = text.slice(i, end)
    if (group.includes('.')) {
      const dotted = new Uint8Array(4)
      if (end !== text.length || groups.length > 6 || !parseDotted(group, 0, dotted, 0)) return false
      groups.push((dotted[0]! << 8) | dotted[1]!, (dotted[2]! << 8) | dotted[3]!)
      break
    }
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return false
    groups.push(Number.parseInt(group, 16))
    i = end + 1
    if (end === text.length) break
    if (text.charCodeAt(i) === 0x3a) {
      if (gap !== -1) return false
      gap = groups.length
      i++
    } else if (i === text.length) return false
  }
  if (gap === -1 ? groups.length !== 8 : groups.length > 7) return false
  const tail = gap === -1 ? 0 : groups.length - gap
  into.fill(0, 0, 16)
  groups.forEach((group, index) => {
    const place = gap !== -1 && index >= gap ? 8 - tail + (index - gap) : index
    into[2 * place] = group >> 8
    into[2 * place + 1] = group & 0xff
  })
  return true
}
