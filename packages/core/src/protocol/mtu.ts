import { MAX_STREAM_PAYLOAD_BYTES } from './frame.ts'
import { MIN_IPV6_MTU, MIN_MTU } from './limits.ts'

// MTU arithmetic: from the MTU of the link between client and gateway to the longest packet inside the tunnel, per
// channel. A tunnel packet on the datagram channel is wrapped in type byte, DTLS record, UDP and IP.

/** Bytes of an IP header without options or extension headers. */
export const IPV4_HEADER_BYTES = 20
export const IPV6_HEADER_BYTES = 40
export const UDP_HEADER_BYTES = 8

/**
 * What a DTLS 1.2 record adds to its plaintext: header 13, explicit nonce 8 and tag 16 for the AES-GCM suites; header 13
 * and tag 16 for ChaCha20-Poly1305; 13, 8 and 8 for CCM_8. RFC 6347 §4.1, RFC 5288 §3, RFC 7905 §2.
 */
export const RecordOverhead: { readonly aesGcm: 37; readonly chacha20Poly1305: 29; readonly ccm8: 29 } = {
  aesGcm: 37,
  chacha20Poly1305: 29,
  ccm8: 29,
}

export interface DatagramMtuInput {
  /** The MTU of the link, in bytes. */
  readonly linkMtu: number
  /** The family of the outer addresses. */
  readonly family: 4 | 6
  /** What a record adds to its plaintext; see `RecordOverhead`. @defaultValue 37 */
  readonly recordOverhead?: number
}

/** The longest plaintext of one record in one unfragmented datagram. */
export function maxDatagramPayload(input: DatagramMtuInput): number {
  const ipHeader = input.family === 4 ? IPV4_HEADER_BYTES : IPV6_HEADER_BYTES
  return input.linkMtu - ipHeader - UDP_HEADER_BYTES - (input.recordOverhead ?? RecordOverhead.aesGcm)
}

/**
 * The longest tunnel packet on the datagram channel: a plaintext without its type byte. With 1500, IPv4 and AES-GCM it
 * is 1434.
 */
export function datagramTunnelMtu(input: DatagramMtuInput): number {
  return maxDatagramPayload(input) - 1
}

/** The smallest MTU of a tunnel: 576, or 1280 where IPv6 goes through it (RFC 8200 §5). */
export function minTunnelMtu(withIpv6: boolean): number {
  return withIpv6 ? MIN_IPV6_MTU : MIN_MTU
}

/** Brings an MTU into the bounds of a tunnel; the largest is what one TLS record holds. */
export function clampTunnelMtu(mtu: number, withIpv6: boolean): number {
  return Math.min(MAX_STREAM_PAYLOAD_BYTES, Math.max(minTunnelMtu(withIpv6), Math.floor(mtu)))
}

/**
 * The next smaller MTU worth trying when only "too long" is known: usual link MTUs (Ethernet, PPPoE, tunnels in tunnels,
 * IPv6's minimum, ...) in the manner of RFC 1191 §7.1, minus what the datagram channel adds.
 */
export function nextLowerMtu(mtu: number, overhead: number): number {
  for (const link of plateaus) if (link - overhead < mtu) return link - overhead
  return mtu - 1
}

const plateaus = [9000, 4352, 1500, 1492, 1480, 1460, 1440, 1420, 1400, 1380, 1350, 1320, 1300, 1280, 1006, 576]
