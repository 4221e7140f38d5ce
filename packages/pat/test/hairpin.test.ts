import { fragmentPacket, icmpErrorPacket, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import {
  client,
  destinationOf,
  destinationPortOf,
  Harness,
  isWellFormed,
  neighbour,
  outside,
  server,
  sourceOf,
  sourcePortOf,
  tcp,
  udp,
} from './harness.ts'

describe('client isolation, the default', () => {
  test('refuses with 3/13 and counts', () => {
    const harness = new Harness()
    const port = sourcePortOf(harness.sent(udp({ source: neighbour })))
    expect(harness.out(udp({ destination: outside, destinationPort: port }))).toBe('deniedDestination')
    const [error] = harness.packets('inbound')
    expect([error![20], error![21], destinationOf(error!)]).toEqual([3, 13, client])
    expect(harness.translator.stats()).toMatchObject({ hairpinRefused: 1, hairpinned: 0, sessions: 1 })
  })
})

describe('hairpinning (RFC 4787 §6)', () => {
  /** Two clients that know each other's outside endpoint and have opened towards it. */
  function pair(options = {}) {
    const harness = new Harness({ clientIsolation: false, ...options })
    const first = sourcePortOf(harness.sent(udp()))
    const second = sourcePortOf(harness.sent(udp({ source: neighbour, sourcePort: 6000 })))
    const forth = udp({ destination: outside, destinationPort: second })
    const back = udp({ source: neighbour, sourcePort: 6000, destination: outside, destinationPort: first })
    return { harness, first, second, forth, back }
  }

  test('the source is the outside endpoint of the sender (REQ-9 a)', () => {
    const { harness, first, forth, back } = pair()
    // The neighbour has not asked for the client yet: filtered, but the way back is open now.
    expect(harness.out(forth)).toBe('taken')
    expect(harness.packets('inbound')).toEqual([])
    expect(harness.translator.stats().drops).toEqual({ filtered: 1 })
    expect(harness.out(back)).toBe('taken')
    expect(harness.out(forth)).toBe('taken')
    const [toClient, toNeighbour] = harness.packets('inbound')
    expect([sourceOf(toNeighbour!), sourcePortOf(toNeighbour!)]).toEqual([outside, first])
    expect([destinationOf(toNeighbour!), destinationPortOf(toNeighbour!)]).toEqual([neighbour, 6000])
    expect(destinationOf(toClient!)).toBe(client)
    for (const packet of [toClient!, toNeighbour!]) {
      expect(isWellFormed(packet)).toBe(true)
      expect(packet[8]).toBe(63)
    }
    expect(harness.translator.stats().hairpinned).toBe(2)
  })

  test('TCP connects through the outside address', () => {
    const harness = new Harness({ clientIsolation: false, filteringBehavior: 'endpoint-independent' })
    const port = sourcePortOf(harness.sent(tcp({ source: neighbour, sourcePort: 22, flags: 2 })))
    expect(harness.out(tcp({ destination: outside, destinationPort: port, flags: 2, sequenceNumber: 9 }))).toBe('taken')
    const [syn] = harness.packets('inbound')
    expect([destinationOf(syn!), destinationPortOf(syn!), sourceOf(syn!)]).toEqual([neighbour, 22, outside])
    const answer = tcp({
      source: neighbour,
      sourcePort: 22,
      destination: outside,
      destinationPort: sourcePortOf(syn!),
      flags: 0x12,
      sequenceNumber: 50,
      acknowledgmentNumber: 10,
    })
    expect(harness.out(answer)).toBe('taken')
    expect(destinationOf(harness.packets('inbound')[0]!)).toBe(client)
  })

  test('ICMP errors are hairpinned, too (RFC 5508 REQ-7)', () => {
    const { harness, forth, back } = pair()
    harness.out(forth)
    harness.out(back)
    harness.out(forth)
    const toNeighbour = harness.packets('inbound')[1]!
    const error = icmpErrorPacket({ source: neighbour, destination: outside, type: 3, code: 3, about: toNeighbour })
    expect(harness.out(error)).toBe('taken')
    const [received] = harness.packets('inbound')
    expect([sourceOf(received!), destinationOf(received!)]).toEqual([outside, client])
    expect(isWellFormed(received!)).toBe(true)
    // It is about what the client sent.
    const quoted = received!.slice(28)
    expect([sourceOf(quoted), sourcePortOf(quoted), destinationOf(quoted)]).toEqual([client, 5000, outside])
  })

  test('fragments in any order', () => {
    const { harness, forth, back, second } = pair()
    harness.out(forth)
    harness.out(back)
    harness.packets('inbound')
    const big = udpPacket({
      source: client,
      destination: outside,
      sourcePort: 5000,
      destinationPort: second,
      payload: new Uint8Array(1900),
    })
    for (const fragment of fragmentPacket(big, 540).reverse()) expect(harness.out(fragment)).toBe('taken')
    const received = harness.packets('inbound')
    expect(received.length).toBe(4)
    expect(new Set(received.map(destinationOf))).toEqual(new Set([neighbour]))
    expect(new Set(received.map(sourceOf))).toEqual(new Set([outside]))
    expect(harness.packets('outbound')).toEqual([])
  })

  test('to nobody', () => {
    const harness = new Harness({ clientIsolation: false })
    expect(harness.out(udp({ destination: outside, destinationPort: 1 }))).toBe('taken')
    expect(harness.translator.stats().drops).toEqual({ noMapping: 1 })
    expect(harness.sent(udp({ destination: server }))).toBeTruthy()
  })
})
