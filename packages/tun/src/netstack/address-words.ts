// Addresses inside the stack: four 32-bit words, IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2). Packets of the family IPv6
// that carry mapped addresses are refused at the door, so the four words say which family an address is of.
import { ipv4Text, ipv6Text } from '@twinbore/core/packet'
import { addressBytes } from '../ip-text.ts'

const mappedWord = 0xffff

/** Whether four words are an IPv4 address. */
export function isV4(words: Int32Array): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === mappedWord
}

export function sameWords(a: Int32Array, b: Int32Array): boolean {
  return a[3] === b[3] && a[2] === b[2] && a[1] === b[1] && a[0] === b[0]
}

/** Reads the IPv4 address at `at`. */
export function readV4(view: DataView, at: number, into: Int32Array): void {
  into[0] = 0
  into[1] = 0
  into[2] = mappedWord
  into[3] = view.getInt32(at)
}

/** Reads the IPv6 address at `at`. */
export function readV6(view: DataView, at: number, into: Int32Array): void {
  into[0] = view.getInt32(at)
  into[1] = view.getInt32(at + 4)
  into[2] = view.getInt32(at + 8)
  into[3] = view.getInt32(at + 12)
}

/** Writes an address at `at`, 4 or 16 bytes. */
export function writeAddress(view: DataView, at: number, words: Int32Array): void {
  if (isV4(words)) view.setInt32(at, words[3]!)
  else for (let i = 0; i < 4; i++) view.setInt32(at + 4 * i, words[i]!)
}

/** The words of 4 or 16 bytes. */
export function wordsOfBytes(bytes: Uint8Array): Int32Array {
  const words = new Int32Array(4)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length === 4) readV4(view, 0, words)
  else readV6(view, 0, words)
  return words
}

/** The 4 or 16 bytes of an address. */
export function bytesOfWords(words: Int32Array): Uint8Array {
  const bytes = new Uint8Array(isV4(words) ? 4 : 16)
  writeAddress(new DataView(bytes.buffer), 0, words)
  return bytes
}

/** The canonical text of an address. */
export function textOfWords(words: Int32Array): string {
  const bytes = bytesOfWords(words)
  return bytes.length === 4 ? ipv4Text(bytes) : ipv6Text(bytes)
}

/** The words of an address in text. @throws RangeError when it is none */
export function wordsOfText(text: string, name: string): Int32Array {
  const bytes = addressBytes(text)
  const words = bytes && wordsOfBytes(bytes)
  if (!words || (bytes.length === 16 && isV4(words))) throw new RangeError(`${name} must be an IP address`)
  return words
}

/** Whether an address can't be the source of a packet: unspecified, loopback, multicast, reserved, broadcast, mapped. */
export function isMartianSource(words: Int32Array): boolean {
  if (isV4(words)) {
    const first = words[3]! >>> 24
    return first === 0 || first === 127 || first >= 224
  }
  if (words[0]! >>> 24 === 0xff) return true
  // ::/96 holds the unspecified and the loopback address, and the deprecated compatible ones (RFC 4291 §2.5.5.1).
  return words[0] === 0 && words[1] === 0 && words[2] === 0
}

/** Whether an address names more or less than one host: multicast, broadcast, unspecified, reserved. */
export function isMartianDestination(words: Int32Array): boolean {
  if (isV4(words)) return words[3]! >>> 24 === 0 || words[3]! >>> 24 >= 224
  return words[0]! >>> 24 === 0xff || (words[0] === 0 && words[1] === 0 && words[2] === 0 && words[3] === 0)
}
