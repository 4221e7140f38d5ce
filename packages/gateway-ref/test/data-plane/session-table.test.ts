import { PacketBatch } from '@twinbore/core/packet'
import { udpPacket } from '@twinbore/core/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Carrier, SessionTable } from '../../src/data-plane/session-table.ts'

const capacity = 6
const ipv4 = (n: number) => Uint8Array.of(10, 0, 0, n)
const ipv6 = (n: number) => Uint8Array.of(0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n)
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset)

/** What the table should hold, in plain objects. */
interface ModelEntry {
  readonly ipv4: number | undefined
  readonly ipv6: number | undefined
  association: number
}

type Step =
  | { readonly type: 'install'; readonly v4: number | undefined; readonly v6: number | undefined }
  | { readonly type: 'remove'; readonly session: number }
  | { readonly type: 'associate'; readonly session: number; readonly association: number }

const host = fc.integer({ min: 1, max: 9 })
const session = fc.nat(capacity - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    type: fc.constant('install' as const),
    v4: fc.option(host, { nil: undefined }),
    v6: fc.option(host, { nil: undefined }),
  }),
  fc.record({ type: fc.constant('remove' as const), session }),
  fc.record({
    type: fc.constant('associate' as const),
    session,
    association: fc.oneof(fc.constant(-1), fc.nat(200)),
  }),
)

function apply(table: SessionTable, model: Map<number, ModelEntry>, change: Step): void {
  if (change.type === 'install') {
    const { v4, v6 } = change
    const taken = [...model.values()].some(
      entry => (v4 !== undefined && entry.ipv4 === v4) || (v6 !== undefined && entry.ipv6 === v6),
    )
    // A pool never leases an address twice.
    if (taken) return
    const index = table.install({
      ...(v4 !== undefined && { ipv4: ipv4(v4) }),
      ...(v6 !== undefined && { ipv6: ipv6(v6) }),
      mtu: 1400,
    })
    expect(index === -1).toBe(model.size === capacity)
    if (index === -1) return
    expect(model.has(index)).toBe(false)
    model.set(index, { ipv4: v4, ipv6: v6, association: -1 })
  } else if (change.type === 'remove') {
    table.remove(change.session)
    model.delete(change.session)
  } else {
    const entry = model.get(change.session)
    const holder = [...model.values()].find(({ association }) => association === change.association)
    // DTLS gives each association a number of its own.
    if (!entry || (change.association !== -1 && holder)) return
    table.setAssociation(change.session, change.association)
    entry.association = change.association
  }
}

function compare(table: SessionTable, model: Map<number, ModelEntry>): void {
  expect(table.size).toBe(model.size)
  for (let index = 0; index < capacity; index++) {
    const entry = model.get(index)
    for (let n = 1; n <= 9; n++) {
      expect(table.holdsIpv4(index, viewOf(ipv4(n)), 0)).toBe(entry?.ipv4 === n)
      expect(table.holdsIpv6(index, viewOf(ipv6(n)), 0)).toBe(entry?.ipv6 === n)
    }
    if (entry) expect(table.associations[index]).toBe(entry.association)
  }
  const ofAssociation = new Map([...model].map(([index, { association }]) => [association, index]))
  for (let association = 0; association <= 200; association++) {
    expect(table.ofAssociation(association)).toBe(ofAssociation.get(association) ?? -1)
  }
}

describe('a session table', () => {
  test('holds what a model holds, after any sequence of changes', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const table = new SessionTable(capacity)
        const model = new Map<number, ModelEntry>()
        for (const change of steps) apply(table, model, change)
        compare(table, model)
      }),
      { numRuns: 60 },
    )
  })

  test('leads an address to who has it now, though the one before leaves later', () => {
    const table = new SessionTable(2)
    const old = table.install({ ipv4: ipv4(5), mtu: 1400 })
    const young = table.install({ ipv4: ipv4(5), mtu: 1400 })
    table.remove(old)
    const batch = new PacketBatch()
    batch.push(udpPacket({ source: '192.0.2.1', destination: '10.0.0.5', sourcePort: 1, destinationPort: 2 }))
    table.resolveDestinations(batch)
    expect(batch.owners[0]).toBe(young)
  })

  test('removing twice, or what never was, frees nothing twice', () => {
    const table = new SessionTable(2)
    const index = table.install({ ipv4: ipv4(5), mtu: 1400 })
    table.remove(index)
    table.remove(index)
    table.remove(1)
    expect(table.size).toBe(0)
    const indices = [1, 2, 3].map(n => table.install({ ipv4: ipv4(n), mtu: 1400 }))
    expect(new Set(indices)).toEqual(new Set([0, 1, -1]))
  })
})

describe('activity', () => {
  const packet = udpPacket({ source: '10.0.0.5', destination: '192.0.2.1', sourcePort: 1, destinationPort: 2 })

  test('is reported once, by session and channel, and adds up', () => {
    const table = new SessionTable(2)
    const index = table.install({ ipv4: ipv4(5), mtu: 1400 })
    const reports: unknown[] = []
    const drain = () => table.drainActivity((...report) => reports.push(report))
    for (let round = 0; round < 2; round++) {
      const batch = new PacketBatch()
      batch.push(packet, index)
      batch.push(packet, index)
      table.countReceived(batch, Carrier.datagram)
      table.countSent(index, Carrier.stream, 100)
      drain()
      drain()
    }
    const sent = [index, Carrier.stream, { packetsReceived: 0, bytesReceived: 0, packetsSent: 1, bytesSent: 100 }]
    const received = [index, Carrier.datagram, { packetsReceived: 2, bytesReceived: 56, packetsSent: 0, bytesSent: 0 }]
    expect(reports).toEqual([sent, received, sent, received])
    expect(table.traffic(index, Carrier.datagram)).toMatchObject({ packetsReceived: 4, bytesReceived: 112 })
  })

  test('of a removed session is not told to the one that has its number next', () => {
    const table = new SessionTable(1)
    const index = table.install({ ipv4: ipv4(5), mtu: 1400 })
    table.countSent(index, Carrier.stream, 100)
    table.remove(index)
    table.install({ ipv4: ipv4(6), mtu: 1400 })
    const reports: unknown[] = []
    table.drainActivity((...report) => reports.push(report))
    expect(reports).toEqual([])
    expect(table.traffic(index, Carrier.stream).bytesSent).toBe(0)
  })

  test('may be drained again from within its own report', () => {
    const table = new SessionTable(3)
    const reports: number[] = []
    for (let n = 0; n < 3; n++) table.countSent(table.install({ ipv4: ipv4(n + 1), mtu: 1400 }), Carrier.stream, 10)
    const report = (index: number) => {
      reports.push(index)
      table.drainActivity(report)
    }
    table.drainActivity(report)
    expect(reports.sort()).toEqual([0, 1, 2])
  })
})
