import { clampTunnelMtu, datagramTunnelMtu, RecordOverhead } from '@twinbore/core'
import { expect, test } from 'vitest'
import { nextLowerMtu } from '../../src/protocol/mtu.ts'

test('the tunnel MTU on the datagram channel', () => {
  // openconnect and ocserv agree on 1434 for Ethernet: 1500 - 28 - 37 - 1.
  expect(datagramTunnelMtu({ linkMtu: 1500, family: 4 })).toBe(1434)
  expect(datagramTunnelMtu({ linkMtu: 1500, family: 6 })).toBe(1414)
  expect(datagramTunnelMtu({ linkMtu: 1500, family: 4, recordOverhead: RecordOverhead.chacha20Poly1305 })).toBe(1442)
  // Measured: datagrams over 1300 bytes dropped on the way, the client found 1254 by probing... with UDP payloads of 1292.
  expect(datagramTunnelMtu({ linkMtu: 1292 + 28, family: 4 })).toBe(1254)
})

test('the bounds of a tunnel MTU (RFC 791 §3.2, RFC 8200 §5)', () => {
  expect(clampTunnelMtu(100, false)).toBe(576)
  expect(clampTunnelMtu(1000, true)).toBe(1280)
  expect(clampTunnelMtu(1434.9, true)).toBe(1434)
  expect(clampTunnelMtu(99_999, false)).toBe(16_376)
})

test('the next lower MTU is always lower (RFC 1191 §7.1)', () => {
  expect(nextLowerMtu(1434, 66)).toBe(1492 - 66)
  for (let mtu = 9000; mtu > 576; ) {
    const next = nextLowerMtu(mtu, 66)
    expect(next).toBeLessThan(mtu)
    mtu = next
  }
})
