import { describe, expect, test } from 'vitest'
import { establishedWire, type Incoming, ourInitial, Wire } from './wire.ts'

describe('accepting', () => {
  test('nothing is answered before `confirm`, and repeated SYNs are ignored', () => {
    const wire = new Wire({}, { mss: 1000 })
    wire.receive({ flags: 'S', seq: 0, mss: 1000 }, { flags: 'S', seq: 0, mss: 1000 })
    expect([wire.sentText(), wire.outputs(), wire.connection.state]).toEqual([[], [], 'dialling'])
    expect(wire.connection.deadline).toBeUndefined()
    wire.connection.confirm(wire.now)
    expect(wire.sentText()).toEqual(['SA 0 1'])
    wire.receive({})
    expect([wire.outputs(), wire.connection.state]).toEqual([['established'], 'established'])
  })

  test('`refuse` answers with RST that acknowledges the SYN (RFC 9293 §3.5.2)', () => {
    const wire = new Wire({}, {})
    wire.connection.refuse(wire.now)
    const [answer] = wire.sent()
    expect(answer).toMatchObject({ flags: 'RA', ack: 1 })
    expect((answer!.seq + ourInitial) >>> 0).toBe(0)
    expect([wire.outputs(), wire.connection.closed]).toEqual([['closed'], true])
  })

  test('`refuse` can leave the answer to the caller', () => {
    const wire = new Wire({}, {})
    wire.connection.refuse(wire.now, true)
    expect([wire.sentText(), wire.connection.closed]).toEqual([[], true])
  })

  // RFC 9293 §3.10.7.2: RST of a peer that no longer wants the connection.
  test.each([
    ['RA', 1],
    ['R', 1],
    ['R', 0],
  ] as const)('%s with number %i withdraws a SYN that waits', (flags, seq) => {
    const wire = new Wire({}, {})
    wire.receive({ flags, seq })
    expect([wire.outputs(), wire.sentText()]).toEqual([['reset', 'closed'], []])
  })

  test('RST with another number does not', () => {
    const wire = new Wire({}, {})
    wire.receive({ flags: 'R', seq: 50 })
    expect([wire.outputs(), wire.connection.state]).toEqual([[], 'dialling'])
  })

  test('another SYN of the same ends takes the place of one that waits', () => {
    const wire = new Wire({}, {})
    expect(wire.isReplacedBy({ flags: 'S', seq: 0 })).toBe(false)
    expect(wire.isReplacedBy({ flags: 'S', seq: 77 })).toBe(true)
    wire.receive({ flags: 'S', seq: 77 })
    expect(wire.outputs()).toEqual(['reset', 'closed'])
  })

  test('a SYN that comes again after the SYN-ACK gets it again', () => {
    const wire = new Wire({}, {})
    wire.connection.confirm(wire.now)
    wire.sent()
    wire.receive({ flags: 'S', seq: 0 })
    expect(wire.sentText()).toEqual(['SA 0 1'])
  })

  test('the SYN-ACK is repeated with growing pauses, for at least three minutes (RFC 9293 §3.8.3)', () => {
    const wire = new Wire({}, {})
    wire.connection.confirm(wire.now)
    const start = wire.now
    const times = wire.advance(600_000).map(({ at }) => (at - start) / 1000)
    expect(times.slice(0, 7)).toEqual([0, 1, 3, 7, 15, 31, 63])
    expect(times.at(-1)).toBeGreaterThanOrEqual(120)
    expect([wire.outputs(), wire.connection.closed]).toEqual([['timed-out', 'closed'], true])
    expect(wire.connection.deadline).toBeUndefined()
  })

  test('an ACK of something that was not sent gets a RST with its number (RFC 9293 §3.10.7.4)', () => {
    const wire = new Wire({}, {})
    wire.connection.confirm(wire.now)
    wire.sent()
    wire.receive({ ack: 500 })
    expect(wire.sentText()).toEqual(['R 500 -1'])
    expect(wire.connection.state).toBe('syn-received')
  })

  test('RST for the SYN-ACK ends it', () => {
    const wire = new Wire({}, {})
    wire.connection.confirm(wire.now)
    wire.sent()
    wire.receive({ flags: 'R', seq: 1 })
    expect([wire.outputs(), wire.sentText()]).toEqual([['reset', 'closed'], []])
  })

  test('data with the ACK of the handshake is taken', () => {
    const wire = new Wire({}, {})
    wire.connection.confirm(wire.now)
    wire.sent()
    wire.receive({ length: 10 })
    expect([wire.outputs(), wire.connection.readableBytes, wire.sentText()]).toEqual([
      ['established', 'readable'],
      10,
      ['A 1 11'],
    ])
  })

  test('what is no SYN is refused as misuse', () => {
    expect(() => new Wire({}, { flags: 'SA' })).toThrow(TypeError)
  })
})

describe('opening', () => {
  test('SYN, SYN-ACK, ACK', () => {
    const wire = new Wire()
    expect(wire.sentText()).toEqual(['S 0 -1'])
    wire.receive({ flags: 'SA', seq: 0, mss: 1460 })
    expect([wire.outputs(), wire.sentText()]).toEqual([['established'], ['A 1 1']])
  })

  test('what was written before the handshake is sent right after it', () => {
    const wire = new Wire()
    wire.sent()
    expect(wire.connection.write(new Uint8Array(10), wire.now)).toBe(10)
    wire.connection.shutdown(wire.now)
    wire.receive({ flags: 'SA', seq: 0, mss: 1460 })
    expect([wire.sentText(), wire.connection.state]).toEqual([['FPA 1+10 1'], 'fin-wait-1'])
  })

  test('RST that acknowledges the SYN refuses the connection', () => {
    const wire = new Wire()
    wire.sent()
    wire.receive({ flags: 'RA', seq: 0 })
    expect([wire.outputs(), wire.connection.closed]).toEqual([['refused', 'closed'], true])
  })

  // RFC 9293 §3.10.7.3, first and second.
  test.each<[string, Incoming, string[]]>([
    ['RST without ACK is ignored', { flags: 'R', seq: 0 }, []],
    ['RST with a wrong ACK is ignored', { flags: 'RA', seq: 0, ack: 9 }, []],
    ['an ACK of nothing is answered with RST', { flags: 'A', ack: 9 }, ['R 9 -1']],
    ['a SYN-ACK of nothing is answered with RST', { flags: 'SA', seq: 0, ack: 0 }, ['R 0 -1']],
    ['a plain ACK is ignored', { flags: 'A', ack: 1 }, []],
    ['a FIN is ignored', { flags: 'F', seq: 0 }, []],
  ])('%s', (_, segment, answer) => {
    const wire = new Wire()
    wire.sent()
    wire.receive(segment)
    expect([wire.sentText(), wire.outputs(), wire.connection.state]).toEqual([answer, [], 'syn-sent'])
  })

  test('both may open at once (RFC 9293 §3.5, figure 8)', () => {
    const wire = new Wire()
    wire.sent()
    wire.receive({ flags: 'S', seq: 0, mss: 1460 })
    expect([wire.sentText(), wire.connection.state]).toEqual([['SA 0 1'], 'syn-received'])
    wire.receive({ flags: 'SA', seq: 0, ack: 1, mss: 1460 })
    expect([wire.outputs(), wire.connection.state]).toEqual([['established'], 'established'])
  })

  test.each(['net-unreachable', 'host-unreachable', 'port-unreachable', 'admin-prohibited'] as const)(
    'ICMP %s for the SYN ends it, for another number it does not (RFC 5927 §4)',
    kind => {
      const wire = new Wire()
      wire.sent()
      wire.connection.handleIcmpError(kind, 5, wire.now)
      expect(wire.outputs()).toEqual([])
      wire.connection.handleIcmpError(kind, 0xffff_ff00, wire.now)
      expect(wire.connection.poll()).toEqual({ type: 'unreachable', kind })
      expect(wire.outputs()).toEqual(['closed'])
    },
  )

  test('an ICMP error is only a hint to a connection that works (RFC 5461 §3)', () => {
    const wire = establishedWire()
    wire.connection.handleIcmpError('host-unreachable', 0xffff_ff00, wire.now)
    expect([wire.outputs(), wire.connection.state]).toEqual([[], 'established'])
  })
})

describe('options', () => {
  test('a SYN offers MSS, SACK, timestamps and a window scale', () => {
    const [syn] = new Wire({ mtu: 1400 }).sent()
    expect(syn).toMatchObject({ mss: 1360, sackPermitted: true, scale: 7, timestamps: [10_000, 0] })
  })

  test('the MSS of IPv6 leaves room for its header', () => {
    expect(new Wire({ mtu: 1400, v6: true }).sent()[0]!.mss).toBe(1340)
  })

  // RFC 7323 §2.2 and §3.2, RFC 2018 §2: a SYN-ACK has only what the SYN offered.
  test.each<[string, Incoming, object]>([
    ['nothing', {}, { scale: -1, sackPermitted: false, timestamps: undefined, window: 65_535 }],
    ['a scale', { scale: 3 }, { scale: 7, sackPermitted: false, timestamps: undefined }],
    ['SACK', { sackPermitted: true }, { scale: -1, sackPermitted: true, timestamps: undefined }],
    ['timestamps', { timestamps: [77, 0] }, { scale: -1, sackPermitted: false, timestamps: [10_000, 77] }],
  ])('a SYN-ACK to a SYN that offers %s', (_, syn, expected) => {
    const wire = new Wire({}, syn)
    wire.connection.confirm(wire.now)
    expect(wire.sent()[0]).toMatchObject(expected)
  })

  test('what is switched off is neither offered nor accepted', () => {
    const off = { timestamps: false, selectiveAcknowledgments: false, windowScaling: false }
    const expected = { scale: -1, sackPermitted: false, timestamps: undefined }
    expect(new Wire(off).sent()[0]).toMatchObject(expected)
    const wire = new Wire(off, { scale: 2, sackPermitted: true, timestamps: [1, 0] })
    wire.connection.confirm(wire.now)
    expect(wire.sent()[0]).toMatchObject(expected)
  })

  // RFC 9293 §3.7.1 (MUST-15, MUST-16): 536 and 1220 bytes unless the peer says otherwise; never more than the path carries.
  test.each<[string, boolean, number, Incoming, number]>([
    ['absent, IPv4', false, 1500, {}, 536],
    ['absent, IPv6', true, 1500, {}, 1220],
    ['88', false, 1500, { mss: 88 }, 88],
    ['536', false, 1500, { mss: 536 }, 536],
    ['1360', false, 1500, { mss: 1360 }, 1360],
    ['larger than the MTU', false, 1400, { mss: 8960 }, 1360],
    ['1360 with timestamps', false, 1500, { mss: 1360, timestamps: [5, 0] }, 1348],
    ['absurd', false, 1500, { mss: 0 }, 48],
  ])('segments to a peer whose MSS is %s', (_, v6, mtu, syn, expected) => {
    const wire = establishedWire({ mtu, v6 }, { mss: undefined as never, ...syn })
    wire.connection.write(new Uint8Array(3 * 1460), wire.now)
    const sent = wire.sent()
    expect(Math.max(...sent.map(({ length }) => length))).toBe(expected)
    expect(Math.max(...sent.map(({ packetBytes }) => packetBytes))).toBeLessThanOrEqual(mtu)
  })

  test.each(Array.from({ length: 15 }, (_, i) => i))('window scale %i on both sides (RFC 7323 §2.3)', scale => {
    const size = Math.max(65_536, 2 ** (scale + 2))
    const wire = new Wire(
      { windowScale: scale, initialReceiveWindow: size, maxReceiveWindow: Math.max(size, 4_194_304) },
      { mss: 1000, scale, window: 0 },
    )
    wire.connection.confirm(wire.now)
    expect(wire.sent()[0]).toMatchObject({ scale, window: 65_535 })
    wire.receive({ window: 3 })
    wire.connection.write(new Uint8Array(60_000), wire.now)
    const bytes = wire.sent().reduce((sum, { length }) => sum + length, 0)
    // The peer's window is 3 units; a remainder smaller than half of it waits.
    expect(bytes).toBeLessThanOrEqual(3 * 2 ** scale)
    expect(bytes).toBeGreaterThanOrEqual(Math.min(1.5 * 2 ** scale, 10_000))
    wire.receive({ length: 100, ack: 1 + bytes })
    wire.connection.read()
    const offered = wire.sent().at(-1)!.window * 2 ** scale
    expect(offered).toBeLessThanOrEqual(size)
    expect(offered).toBeGreaterThan(Math.min(size, 65_535 * 2 ** scale) - 2 ** scale - 1000)
  })

  test('a scale above 14 counts as 14 (RFC 7323 §2.3)', () => {
    const wire = establishedWire({}, { scale: 200, mss: 1000 }, { window: 1 })
    wire.connection.write(new Uint8Array(20_000), wire.now)
    expect(wire.sent().reduce((sum, { length }) => sum + length, 0)).toBe(10_000)
  })

  test.each([
    ['a length of 0', [8, 0, 1, 1]],
    ['a length beyond the header', [2, 40, 1, 1]],
    ['an unknown option before the MSS', [99, 4, 0, 0, 2, 4, 3, 0xe8]],
    ['garbage', [255, 254, 253, 252, 251, 250, 249, 248]],
  ])('%s does no harm (RFC 9293 MUST-6, MUST-7)', (_, bytes) => {
    const wire = new Wire({}, { rawOptions: Uint8Array.from(bytes) })
    wire.connection.confirm(wire.now)
    expect(wire.sentText()).toEqual(['SA 0 1'])
    wire.receive({})
    expect(wire.connection.state).toBe('established')
  })
})
