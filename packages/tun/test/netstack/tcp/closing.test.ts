import { describe, expect, test } from 'vitest'
import { establishedWire, type WireOptions } from './wire.ts'

describe('we close first', () => {
  test('FIN, its ACK, the peer goes on as long as it likes, FIN, time-wait for 60 s', () => {
    const wire = establishedWire()
    wire.connection.shutdown(wire.now)
    expect([wire.sentText(), wire.connection.state]).toEqual([['FA 1 1'], 'fin-wait-1'])
    wire.receive({ ack: 2 })
    expect(wire.connection.state).toBe('fin-wait-2')
    for (let i = 0; i < 10; i++) {
      wire.advance(3_600_000)
      wire.receive({ seq: 1 + 100 * i, ack: 2, length: 100 })
      expect(wire.connection.read()!.length).toBe(100)
    }
    expect(wire.outputs()).toEqual(['readable'])
    wire.sent()
    wire.receive({ flags: 'FA', seq: 1001, ack: 2 })
    expect([wire.outputs(), wire.sentText(), wire.connection.state]).toEqual([['ended'], ['A 2 1002'], 'time-wait'])
    wire.advance(59_999)
    expect(wire.outputs()).toEqual([])
    wire.advance(1)
    expect([wire.outputs(), wire.connection.closed, wire.connection.deadline]).toEqual([['closed'], true, undefined])
  })

  test('FIN with the ACK of ours', () => {
    const wire = establishedWire()
    wire.connection.shutdown(wire.now)
    wire.sent()
    wire.receive({ flags: 'FA', ack: 2 })
    expect([wire.outputs(), wire.sentText(), wire.connection.state]).toEqual([['ended'], ['A 2 2'], 'time-wait'])
  })

  test('both at once (RFC 9293 §3.6, figure 13)', () => {
    const wire = establishedWire()
    wire.connection.shutdown(wire.now)
    wire.sent()
    wire.receive({ flags: 'FA', ack: 1 })
    expect([wire.sentText(), wire.connection.state]).toEqual([['A 2 2'], 'closing'])
    wire.receive({ seq: 2, ack: 2 })
    expect([wire.outputs(), wire.connection.state]).toEqual([['ended'], 'time-wait'])
  })

  test('FIN rides on the last data, and is repeated with it', () => {
    const wire = establishedWire()
    wire.connection.write(new Uint8Array(2000), wire.now)
    wire.connection.shutdown(wire.now)
    expect(wire.sentText()).toEqual(['A 1+1460 1', 'FPA 1461+540 1'])
    wire.receive({ ack: 1461 })
    expect(wire.connection.state).toBe('fin-wait-1')
    expect(wire.advance(5000).map(({ flags, seq, length }) => [flags, seq, length])[0]).toEqual(['FPA', 1461, 540])
    wire.receive({ ack: 2002 })
    expect(wire.connection.state).toBe('fin-wait-2')
  })

  test('nothing can be written any more', () => {
    const wire = establishedWire()
    wire.connection.shutdown(wire.now)
    expect([wire.connection.write(new Uint8Array(5), wire.now), wire.connection.writableBytes]).toEqual([0, 0])
    wire.connection.shutdown(wire.now)
    expect(wire.sentText()).toEqual(['FA 1 1'])
  })
})

describe('the peer closes first', () => {
  test('we go on as long as we like', () => {
    const wire = establishedWire()
    wire.receive({ flags: 'FA' })
    expect([wire.outputs(), wire.sentText(), wire.connection.state]).toEqual([['ended'], ['A 1 2'], 'close-wait'])
    wire.connection.write(new Uint8Array(100), wire.now)
    expect(wire.sentText()).toEqual(['PA 1+100 2'])
    wire.receive({ seq: 2, ack: 101 })
    wire.connection.shutdown(wire.now)
    expect([wire.sentText(), wire.connection.state]).toEqual([['FA 101 2'], 'last-ack'])
    wire.receive({ seq: 2, ack: 102 })
    expect([wire.outputs(), wire.connection.closed, wire.connection.deadline]).toEqual([['closed'], true, undefined])
  })

  test('FIN that comes before its data waits for it', () => {
    const wire = establishedWire()
    wire.receive({ flags: 'FA', seq: 101, length: 50 })
    expect([wire.outputs(), wire.connection.state]).toEqual([[], 'established'])
    expect(wire.sent()[0]!.sack).toEqual([[101, 152]])
    wire.receive({ seq: 1, length: 100 })
    expect([wire.outputs(), wire.connection.readableBytes]).toEqual([['readable', 'ended'], 150])
    expect(wire.sentText()).toEqual(['A 1 152'])
  })

  test('FIN that comes again is acknowledged again', () => {
    const wire = establishedWire()
    wire.receive({ flags: 'FA' })
    wire.sent()
    wire.receive({ flags: 'FA' })
    expect([wire.sentText(), wire.outputs()]).toEqual([['A 1 2'], ['ended']])
  })

  test('data behind FIN is not taken', () => {
    const wire = establishedWire()
    wire.receive({ flags: 'FA', length: 10 }, { seq: 12, length: 100 })
    expect([wire.connection.readableBytes, wire.sentText()]).toEqual([10, ['A 1 12']])
  })

  test('FIN at a closed window is taken: it needs no room', () => {
    const wire = establishedWire({ initialReceiveWindow: 2048, maxReceiveWindow: 2048, windowScaling: false })
    wire.receive({ length: 1400 }, { seq: 1401, length: 648 })
    expect(wire.sent().at(-1)!.window).toBe(0)
    wire.receive({ flags: 'FA', seq: 2049 })
    expect(wire.outputs()).toEqual(['readable', 'ended'])
  })
})

describe('time-wait', () => {
  const waiting = (options: WireOptions = {}, timestamps?: [number, number]) => {
    const wire = establishedWire(options, timestamps ? { timestamps } : {})
    const stamp = timestamps ? { timestamps } : {}
    wire.connection.shutdown(wire.now)
    wire.sent()
    wire.receive({ flags: 'FA', ack: 2, ...stamp })
    wire.sent()
    wire.outputs()
    expect(wire.connection.state).toBe('time-wait')
    return wire
  }

  test('FIN that comes again is acknowledged, and the wait begins anew', () => {
    const wire = waiting()
    wire.advance(50_000)
    wire.receive({ flags: 'FA', ack: 2 })
    expect(wire.sentText()).toEqual(['A 2 2'])
    wire.advance(59_000)
    expect(wire.outputs()).toEqual([])
    wire.advance(1000)
    expect(wire.outputs()).toEqual(['closed'])
  })

  test('what it holds is nothing', () => {
    expect(waiting().connection.heldBytes).toBe(0)
  })

  // RFC 9293 §3.10.7.4, RFC 6191 §2.
  test.each<[string, [number, number] | undefined, number, [number, number] | undefined, boolean]>([
    ['a higher number', undefined, 3, undefined, true],
    ['a much higher number', undefined, 1_000_000, undefined, true],
    ['an equal number', undefined, 2, undefined, false],
    ['a lower number', undefined, -500, undefined, false],
    ['a lower number and a newer timestamp', [100, 0], -500, [101, 0], true],
    ['a higher number and an equal timestamp', [100, 0], 500, [100, 0], true],
    ['a lower number and an equal timestamp', [100, 0], -500, [100, 0], false],
    ['a higher number and an older timestamp', [100, 0], 500, [99, 0], false],
    ['a higher number and no timestamp', [100, 0], 500, undefined, true],
  ])('a SYN with %s', (_, before, seq, after, replaced) => {
    const wire = waiting({}, before)
    expect(wire.isReplacedBy({ flags: 'S', seq, ...(after ? { timestamps: after } : {}) })).toBe(replaced)
  })

  test('a SYN that does not begin anew is challenged', () => {
    const wire = waiting()
    wire.receive({ flags: 'S', seq: -500 })
    expect(wire.sentText()).toEqual(['A 2 2'])
  })

  test('RST with the exact number ends it', () => {
    const wire = waiting()
    wire.receive({ flags: 'R', seq: 2 })
    expect(wire.connection.closed).toBe(true)
  })
})

describe('giving up', () => {
  test('`abort` sends RST with the number of the next byte, and forgets all', () => {
    const wire = establishedWire()
    wire.connection.write(new Uint8Array(100), wire.now)
    wire.sent()
    wire.receive({ length: 10 })
    wire.outputs()
    wire.connection.abort(wire.now)
    expect(wire.sentText()).toEqual(['RA 101 11'])
    expect([wire.outputs(), wire.connection.heldBytes, wire.connection.deadline]).toEqual([['closed'], 0, undefined])
    expect(wire.connection.read()).toBeUndefined()
    wire.receive({ length: 10 })
    expect(wire.sentText()).toEqual([])
  })

  test.each(['fin-wait-1', 'fin-wait-2', 'close-wait', 'closing', 'last-ack'])('`abort` in %s', state => {
    const wire = establishedWire()
    if (state === 'close-wait' || state === 'last-ack') wire.receive({ flags: 'FA' })
    if (state !== 'close-wait') wire.connection.shutdown(wire.now)
    wire.sent()
    if (state === 'fin-wait-2') wire.receive({ ack: 2 })
    if (state === 'closing') wire.receive({ flags: 'FA', ack: 1 })
    expect(wire.connection.state).toBe(state)
    wire.connection.abort(wire.now)
    expect(wire.sent().at(-1)!.flags).toBe('RA')
  })

  test.each(['fin-wait-1', 'fin-wait-2', 'close-wait', 'closing', 'last-ack'])('RST in %s is a reset', state => {
    const wire = establishedWire()
    const peerClosed = state === 'close-wait' || state === 'last-ack'
    if (peerClosed) wire.receive({ flags: 'FA' })
    if (state !== 'close-wait') wire.connection.shutdown(wire.now)
    wire.sent()
    if (state === 'fin-wait-2') wire.receive({ ack: 2 })
    if (state === 'closing') wire.receive({ flags: 'FA', ack: 1 })
    wire.outputs()
    wire.receive({ flags: 'R', seq: peerClosed || state === 'closing' ? 2 : 1 })
    expect(wire.outputs()).toEqual(['reset', 'closed'])
  })
})
