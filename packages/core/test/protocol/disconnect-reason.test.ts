import {
  ClientReason,
  type CloseReason,
  closeText,
  readClientDeparture,
  readGatewayReason,
  writeClientReason,
  writeGatewayReason,
} from '@twinbore/core'
import { describe, expect, test } from 'vitest'

describe('what a client says when it leaves', () => {
  test.each([
    [[0xb0], 'user-left', false],
    [[0x91], 'reconnecting', true],
    [[0xd1], 'paused', true],
    [[0x70], 'local-error', true],
    [[], 'temporary', true],
    [[0x01], 'temporary', true],
  ])('%j is %s', (payload, kind, keeps) => {
    expect(readClientDeparture(Uint8Array.from(payload))).toEqual({ kind, keeps })
  })

  test('ours is what stock clients send', () => {
    expect(writeClientReason(ClientReason.userLeft, 'bye')).toEqual(Uint8Array.of(0xb0, 0x62, 0x79, 0x65))
  })
})

describe('what a gateway says when it ends a session', () => {
  test.each<CloseReason>([
    'idle-timeout',
    'session-expired',
    'administrator',
    'gateway-shutdown',
    'replaced',
    'revoked',
  ])('%s is understood by our client', reason => {
    expect(readGatewayReason(writeGatewayReason(reason))).toEqual({ reason, text: closeText(reason) })
  })

  test('the idle time-out is what stock clients print as 01', () => {
    expect(writeGatewayReason('idle-timeout')[0]).toBe(1)
  })

  test('numbers of other gateways are not taken for ours', () => {
    const payload = writeClientReason(1, 'Something else')
    expect(readGatewayReason(payload)).toEqual({ reason: 'ended-by-gateway', text: 'Something else' })
    expect(readGatewayReason(new Uint8Array(0))).toEqual({ reason: 'ended-by-gateway', text: '' })
  })

  test('its text is safe to log', () => {
    const long = `\u001b[31mred\r\n${'x'.repeat(10_000)}`
    const { text } = readGatewayReason(Uint8Array.of(9, ...new TextEncoder().encode(long)))
    expect(text.length).toBeLessThanOrEqual(256)
    expect(text).toMatch(/^\[31mred {2}x+$/)
    expect(readGatewayReason(Uint8Array.of(9, 0xff, 0xfe)).text).toBe('\ufffd\ufffd')
  })
})
