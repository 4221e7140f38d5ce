// What a kernel does with a virtio header and the packet behind it, written as simply as can be and with nothing of the
// library: the reference of the offload tests.

/** The sum of big-endian words, folded. */
export function sum(bytes: Uint8Array, start = 0): number {
  let total = start
  for (let i = 0; i < bytes.length; i += 2) total += (bytes[i]! << 8) | (bytes[i + 1] ?? 0)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

const put16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = (value >>> 8) & 0xff
  bytes[at + 1] = value & 0xff
}
const get16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!
const little16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8)

/** The packets that leave when a kernel is given `header` and `packet`. */
export function naiveCut(header: Uint8Array, packet: Uint8Array): Uint8Array[] {
  const needsChecksum = (header[0]! & 1) !== 0
  const kind = header[1]! & 0x7f
  const start = little16(header, 6)
  const field = start + little16(header, 8)
  if (kind === 0) {
    const whole = packet.slice()
    if (needsChecksum) put16(whole, field, ~sum(whole.subarray(start)) & 0xffff || (field === start + 6 ? 0xffff : 0))
    return [whole]
  }
  const isV4 = packet[0]! >>> 4 === 4
  if (!needsChecksum || kind !== (field - start === 6 ? 5 : isV4 ? 1 : 4)) throw new Error('not a header that goes')
  const isTcp = kind !== 5
  const headerBytes = start + (isTcp ? (packet[start + 12]! >>> 4) * 4 : 8)
  const size = little16(header, 4)
  const packets: Uint8Array[] = []
  for (let from = headerBytes; from < packet.length; from += size) {
    const payload = packet.subarray(from, from + size)
    const one = new Uint8Array([...packet.subarray(0, headerBytes), ...payload])
    const isLast = from + size >= packet.length
    const protocol = isTcp ? 6 : 17
    if (isV4) {
      put16(one, 2, one.length)
      put16(one, 4, get16(packet, 4) + packets.length)
      put16(one, 10, 0)
      put16(one, 10, ~sum(one.subarray(0, (one[0]! & 15) * 4)) & 0xffff)
    } else put16(one, 4, one.length - 40)
    if (isTcp) {
      const sequence =
        BigInt(get16(packet, start + 4)) * 65536n + BigInt(get16(packet, start + 6)) + BigInt(from - headerBytes)
      put16(one, start + 4, Number((sequence >> 16n) & 0xffffn))
      put16(one, start + 6, Number(sequence & 0xffffn))
      if (!isLast) one[start + 13]! &= ~0x09
      if (packets.length > 0) one[start + 13]! &= ~0x80
    } else put16(one, start + 4, one.length - start)
    put16(one, field, 0)
    const addresses = isV4 ? one.subarray(12, 20) : one.subarray(8, 40)
    const checksum = ~sum(one.subarray(start), sum(addresses, protocol + one.length - start)) & 0xffff
    put16(one, field, checksum === 0 && !isTcp ? 0xffff : checksum)
    packets.push(one)
  }
  return packets
}

/** Whether the checksum of TCP or UDP in a packet without options or extension headers is right. */
export function naiveIntact(packet: Uint8Array): boolean {
  const isV4 = packet[0]! >>> 4 === 4
  const start = isV4 ? 20 : 40
  const addresses = isV4 ? packet.subarray(12, 20) : packet.subarray(8, 40)
  const protocol = packet[isV4 ? 9 : 6]!
  return sum(packet.subarray(start), sum(addresses, protocol + packet.length - start)) === 0xffff
}
