import { writeIpv4HeaderChecksum } from '@twinbore/core/packet'
import {
  fragmentPacket,
  icmpEchoPacket,
  icmpErrorPacket,
  packetView,
  tcpPacket,
  udpPacket,
} from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import {
  client,
  client6,
  destinationOf,
  essence,
  type Fate,
  Harness,
  identifierOf,
  isWellFormed,
  neighbour,
  outside,
  outside6,
  server,
  server6,
  sourceOf,
  sourcePortOf,
  udp,
} from './harness.ts'

const payload = Uint8Array.from({ length: 1990 }, (_, i) => i * 7)
const ports = { sourcePort: 5000, destinationPort: 6000 }
const whole: Record<string, Uint8Array> = {
  'UDP over IPv4': udpPacket({ source: client, destination: server, ...ports, payload, identification: 77 }),
  'UDP over IPv6': udpPacket({ source: client6, destination: server6, ...ports, payload }),
  'TCP over IPv4': tcpPacket({ source: client, destination: server, ...ports, flags: 2, payload, identification: 77 }),
  'echo over IPv4': icmpEchoPacket({ source: client, destination: server, identifier: 5000, payload }),
  'echo over IPv6': icmpEchoPacket({ source: client6, destination: server6, identifier: 5000, payload }),
}

/** All orders of 0..n-1. */
function orders(n: number): number[][] {
  if (n === 1) return [[0]]
  return orders(n - 1).flatMap(order => Array.from({ length: n }, (_, at) => order.toSpliced(at, 0, n - 1)))
}

/** Puts fragments together as a receiver would. */
function reassemble(fragments: Uint8Array[]): Uint8Array {
  const v4 = fragments[0]![0]! >>> 4 === 4
  const header = v4 ? 20 : 48
  const position = (fragment: Uint8Array) =>
    v4 ? (packetView(fragment).getUint16(6) & 0x1fff) * 8 : packetView(fragment).getUint16(42) & 0xfff8
  const sorted = [...fragments].sort((a, b) => position(a) - position(b))
  const id = (fragment: Uint8Array) => (v4 ? packetView(fragment).getUint16(4) : packetView(fragment).getUint32(44))
  expect(new Set(sorted.map(id)).size).toBe(1)
  const parts = sorted.map(fragment => fragment.slice(header))
  const first = sorted[0]!.slice(0, v4 ? 20 : 40)
  const result = new Uint8Array(first.length + parts.reduce((sum, part) => sum + part.length, 0))
  result.set(first)
  let at = first.length
  for (const part of parts) {
    result.set(part, at)
    at += part.length
  }
  const view = packetView(result)
  if (v4) {
    view.setUint16(2, result.length)
    view.setUint16(6, 0)
    writeIpv4HeaderChecksum(view, 0)
  } else {
    view.setUint16(4, result.length - 40)
    view.setUint8(6, sorted[0]![40]!)
  }
  return result
}

function through(harness: Harness, fragments: Uint8Array[], direction: 'out' | 'in'): Uint8Array[] {
  const passed: Uint8Array[] = []
  for (const fragment of fragments) {
    const fate = harness[direction](fragment)
    if (typeof fate === 'object') passed.push(fate)
    else expect(fate).toBe('taken')
    passed.push(...harness.packets(direction === 'out' ? 'outbound' : 'inbound'))
  }
  return passed
}

describe('virtual reassembly (RFC 6146 §3.4, RFC 4787 REQ-14)', () => {
  for (const [name, packet] of Object.entries(whole)) {
    const mtu = name.endsWith('6') ? 600 : 540
    test(`${name}: four fragments in all 24 orders, there and back`, () => {
      const fragments = fragmentPacket(packet, mtu, 0xabcdef)
      expect(fragments.length).toBe(4)
      for (const order of orders(4)) {
        const harness = new Harness()
        const out = through(
          harness,
          order.map(i => fragments[i]!),
          'out',
        )
        expect(out.length).toBe(4)
        for (const fragment of out) expect(sourceOf(fragment)).toBe(name.endsWith('6') ? outside6 : outside)
        const sent = reassemble(out)
        expect(isWellFormed(sent)).toBe(true)
        expect(harness.translator.stats().fragments).toEqual({ datagrams: 0, heldBytes: 0, overlaps: 0 })
        if (name.startsWith('TCP')) continue
        const answer = name.startsWith('UDP')
          ? udpPacket({
              source: name.endsWith('6') ? server6 : server,
              destination: sourceOf(sent),
              sourcePort: 6000,
              destinationPort: sourcePortOf(sent),
              payload,
            })
          : icmpEchoPacket({
              source: name.endsWith('6') ? server6 : server,
              destination: sourceOf(sent),
              identifier: identifierOf(sent),
              reply: true,
              payload,
            })
        const back = through(
          harness,
          order.map(i => fragmentPacket(answer, mtu, 5)[i]!),
          'in',
        )
        expect(back.length).toBe(4)
        const received = reassemble(back)
        expect(isWellFormed(received)).toBe(true)
        expect(destinationOf(received)).toBe(name.endsWith('6') ? client6 : client)
      }
    })
  }

  test('two clients with one identification to one server are not mixed up (RFC 6864 §5.3.1)', () => {
    const harness = new Harness()
    const ids = [client, neighbour].map(source => {
      const packet = udpPacket({ source, destination: server, ...ports, payload, identification: 9 })
      const out = through(harness, fragmentPacket(packet, 1000), 'out')
      return new Set(out.map(fragment => packetView(fragment).getUint16(4)))
    })
    expect(ids.map(set => set.size)).toEqual([1, 1])
    expect([...ids[0]!]).not.toEqual([...ids[1]!])
  })

  test('unfragmented packets: atomic ones get 0, others a counter (RFC 6864 §4)', () => {
    const harness = new Harness()
    const id = (dontFragment: boolean) =>
      packetView(
        harness.sent(udpPacket({ source: client, destination: server, ...ports, identification: 4, dontFragment })),
      ).getUint16(4)
    expect([id(true), id(true)]).toEqual([0, 0])
    const first = id(false)
    expect(id(false)).toBe((first + 1) & 0xffff)
  })

  test('an atomic IPv6 fragment is a whole packet (RFC 6946)', () => {
    const harness = new Harness()
    const packet = udpPacket({
      source: client6,
      destination: server6,
      ...ports,
      payload,
      extensionHeaders: [{ type: 44, body: Uint8Array.of(0, 0, 1, 2, 3, 4) }],
    })
    const sent = harness.sent(packet)
    expect(isWellFormed(sent)).toBe(true)
    expect(packetView(sent).getUint32(44)).not.toBe(0x01020304)
    expect(harness.translator.stats().fragments.datagrams).toBe(0)
  })

  test('a last hop is taken off every fragment', () => {
    const harness = new Harness()
    const out = through(harness, fragmentPacket(whole['UDP over IPv4']!, 540).reverse(), 'out')
    expect(out.map(fragment => fragment[8])).toEqual([63, 63, 63, 63])
  })
})

describe('refused fragments', () => {
  const [first, second, third, last] = fragmentPacket(whole['UDP over IPv4']!, 540)

  /** The second fragment, moved by some bytes. */
  function moved(by: number): Uint8Array {
    const copy = second!.slice()
    const view = packetView(copy)
    view.setUint16(6, view.getUint16(6) + by / 8)
    writeIpv4HeaderChecksum(view, 0)
    return copy
  }

  test('an overlap ends the datagram (RFC 5722 §3)', () => {
    const harness = new Harness()
    harness.sent(first!)
    expect(harness.out(moved(-8))).toBe('malformed')
    for (const later of [second!, third!, last!]) expect(harness.out(later)).toBe('fragmentLimit')
    expect(harness.translator.stats().fragments.overlaps).toBe(1)
  })

  test('an overlap among held fragments, too', () => {
    const harness = new Harness()
    expect(harness.out(second!)).toBe('taken')
    expect(harness.out(moved(8))).toBe('malformed')
    expect(harness.out(first!)).toBe('fragmentLimit')
    expect(harness.translator.stats().fragments.heldBytes).toBe(0)
    expect(harness.translator.stats().drops).toMatchObject({ fragmentLimit: 2 })
  })

  test('an exact duplicate is ignored (RFC 8200 §4.5)', () => {
    const harness = new Harness()
    harness.sent(first!)
    harness.sent(second!)
    expect(harness.out(second!)).toBe('replayed')
    expect(typeof harness.out(third!)).toBe('object')
  })

  test('a second end, or data behind the end, ends the datagram', () => {
    const harness = new Harness()
    harness.sent(first!)
    harness.sent(last!)
    const behind = last!.slice()
    packetView(behind).setUint16(6, 500)
    writeIpv4HeaderChecksum(packetView(behind), 0)
    expect(harness.out(behind)).toBe('malformed')
    // The same, the end coming last.
    const other = new Harness()
    other.sent(first!)
    expect(typeof other.out(third!)).toBe('object')
    const short = second!.slice()
    packetView(short).setUint16(6, packetView(short).getUint16(6) & 0x1fff)
    writeIpv4HeaderChecksum(packetView(short), 0)
    expect(other.out(short)).toBe('malformed')
  })

  test('fragments of what may not pass are not held for ever', () => {
    const harness = new Harness()
    const stray = fragmentPacket(udpPacket({ source: server, destination: outside, ...ports, payload }), 540)
    expect(harness.in(stray[1]!)).toBe('taken')
    expect(harness.in(stray[0]!)).toBe('noMapping')
    expect(harness.in(stray[2]!)).toBe('fragmentLimit')
    expect(harness.packets('inbound')).toEqual([])
    harness.advance(15_000)
    expect(harness.translator.stats().fragments.datagrams).toBe(0)
  })

  test('fragments whose first one never comes go after the timeout, and are counted', () => {
    const harness = new Harness()
    for (const later of [second!, third!, last!]) expect(harness.out(later)).toBe('taken')
    expect(harness.translator.deadline).toBe(harness.now + 15_000)
    harness.advance(15_000)
    expect(harness.translator.stats()).toMatchObject({
      fragments: { datagrams: 0, heldBytes: 0 },
      drops: { fragmentLimit: 3 },
    })
    expect(harness.translator.deadline).toBeUndefined()
  })

  test('fragmented ICMP errors', () => {
    const harness = new Harness()
    const about = harness.sent(udp({}, new Uint8Array(1400)))
    const error = icmpErrorPacket({ source: server, destination: outside, type: 3, code: 3, about })
    expect(harness.in(fragmentPacket(error, 600)[0]!)).toBe('malformed')
  })

  test('100 000 lonely fragments stay within the caps and leave others alone', () => {
    const harness = new Harness({ maxHeldFragmentBytes: 200_000, maxFragmentedDatagrams: 256 })
    const fragment = fragmentPacket(udpPacket({ source: server, destination: outside, ...ports, payload }), 540)[1]!
    const view = packetView(fragment)
    const fates = new Map<Fate, number>()
    for (let i = 0; i < 100_000; i++) {
      view.setUint16(4, i)
      view.setUint32(12, 0xc6000000 + (i >>> 8))
      writeIpv4HeaderChecksum(view, 0)
      const fate = harness.in(fragment)
      fates.set(fate, (fates.get(fate) ?? 0) + 1)
    }
    const { fragments, drops } = harness.translator.stats()
    expect(fragments.datagrams).toBeLessThanOrEqual(256)
    expect(fragments.heldBytes).toBeLessThanOrEqual(200_000)
    expect([...fates.keys()].sort()).toEqual(['fragmentLimit', 'taken'])
    // What is not held still has been counted.
    const held = Math.round(fragments.heldBytes / (fragment.length + 128))
    expect(drops.fragmentLimit! + held).toBe(100_000)
    // The other direction has a cache of its own.
    expect(through(harness, fragmentPacket(whole['UDP over IPv4']!, 540).reverse(), 'out').length).toBe(4)
  })

  test('one sender cannot fill the cache', () => {
    const harness = new Harness({ maxFragmentedDatagramsPerSender: 8 })
    const fates = Array.from({ length: 20 }, (_, i) => {
      const packet = udpPacket({ source: client, destination: server, ...ports, payload, identification: i })
      return harness.out(fragmentPacket(packet, 540)[1]!)
    })
    expect(fates.filter(fate => fate === 'taken').length).toBe(8)
    const other = udpPacket({ source: neighbour, destination: server, ...ports, payload })
    expect(harness.out(fragmentPacket(other, 540)[1]!)).toBe('taken')
  })

  test('more than 45 pieces', () => {
    const harness = new Harness()
    const pieces = fragmentPacket(udpPacket({ source: client, destination: server, ...ports, payload }), 60)
    expect(pieces.length).toBeGreaterThan(46)
    const fates = pieces.map(piece => harness.out(piece))
    expect(fates.findIndex(fate => typeof fate === 'string')).toBe(45)
  })

  test('what is held for a removed client is forgotten', () => {
    const harness = new Harness()
    const packet = whole['UDP over IPv4']!
    const sent = through(harness, fragmentPacket(packet, 540), 'out')
    const answer = udpPacket({
      source: server,
      destination: outside,
      sourcePort: 6000,
      destinationPort: sourcePortOf(sent[0]!),
      payload,
    })
    const back = fragmentPacket(answer, 540)
    expect(essence(harness.received(back[0]!))).toBeTruthy()
    harness.out(moved(800))
    harness.translator.removeInside(client, harness.now)
    expect(harness.translator.stats().fragments).toMatchObject({ datagrams: 0, heldBytes: 0 })
    expect(harness.in(back[1]!)).toBe('taken')
  })
})
