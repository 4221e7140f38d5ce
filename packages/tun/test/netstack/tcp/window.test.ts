import { describe, expect, test } from 'vitest'
import { CHUNK_BYTES, MemoryBudget } from '../../../src/netstack/tcp/memory-budget.ts'
import { establishedWire, streamBytes } from './wire.ts'

const small = { initialReceiveWindow: 8192, maxReceiveWindow: 8192, windowScaling: false }

describe('the window that is offered (RFC 9293 §3.8.6)', () => {
  test('what waits to be read is taken off, and its right edge stays', () => {
    const wire = establishedWire(small)
    const windows: number[] = []
    for (let i = 0; i < 8; i++) {
      wire.receive({ seq: 1 + 1024 * i, length: 1024 })
      windows.push(wire.sent().at(-1)!.window)
    }
    expect(windows).toEqual([7168, 6144, 5120, 4096, 3072, 2048, 1024, 0])
    wire.receive({ seq: 8193, length: 1024 })
    expect([wire.connection.readableBytes, wire.sent().at(-1)]).toMatchObject([8192, { ack: 8193, window: 0 }])
  })

  test('a reader that makes room for two segments is worth a segment (§3.8.6.2.2)', () => {
    const wire = establishedWire(small)
    for (let i = 0; i < 8; i++) wire.receive({ seq: 1 + 1024 * i, length: 1024 })
    wire.sent()
    wire.connection.read(1)
    wire.connection.read(1023)
    expect(wire.sentText()).toEqual([])
    wire.connection.read(1024)
    expect(wire.sent()).toMatchObject([{ flags: 'A', window: 2048 }])
    expect(wire.connection.read()).toEqual(streamBytes(2049, 6144))
    expect(wire.sent()).toMatchObject([{ flags: 'A', window: 8192 }])
  })

  test('a reader of single bytes causes no silly windows', () => {
    const wire = establishedWire(small)
    for (let i = 0; i < 8; i++) wire.receive({ seq: 1 + 1024 * i, length: 1024 })
    wire.sent()
    const windows: number[] = []
    for (let i = 0; i < 8192; i++) {
      wire.connection.readInto(new Uint8Array(1))
      windows.push(...wire.sent().map(({ window }) => window))
    }
    expect(windows.length).toBeLessThanOrEqual(4)
    expect(Math.min(...windows)).toBeGreaterThanOrEqual(1024)
  })

  test('it grows while the reader takes it all within a round trip, up to the maximum', () => {
    const wire = establishedWire({ maxReceiveWindow: 1_048_576 }, { scale: 0, timestamps: [1, 0] })
    let seq = 1
    let widest = 0
    for (let round = 0; round < 12; round++) {
      const echo = wire.now
      wire.now += 50
      const limit = Math.max(65_536, widest)
      for (const end = seq + limit - 1448; seq < end; seq += 1448) {
        wire.receive({ seq, length: 1448, timestamps: [1, echo] })
        wire.connection.read()
        wire.sent()
      }
      wire.receive({ seq, length: 1, timestamps: [1, echo] })
      seq++
      wire.connection.read()
      widest = Math.max(widest, wire.sent().at(-1)!.window * 2 ** 5)
    }
    expect(widest).toBeGreaterThan(1_000_000)
    expect(widest).toBeLessThanOrEqual(1_048_576)
  })

  test('it does not grow for a reader that is slow', () => {
    const wire = establishedWire({ maxReceiveWindow: 1_048_576 }, { scale: 0, timestamps: [1, 0] })
    let seq = 1
    for (let round = 0; round < 200; round++) {
      wire.now += 50
      for (let room = 8; room > 0; room--) {
        wire.receive({ seq, length: 1448, timestamps: [1, wire.now - 50] })
        const last = wire.sent().at(-1)
        if (!last || last.ack < seq + 1448) break
        seq += 1448
      }
      wire.connection.read(50)
      expect(wire.connection.readableBytes).toBeLessThanOrEqual(65_536)
      expect(wire.memory.usedBytes).toBeLessThanOrEqual(65_536 + 2 * CHUNK_BYTES)
    }
  })
})

describe('the window of the peer', () => {
  test('is never exceeded, and a small piece waits for more (RFC 9293 §3.8.6.2.1)', () => {
    const wire = establishedWire({}, { window: 5000 }, { window: 5000 })
    wire.connection.write(new Uint8Array(10_000), wire.now)
    expect(wire.sentText()).toEqual(['A 1+1460 1', 'A 1461+1460 1', 'A 2921+1460 1'])
    wire.receive({ ack: 4381, window: 5000 })
    expect(wire.sent().map(({ length }) => length)).toEqual([1460, 1460, 1460])
  })

  test('a window that stays small is filled after a while', () => {
    const wire = establishedWire({}, { window: 5000 }, { window: 100 })
    wire.connection.write(new Uint8Array(10_000), wire.now)
    expect(wire.sentText()).toEqual([])
    expect(wire.advance(5000).filter(({ length }) => length > 0)[0]).toMatchObject({ seq: 1, length: 100 })
  })

  test('when closed it is probed with growing pauses for as long as the peer answers (RFC 9293 §3.8.6.1)', () => {
    const wire = establishedWire({ roundTripMs: 100 }, {}, { window: 0 })
    wire.connection.write(new Uint8Array(10_000), wire.now)
    expect(wire.sentText()).toEqual([])
    const gaps: number[] = []
    let last = wire.now
    while (wire.now < 86_400_000) {
      wire.now = wire.connection.deadline!
      wire.connection.handleDeadline(wire.now)
      const probes = wire.sent()
      if (probes.length === 0) continue
      expect(probes).toMatchObject([{ flags: 'A', seq: 0, length: 0 }])
      gaps.push(wire.now - last)
      last = wire.now
      wire.receive({ window: 0 })
    }
    expect(gaps.slice(0, 4)).toEqual([300, 600, 1200, 2400])
    expect(Math.max(...gaps)).toBe(60_000)
    expect(wire.connection.state).toBe('established')
    wire.receive({ window: 10_000 })
    expect(wire.sent().reduce((sum, { length }) => sum + length, 0)).toBe(10_000)
  })

  test('probes that nobody answers end the connection after three minutes', () => {
    const wire = establishedWire({}, {}, { window: 0 })
    wire.connection.write(new Uint8Array(10), wire.now)
    const start = wire.now
    wire.advance(179_000)
    expect(wire.connection.state).toBe('established')
    wire.advance(120_000)
    expect(wire.outputs()).toEqual(['timed-out', 'closed'])
    expect(wire.now - start).toBeGreaterThan(180_000)
  })

  test('a window that closes on data in flight is outlived while the peer answers', () => {
    const wire = establishedWire()
    wire.connection.write(new Uint8Array(1000), wire.now)
    wire.sent()
    for (let i = 0; i < 60; i++) {
      wire.receive({ ack: 1, window: 0 })
      wire.advance(10_000)
    }
    expect(wire.connection.state).toBe('established')
    wire.receive({ ack: 1001, window: 1000 })
    expect(wire.outputs()).toEqual([])
  })

  test('an old segment does not change it (SND.WL1, SND.WL2)', () => {
    const wire = establishedWire({}, {}, { window: 3000 })
    wire.receive({ seq: 1, length: 10, window: 3000 }, { seq: 11, length: 10, window: 4000 })
    wire.sent()
    wire.receive({ seq: 5, length: 16, window: 0 })
    wire.connection.write(new Uint8Array(4000), wire.now)
    expect(wire.sent().reduce((sum, { length }) => sum + length, 0)).toBe(4000)
  })
})

describe('memory', () => {
  test('a writer gets as much as the buffer takes, and hears when there is room', () => {
    const wire = establishedWire()
    expect(wire.connection.writableBytes).toBe(65_536)
    expect(wire.connection.write(new Uint8Array(100_000), wire.now)).toBe(65_536)
    expect(wire.connection.write(new Uint8Array(100_000), wire.now)).toBe(0)
    const sent = wire.sent().reduce((sum, { length }) => sum + length, 0)
    expect(wire.outputs()).toEqual([])
    wire.receive({ ack: 1 + sent })
    wire.sent()
    wire.receive({ ack: 1 + 3 * sent })
    expect(wire.outputs()).toEqual(['writable'])
    expect(wire.connection.writableBytes).toBeGreaterThan(16_384)
  })

  test('at the limit of the budget a flow still has two chunks each way', () => {
    const memory = new MemoryBudget(4 * CHUNK_BYTES)
    while (memory.take());
    const wire = establishedWire({ memory })
    expect(wire.connection.write(new Uint8Array(65_536), wire.now)).toBeGreaterThan(CHUNK_BYTES)
    wire.receive({ length: 1400 }, { seq: 1401, length: 1400 })
    expect(wire.connection.readableBytes).toBe(2800)
    expect(wire.connection.heldBytes).toBeLessThanOrEqual(4 * CHUNK_BYTES)
  })

  test('without memory, data out of order makes room for data in order', () => {
    const memory = new MemoryBudget(CHUNK_BYTES)
    memory.take()
    const wire = establishedWire({ memory })
    wire.receive({ seq: 40_001, length: 1000 }, { seq: 50_001, length: 1000 })
    wire.sent()
    for (let seq = 1; seq < 10_000; seq += 1000) wire.receive({ seq, length: 1000 })
    expect(wire.sent().at(-1)).toMatchObject({ ack: 10_001, sack: [] })
    expect(wire.connection.read()).toEqual(streamBytes(1, 10_000))
  })

  test('all of it is given back', () => {
    const wire = establishedWire()
    wire.connection.write(new Uint8Array(60_000), wire.now)
    wire.receive({ seq: 1, length: 1000 }, { seq: 5000, length: 1000 })
    expect(wire.memory.usedBytes).toBeGreaterThan(60_000)
    wire.receive({ flags: 'R', seq: 1001 })
    expect(wire.connection.read()!.length).toBe(1000)
    wire.connection.release()
    expect([wire.memory.usedBytes, wire.connection.heldBytes]).toEqual([0, 0])
  })
})
