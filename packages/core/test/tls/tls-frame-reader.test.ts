import { encodeStreamFrame, FrameType } from '@twinbore/core'
import { PacketBatch } from '@twinbore/core/packet'
import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import { describe, expect, test } from 'vitest'
import { TlsFrameReader } from '../../src/tls/tls-frame-reader.ts'
import { tlsSuite } from '../../src/tls/tls-suite.ts'
import {
  concat,
  cutAnywhere,
  layerPair,
  type Read,
  RecordMaker,
  readAll,
  serverReader,
  suiteNames,
  tls13,
} from './support.ts'

const packet = (mark: number, length = 40) => new Uint8Array(length).fill(mark)
const asRead = (bytes: Uint8Array): Read => ({ packet: [...bytes] })

describe.each(suiteNames)('%s %s', (version, name) => {
  const suite = tlsSuite(version, name)!

  test('packets, control frames and long packets come out in order, however records and chunks fall', () => {
    const random = seededRandom(11)
    const next = (bound: number) => randomBelow(random, bound)
    for (let round = 0; round < 30; round++) {
      const maker = new RecordMaker(suite)
      const expected: Read[] = []
      const frames: Uint8Array[] = []
      for (let i = 0; i < 25; i++) {
        const payload = packet(next(256), 1 + next(next(4) === 0 ? 4000 : 200))
        if (next(5) === 0) {
          frames.push(encodeStreamFrame(FrameType.dpdRequest, payload))
          expected.push({ control: FrameType.dpdRequest, payload: [...payload] })
        } else {
          frames.push(encodeStreamFrame(FrameType.data, payload))
          if (payload.length <= 2048) expected.push(asRead(payload))
        }
      }
      // Rounds with one record a frame, and rounds with records that fall anywhere.
      const contents = round % 2 === 0 ? frames : cutAnywhere(concat(...frames), next)
      const records = contents.flatMap(content =>
        next(8) === 0 ? [maker.record(new Uint8Array(0)), maker.record(content)] : [maker.record(content)],
      )
      const { reader } = serverReader(suite)
      const batch = new PacketBatch({ capacity: 1 + next(6) })
      expect(readAll(reader, cutAnywhere(concat(...records), next), batch)).toEqual(expected)
      expect(reader.pendingBytes).toBe(0)
    }
  })

  test('what one layer seals the other opens, through key changes', () => {
    const { client, server } = layerPair(suite, 16)
    const reader = new TlsFrameReader(server)
    const out = new Uint8Array(4096)
    const seen: Read[] = []
    for (let i = 0; i < 100; i++) {
      let length = client.keyUpdateDue ? client.sealKeyUpdate(out, 0) : 0
      const frame = encodeStreamFrame(FrameType.data, packet(i))
      out.set(frame, length + client.headerBytes)
      length += client.sealData(out, length, frame.length)
      seen.push(...readAll(reader, [out.slice(0, length)]))
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => asRead(packet(i))))
    const changes = version === 'TLSv1.3' ? 6 : 0
    expect(client.keyUpdates).toBe(changes)
    expect(server.keyUpdates).toBe(changes)
  })

  test('a changed bit anywhere in a record ends it', () => {
    const whole = new RecordMaker(suite).frame(FrameType.data, packet(9, 60))
    for (let at = 0; at < whole.length; at++) {
      // The version in the header is not looked at in TLS 1.3, though it is authenticated; the length says how long to wait.
      if (at === 3 || at === 4) continue
      const changed = whole.slice()
      changed[at]! ^= 0x41
      const { reader } = serverReader(suite)
      const [end, ...more] = readAll(reader, [changed])
      expect(end).toHaveProperty('end')
      expect(more).toEqual([])
      expect(reader.alert).toBeTypeOf('number')
    }
  })

  test('a record twice, left out or out of turn ends it', () => {
    const maker = new RecordMaker(suite)
    const [a, b, c] = [1, 2, 3].map(mark => maker.frame(FrameType.data, packet(mark)))
    for (const order of [
      [a, a],
      [a, c],
      [b, a],
    ]) {
      const read = readAll(serverReader(suite).reader, order as Uint8Array[])
      expect(read.at(-1)).toEqual({ end: 'a record that does not open' })
      expect(read.length).toBe(order[0] === a ? 2 : 1)
    }
  })
})

describe('slots', () => {
  test('a packet lies whole in its slot, with its owner, and room around it', () => {
    const maker = new RecordMaker(tls13)
    const { reader } = serverReader()
    const batch = new PacketBatch({ capacity: 3, slotBytes: 1500 })
    reader.feed(concat(...[1, 2, 3, 4].map(mark => maker.frame(FrameType.data, packet(mark, 1400)))))
    expect(reader.next(batch, 42).type).toBe('batch-full')
    expect(batch.count).toBe(3)
    for (let slot = 0; slot < 3; slot++) {
      expect(batch.packet(slot)).toEqual(packet(slot + 1, 1400))
      expect(batch.owners[slot]).toBe(42)
      expect(batch.offsets[slot]).toBe(slot * batch.stride + batch.headroom)
    }
    batch.reset()
    expect(reader.next(batch, 42).type).toBe('starved')
    expect(batch.packet(0)).toEqual(packet(4, 1400))
  })

  test('no byte beyond the slot is touched, whatever the record holds', () => {
    const batch = new PacketBatch({ capacity: 2, slotBytes: 128 })
    batch.bytes.fill(0xee)
    for (const length of [1, 100, 119, 120, 128, 129, 1000, 16_000]) {
      batch.reset()
      readAll(serverReader().reader, [new RecordMaker(tls13).frame(FrameType.data, packet(1, length))], batch)
      expect(batch.bytes.subarray(batch.stride).every(byte => byte === 0xee)).toBe(true)
    }
  })

  test('padding of TLS 1.3 is taken off', () => {
    const maker = new RecordMaker(tls13)
    const frame = encodeStreamFrame(FrameType.data, packet(7))
    // The type, then zeros; the protection puts one more zero where the type belongs.
    const padded = concat(frame, Uint8Array.of(23), new Uint8Array(300))
    expect(readAll(serverReader().reader, [maker.record(padded, 0)])).toEqual([asRead(packet(7))])
  })

  test('a record of nothing but padding ends it', () => {
    const maker = new RecordMaker(tls13)
    const { reader } = serverReader()
    expect(readAll(reader, [maker.record(new Uint8Array(20), 0)])).toEqual([{ end: 'a record that does not open' }])
    expect(reader.alert).toBe(10)
  })

  test('data that was opened before comes first', () => {
    const maker = new RecordMaker(tls13)
    const { reader } = serverReader()
    const first = encodeStreamFrame(FrameType.data, packet(1))
    reader.begin(concat(first, encodeStreamFrame(FrameType.data, packet(2)).subarray(0, 20)))
    const rest = encodeStreamFrame(FrameType.data, packet(2)).subarray(20)
    expect(readAll(reader, [concat(maker.record(rest), maker.frame(FrameType.data, packet(3)))])).toEqual(
      [1, 2, 3].map(mark => asRead(packet(mark))),
    )
  })
})

describe('what ends a connection', () => {
  const alertOf = (...records: Uint8Array[]) => {
    const { reader } = serverReader()
    const read = readAll(reader, records)
    return [read.at(-1), reader.alert]
  }
  const maker = () => new RecordMaker(tls13)

  test('close_notify, even with more behind it', () => {
    const sender = maker()
    const close = sender.record(Uint8Array.of(1, 0), 21)
    const { reader } = serverReader()
    expect(readAll(reader, [concat(close, sender.frame(FrameType.data, packet(1)))])).toEqual([{ end: 'ended' }])
    expect(reader.alert).toBeUndefined()
    // It stays so.
    expect(readAll(reader, [packet(1)])).toEqual([{ end: 'ended' }])
  })

  test('other alerts, but not user_canceled', () => {
    const sender = maker()
    const { reader } = serverReader()
    const records = [sender.record(Uint8Array.of(1, 90), 21), sender.frame(FrameType.data, packet(1))]
    expect(readAll(reader, [...records, sender.record(Uint8Array.of(1, 80), 21)])).toEqual([
      asRead(packet(1)),
      { end: 'the peer sent alert 80' },
    ])
  })

  test('malformed and unexpected records', () => {
    expect(alertOf(maker().record(Uint8Array.of(1, 0, 0), 21))).toEqual([{ end: 'a malformed alert' }, 50])
    expect(alertOf(maker().record(Uint8Array.of(1), 20))).toEqual([{ end: 'a record of type 20' }, 10])
    expect(alertOf(maker().record(Uint8Array.of(1), 24))).toEqual([{ end: 'a record of type 24' }, 10])
    // In the clear.
    expect(alertOf(Uint8Array.of(20, 3, 3, 0, 1, 1))[1]).toBe(10)
    expect(alertOf(Uint8Array.of(21, 3, 3, 0, 2, 1, 0))[1]).toBe(10)
    expect(alertOf(Uint8Array.of(23, 3, 3, 0, 0))[1]).toBe(20)
  })

  test('a record that is too long, before it is waited for', () => {
    expect(alertOf(Uint8Array.of(23, 3, 3, 0x48, 1))).toEqual([{ end: 'a record that is too long' }, 22])
    expect(alertOf(Uint8Array.of(23, 3, 3), Uint8Array.of(0xff, 0xff))).toEqual([
      { end: 'a record that is too long' },
      22,
    ])
    expect(alertOf(maker().record(new Uint8Array(16_385)))).toEqual([{ end: 'a record that is too long' }, 22])
  })

  test('data that is no frame', () => {
    expect(alertOf(maker().record(Buffer.from('GET / HTTP/1.1\r\n\r\n')))).toEqual([{ end: 'bad-magic' }, undefined])
  })
})

describe('handshake messages', () => {
  const keyUpdate = (request: number) => Uint8Array.of(24, 0, 0, 1, request)

  test('a server takes no session ticket, no hello and no finished', () => {
    for (const type of [0, 1, 2, 4, 8, 11, 13, 15, 20]) {
      const { reader } = serverReader()
      expect(readAll(reader, [new RecordMaker(tls13).record(Uint8Array.of(type, 0, 0, 1, 0), 22)])).toEqual([
        { end: `handshake message ${type}` },
      ])
      expect(reader.alert).toBe(10)
    }
  })

  test('a client skips session tickets, in one record or over several', () => {
    const { client } = layerPair(tls13)
    const reader = new TlsFrameReader(client)
    const server = new RecordMaker(tls13, 'server')
    const ticket = concat(Uint8Array.of(4, 0, 1, 0), new Uint8Array(256).fill(0xaa))
    const records = [
      server.record(concat(ticket, ticket), 22),
      server.frame(FrameType.data, packet(1)),
      server.record(ticket.subarray(0, 2), 22),
      server.record(ticket.subarray(2, 100), 22),
      server.record(ticket.subarray(100), 22),
      server.frame(FrameType.data, packet(2)),
      // Data within a message.
      server.record(ticket.subarray(0, 100), 22),
      server.frame(FrameType.data, packet(3)),
    ]
    expect(readAll(reader, [concat(...records)])).toEqual([
      asRead(packet(1)),
      asRead(packet(2)),
      { end: 'a record within a handshake message' },
    ])
  })

  test('a key update changes the keys of what follows; a requested one is answered before the next data', () => {
    const { client, server } = layerPair(tls13)
    const out = new Uint8Array(4096)
    const reader = new TlsFrameReader(server)
    const length = client.sealKeyUpdate(out, 0)
    expect(readAll(reader, [out.slice(0, length)])).toEqual([])
    expect(server.keyUpdates).toBe(1)
    expect(server.keyUpdateDue).toBe(false)
    // Under the old keys nothing opens any more.
    expect(readAll(reader, [new RecordMaker(tls13).frame(FrameType.data, packet(1))])).toHaveLength(1)
    expect(reader.alert).toBe(20)

    const asked = layerPair(tls13).server
    readAll(new TlsFrameReader(asked), [new RecordMaker(tls13).record(keyUpdate(1), 22)])
    expect(asked.keyUpdateDue).toBe(true)
    const answer = asked.sealKeyUpdate(out, 0)
    expect(asked.keyUpdateDue).toBe(false)
    expect(answer).toBe(5 + 5 + 17)
  })

  test('a malformed key update, one with more behind it, and too many of them end it', () => {
    const ends = (...contents: Uint8Array[]) => {
      const maker = new RecordMaker(tls13)
      return readAll(
        serverReader().reader,
        contents.map(content => maker.record(content, 22)),
      ).at(-1)
    }
    expect(ends(keyUpdate(2))).toEqual({ end: 'a malformed key update' })
    expect(ends(Uint8Array.of(24, 0, 0, 2, 0, 0))).toEqual({ end: 'a malformed key update' })
    expect(ends(concat(keyUpdate(0), keyUpdate(0)))).toEqual({ end: 'a key update within a record' })
    expect(ends(new Uint8Array(0))).toEqual({ end: 'an empty handshake record' })

    const { client, server } = layerPair(tls13)
    const reader = new TlsFrameReader(server)
    const out = new Uint8Array(4096)
    const update = () => readAll(reader, [out.slice(0, client.sealKeyUpdate(out, 0))])
    for (let i = 0; i < 32; i++) expect(update()).toEqual([])
    expect(update()).toEqual([{ end: 'too many key updates' }])
  })

  test('renegotiation of TLS 1.2 ends it', () => {
    const suite = tlsSuite('TLSv1.2', 'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256')!
    const record = new RecordMaker(suite).record(Uint8Array.of(1, 0, 0, 1, 0), 22)
    expect(readAll(serverReader(suite).reader, [record])).toEqual([{ end: 'renegotiation' }])
  })
})

test('any bytes, and any change of good ones, are read to an end without a throw, and memory is bounded', () => {
  const runs = Number(process.env.FUZZ_RUNS ?? 3000)
  const seed = Number(process.env.FUZZ_SEED ?? 20_261)
  const random = seededRandom(seed)
  const next = (bound: number) => randomBelow(random, bound)
  for (let run = 0; run < runs; run++) {
    const [version, name] = suiteNames[next(suiteNames.length)]!
    const suite = tlsSuite(version, name)!
    const maker = new RecordMaker(suite)
    const contents = Array.from({ length: 1 + next(6) }, () => {
      const bytes = random.fill(new Uint8Array(next(next(5) === 0 ? 5000 : 60)))
      const kind = next(6)
      if (kind === 0) return maker.record(bytes, 20 + next(6))
      if (kind === 1) return maker.record(concat(Uint8Array.of(24, 0, 0, 1, next(3)), bytes.subarray(0, next(2))), 22)
      if (kind === 2) return bytes
      return maker.frame([0, 3, 4, 5, 7, 8, 9, 1][next(8)] as FrameType, bytes)
    })
    const stream = concat(...contents)
    for (let flips = next(3); flips > 0 && stream.length > 0; flips--) stream[next(stream.length)]! ^= 1 << next(8)
    const { reader } = serverReader(suite)
    try {
      readAll(reader, cutAnywhere(stream, next))
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed} run ${run}`, { cause: error })
    }
    expect(reader.pendingBytes).toBeLessThan(5 + 16_384 + 2048 + 65_535 + 8)
  }
})
