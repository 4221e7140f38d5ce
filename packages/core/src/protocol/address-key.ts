import { IpAddress } from '../address/ip-address.ts'

/**
 * What counts as one client address for limits: an IPv4 address (also when it is written as an IPv4-mapped IPv6 one), or
 * the /64 of an IPv6 address, which one customer has to himself. Anything else counts as itself.
 */
export function addressKey(text: string): string {
  const address = IpAddress.parse(text)
  if (address?.family !== 6) return text
  const { bytes } = address
  const mapped = bytes.subarray(0, 10).every(byte => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff
  if (mapped) return bytes.subarray(12).join('.')
  const network = new Uint8Array(16)
  network.set(bytes.subarray(0, 8))
  return `${IpAddress.fromBytes(network)}/64`
}
