import { icmpEchoPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { client, Harness, identifierOf, outside, server, sourcePortOf, udp, udpAnswer } from './harness.ts'

const crowd = {
  newMappingsPerSecond: 1e6,
  newMappingBurst: 1e6,
  maxUdpMappingsPerInside: 30_000,
  maxSessionsPerInside: 30_000,
}

describe('UDP (RFC 4787 §4.3)', () => {
  test.each([
    ['alive at 119.9 s (REQ-5)', 119_900, 'object'],
    ['alive at 299.9 s', 299_900, 'object'],
    ['gone at 300 s', 300_000, 'noMapping'],
    ['gone at 301 s', 301_000, 'noMapping'],
  ])('a mapping is %s', (_, after, fate) => {
    const harness = new Harness()
    const sent = harness.sent(udp())
    harness.advance(after)
    const result = harness.in(udpAnswer(sent))
    expect(typeof result === 'string' ? result : typeof result).toBe(fate)
  })

  test('without a served deadline, too', () => {
    const harness = new Harness()
    const sent = harness.sent(udp())
    harness.now += 300_000
    expect(harness.in(udpAnswer(sent))).toBe('noMapping')
  })

  test('outbound packets refresh (REQ-6)', () => {
    const harness = new Harness()
    const sent = harness.sent(udp())
    for (let i = 0; i < 20; i++) {
      harness.advance(250_000)
      harness.sent(udp())
    }
    expect(typeof harness.in(udpAnswer(sent))).toBe('object')
    expect(harness.translator.stats().mappingsCreated).toBe(1)
  })

  test('inbound packets alone do not, unless asked to', () => {
    for (const [inboundRefresh, fate] of [
      [false, 'noMapping'],
      [true, 'object'],
    ] as const) {
      const harness = new Harness({ inboundRefresh })
      const sent = harness.sent(udp())
      let result: unknown
      for (let i = 0; i < 4; i++) {
        harness.advance(100_000)
        result = harness.in(udpAnswer(sent))
      }
      expect(typeof result === 'string' ? result : typeof result).toBe(fate)
    }
  })

  test('refused packets never refresh (RFC 7857 §7)', () => {
    const harness = new Harness({ inboundRefresh: true })
    const sent = harness.sent(udp())
    for (let i = 0; i < 3; i++) {
      expect(harness.in(udpAnswer(sent, { source: '198.51.100.66' }))).toBe('filtered')
      harness.advance(100_000)
    }
    expect(harness.in(udpAnswer(sent))).toBe('noMapping')
  })

  test('each remote address has its own time, the mapping has the longest', () => {
    const harness = new Harness()
    const first = harness.sent(udp())
    harness.advance(200_000)
    const second = harness.sent(udp({ destination: '198.51.100.20' }))
    expect(sourcePortOf(first)).toBe(sourcePortOf(second))
    harness.advance(150_000)
    expect(harness.in(udpAnswer(first))).toBe('filtered')
    expect(typeof harness.in(udpAnswer(second))).toBe('object')
    expect(sourcePortOf(harness.sent(udp()))).toBe(sourcePortOf(first))
  })

  test('with endpoint-independent filtering the mapping has one time', () => {
    const harness = new Harness({ filteringBehavior: 'endpoint-independent' })
    const first = harness.sent(udp())
    harness.advance(200_000)
    harness.sent(udp({ destination: '198.51.100.20' }))
    harness.advance(299_000)
    expect(typeof harness.in(udpAnswer(first, { source: '198.51.100.77' }))).toBe('object')
    harness.advance(1_000)
    expect(harness.in(udpAnswer(first))).toBe('noMapping')
  })
})

test('an echo mapping lives 60 s (RFC 5508 REQ-1)', () => {
  const harness = new Harness()
  const request = icmpEchoPacket({ source: client, destination: server, identifier: 9 })
  const id = identifierOf(harness.sent(request))
  const reply = icmpEchoPacket({ source: server, destination: outside, identifier: id, reply: true })
  harness.advance(59_999)
  harness.received(reply)
  harness.advance(1)
  expect(harness.in(reply)).toBe('noMapping')
})

test('deadlines lead to an empty machine, with few wake-ups', () => {
  const harness = new Harness(crowd)
  for (let i = 0; i < 5000; i++) {
    harness.now += 10
    harness.sent(udp({ sourcePort: 1 + i }))
  }
  let wakeUps = 0
  for (let { deadline } = harness.translator; deadline !== undefined; { deadline } = harness.translator) {
    expect(deadline).toBeGreaterThan(harness.now - 1000)
    harness.now = Math.max(harness.now, deadline)
    harness.translator.handleDeadline(harness.now)
    wakeUps++
  }
  expect(wakeUps).toBeLessThan(60)
  expect(harness.translator.stats()).toMatchObject({ sessions: 0, insideAddresses: 0, mappings: { udp: 0 } })
})

test('a crowd that is due at once goes in slices', () => {
  const harness = new Harness(crowd)
  for (let host = 0; host < 2; host++) {
    for (let i = 0; i < 15_000; i++) harness.sent(udp({ source: `10.8.1.${host}`, sourcePort: 1 + i }))
  }
  harness.now += 1_000_000
  harness.translator.handleDeadline(harness.now)
  expect(harness.translator.stats().sessions).toBe(10_000)
  expect(harness.translator.deadline).toBeLessThanOrEqual(harness.now)
  harness.translator.handleDeadline(harness.now)
  expect(harness.translator.stats().sessions).toBe(0)
  expect(harness.translator.deadline).toBeUndefined()
})
