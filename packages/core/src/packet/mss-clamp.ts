// Lowers the maximum segment size that TCP announces in SYN and SYN-ACK, so that no segment exceeds the tunnel (RFC 9293
// §3.7.1, RFC 4459 §3.2).
import { updateChecksum16 } from './checksum.ts'
import { IpProtocol, ipVersion } from './ip-protocol.ts'
import { IPV4_HEADER_BYTES } from './ipv4.ts'
import { IPV6_HEADER_BYTES } from './ipv6.ts'
import { type PacketBatch, Verdict } from './packet-batch.ts'
import { TCP_HEADER_BYTES, TcpField, TcpFlag, tcpChecksum, tcpFlags, tcpHeaderLength } from './tcp.ts'
import { isLaterFragment, locateTransport, transportOffset, transportProtocol } from './transport.ts'

const endOfOptions = 0
const noOperation = 1
const maximumSegmentSize = 2

/**
 * Clamps the packet at `offset` so that segments fit `mtu`: MSS at most `mtu` - 40 in IPv4, `mtu` - 60 in IPv6. Packets
 * other than SYN and SYN-ACK stay as they are. Returns whether it changed something.
 */
export function clampMssToMtu(view: DataView, offset: number, length: number, mtu: number): boolean {
  const location = locateTransport(view, offset, length)
  if (location === -1 || transportProtocol(location) !== IpProtocol.tcp || isLaterFragment(location)) return false
  const headers = (ipVersion(view, offset) === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES) + TCP_HEADER_BYTES
  return clampMss(view, offset + transportOffset(location), offset + length, Math.max(1, mtu - headers))
}

/**
 * A stage: clamps what passed `checkPackets` to the MTU of its owner, an index into `mtus`. Packets that were not checked
 * are looked at too.
 */
export function clampMssToMtus(batch: PacketBatch, mtus: Uint16Array): void {
  const { view, offsets, lengths, locations, verdicts } = batch
  for (let slot = 0; slot < batch.count; slot++) {
    if (verdicts[slot] !== Verdict.forward) continue
    const offset = offsets[slot]!
    const location = locations[slot] || locateTransport(view, offset, lengths[slot]!)
    if (location === -1 || transportProtocol(location) !== IpProtocol.tcp || isLaterFragment(location)) continue
    const at = offset + transportOffset(location)
    if (at + TCP_HEADER_BYTES > view.byteLength || (tcpFlags(view, at) & TcpFlag.syn) === 0) continue
    const headers = (ipVersion(view, offset) === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES) + TCP_HEADER_BYTES
    const maxMss = Math.max(1, mtus[batch.owners[slot]!]! - headers)
    clampMss(view, at, offset + lengths[slot]!, maxMss, batch.partialChecksums[slot] === 1)
  }
}

/**
 * Clamps the MSS option of the TCP header at `at`, and keeps the checksum right: a partial one does not cover options, so
 * it stays. Options are read only up to `end` and
 * up to the first malformed one. An absent option stays absent: its default (536 or 1220 bytes) fits every tunnel.
 * Returns whether it changed something.
 */
export function clampMss(view: DataView, at: number, end: number, maxMss: number, partialChecksum = false): boolean {
  if (at + TCP_HEADER_BYTES > end || (tcpFlags(view, at) & TcpFlag.syn) === 0) return false
  const optionsEnd = Math.min(end, at + tcpHeaderLength(view, at))
  let changed = false
  let option = at + TCP_HEADER_BYTES
  while (option < optionsEnd) {
    const kind = view.getUint8(option)
    if (kind === endOfOptions) break
    if (kind === noOperation) {
      option++
      continue
    }
    if (option + 2 > optionsEnd) break
    const length = view.getUint8(option + 1)
    if (length < 2 || option + length > optionsEnd) break
    if (kind === maximumSegmentSize && length === 4) {
      const mss = view.getUint16(option + 2)
      if (mss > maxMss) {
        view.setUint16(option + 2, maxMss)
        changed = true
        if (partialChecksum) break
        // At an odd distance the two bytes lie in two words of the sum: as if swapped (RFC 1071 §2 (B)).
        const odd = ((option - at) & 1) !== 0
        const checksum = updateChecksum16(tcpChecksum(view, at), odd ? swap(mss) : mss, odd ? swap(maxMss) : maxMss)
        view.setUint16(at + TcpField.checksum, checksum)
      }
    }
    option += length
  }
  return changed
}

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8)
}
