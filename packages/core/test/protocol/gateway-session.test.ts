import { ClientReason, FrameType, GatewaySession, readGatewayReason, writeClientReason } from '@twinbore/core'
import { machineComplianceTests } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { writeChannelNotice } from '../../src/protocol/probe-payload.ts'
import { parameters, SessionProbe } from './session-kit.ts'

const empty = new Uint8Array(0)

/** A gateway session with a stream. */
function onStream(changes: Parameters<typeof parameters>[0] = {}): SessionProbe<GatewaySession> {
  const probe = new SessionProbe(new GatewaySession(parameters(changes), {}, 0))
  probe.do((session, now) => session.streamAttached(parameters(changes), now))
  return probe
}

/** A gateway session whose client uses the datagram channel. */
function onDatagram(changes: Parameters<typeof parameters>[0] = {}): SessionProbe<GatewaySession> {
  const probe = onStream(changes)
  probe.do((session, now) => session.datagramOpened(1435, now))
  probe.now += 300
  probe.do((session, now) => session.noteReceived('datagram', 1, 100, now))
  expect(probe.session.activeChannel).toBe('datagram')
  probe.now += 200
  return probe
}

describe('which channel', () => {
  test('data goes by stream at once, by datagram when the client shows that it does so', () => {
    const probe = new SessionProbe(new GatewaySession(parameters(), {}, 0))
    expect(probe.session.activeChannel).toBe('none')
    expect(probe.do((session, now) => session.streamAttached(parameters(), now))).toEqual(['none>stream established'])
    expect(probe.do((session, now) => session.datagramOpened(1435, now))).toEqual(['datagram dpdRequest 4'])
    expect(probe.session.activeChannel).toBe('stream')
    probe.now = 50
    expect(probe.do((session, now) => session.noteReceived('datagram', 1, 60, now))).toEqual([
      'stream>datagram established',
    ])
  })

  test('a stock client that sends nothing is moved when it answered, without echo, a second after', () => {
    const probe = onStream()
    probe.do((session, now) => session.datagramOpened(1435, now))
    probe.now = 40
    probe.do((session, now) => session.handleDatagramFrame(FrameType.dpdResponse, empty, now))
    expect(probe.session.activeChannel).toBe('stream')
    probe.wait(2000)
    expect(probe.do((session, now) => session.handleDatagramFrame(FrameType.dpdResponse, empty, now))).toEqual([
      'stream>datagram established',
    ])
  })

  test('answers follow data of the client to the stream at once', () => {
    const probe = onDatagram()
    expect(probe.do((session, now) => session.noteReceived('stream', 1, 60, now))).toEqual([
      'datagram>stream peer-left-datagram',
      'datagram dpdRequest 4',
    ])
  })

  test('a packet of the stream that was overtaken is no reason to move', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.noteReceived('datagram', 1, 60, now))
    probe.now += 20
    probe.do((session, now) => session.noteReceived('stream', 1, 60, now))
    expect(probe.session.activeChannel).toBe('datagram')
  })

  test('latecomers of the datagram channel are no reason to move back, later data is', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.noteReceived('stream', 1, 60, now))
    probe.now += 100
    probe.do((session, now) => session.noteReceived('datagram', 1, 60, now))
    expect(probe.session.activeChannel).toBe('stream')
    probe.now += 500
    expect(probe.do((session, now) => session.noteReceived('datagram', 1, 60, now))).toEqual([
      'stream>datagram peer-returned',
    ])
  })

  test('what is sent and stays unanswered moves to the stream in less than 0.4 s', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.noteSent('datagram', 1, 60, now))
    const seen = probe.wait(400)
    expect(seen.filter(line => line === 'datagram dpdRequest 4')).toHaveLength(6)
    expect(seen.slice(-2)).toEqual(['datagram>stream datagram-silent', 'stream dpdRequest 5'])
    // A client whose datagrams are lost must not hear from the gateway that all is well; back once a probe is answered.
    expect(probe.wait(4000).filter(line => line.startsWith('datagram '))).toEqual([])
    expect(probe.echo()).toContain('stream>datagram datagram-recovered')
  })

  test('a client that said so is followed without data', () => {
    const probe = onDatagram()
    const notice = (channel: 'stream' | 'datagram') => writeChannelNotice(channel)
    probe.do((session, now) => session.handleStreamFrame(FrameType.dpdRequest, notice('stream'), now))
    expect(probe.session.activeChannel).toBe('stream')
    // Own proof counts less than what the client does.
    probe.now += 50
    probe.echo()
    expect(probe.session.activeChannel).toBe('stream')
    probe.do((session, now) => session.handleDatagramFrame(FrameType.dpdRequest, notice('datagram'), now))
    expect(probe.session.activeChannel).toBe('datagram')
  })

  test('a new association replaces the one before without a change', () => {
    const probe = onDatagram()
    expect(probe.do((session, now) => session.datagramOpened(1435, now))).toEqual(['datagram dpdRequest 4'])
    expect(probe.session.activeChannel).toBe('datagram')
  })

  test('without quick failover, the DPD interval decides', () => {
    const probe = new SessionProbe(new GatewaySession(parameters(), { quickFailover: false }, 0))
    probe.do((session, now) => session.streamAttached(parameters(), now))
    probe.do((session, now) => session.datagramOpened(1435, now))
    probe.do((session, now) => session.noteReceived('datagram', 1, 60, now))
    probe.do((session, now) => session.noteSent('datagram', 1, 60, now))
    probe.wait(19_000)
    probe.do((session, now) => session.handleStreamFrame(FrameType.keepalive, empty, now))
    expect(probe.session.activeChannel).toBe('datagram')
    probe.wait(1500)
    expect(probe.session.activeChannel).toBe('stream')
  })
})

describe('probes of the peer', () => {
  test('come back whole on the channel on which they came', () => {
    const probe = onDatagram()
    const payload = Uint8Array.from({ length: 1434 }, (_, i) => i)
    expect(probe.do((s, now) => s.handleDatagramFrame(FrameType.dpdRequest, payload, now))).toEqual([
      'datagram dpdResponse 1434',
    ])
    expect(probe.lastFrame('datagram', FrameType.dpdResponse)).toEqual(payload)
    expect(probe.do((s, now) => s.handleStreamFrame(FrameType.dpdRequest, Uint8Array.of(1, 2), now))).toEqual([
      'stream dpdResponse 2',
    ])
  })

  test('are answered at a bounded rate', () => {
    const probe = onDatagram()
    let answers = 0
    for (let i = 0; i < 10_000; i++) {
      probe.now += 1
      answers += probe.do((s, now) => s.handleDatagramFrame(FrameType.dpdRequest, Uint8Array.of(1), now)).length
    }
    expect(answers).toBeGreaterThan(500)
    expect(answers).toBeLessThan(700)
    expect(probe.session.stats().probesThrottled).toBe(10_000 - answers)
  })

  test('tell the path MTU: the largest that arrives', () => {
    const probe = onDatagram()
    for (const size of [1000, 1254, 1200]) {
      probe.do((s, now) => s.handleDatagramFrame(FrameType.dpdRequest, new Uint8Array(size), now))
    }
    expect(probe.wait(1500)).toContain('mtu 1254')
    expect(probe.session.mtu).toBe(1254)
  })
})

describe('the MTU', () => {
  test('fits the association, within bounds', () => {
    const probe = onStream()
    expect(probe.do((session, now) => session.datagramOpened(1300, now))).toContain('mtu 1299')
    expect(probe.do((session, now) => session.datagramOpened(9000, now))).toContain('mtu 1434')
    expect(probe.do((session, now) => session.datagramOpened(10, now))).toContain('mtu 576')
  })

  test('goes down when the operating system refuses a datagram', () => {
    const probe = onDatagram()
    expect(probe.do((session, now) => session.handleMessageTooBig(1435, now))).toEqual(['mtu 1426'])
    expect(probe.do((session, now) => session.handleMessageTooBig(1435, now))).toEqual([])
  })
})

describe('the end', () => {
  test('the user leaves: at once, and for good', () => {
    const probe = onDatagram()
    const bye = writeClientReason(ClientReason.userLeft, 'bye')
    expect(probe.do((session, now) => session.handleStreamFrame(FrameType.disconnect, bye, now))).toEqual([
      'close-stream',
      'close-datagram',
      'closed user-left',
    ])
    expect(probe.session.deadline).toBeUndefined()
    expect(probe.do((session, now) => session.handleStreamFrame(FrameType.dpdRequest, empty, now))).toEqual([])
    expect(probe.do((session, now) => session.disconnect('administrator', now))).toEqual([])
  })

  test.each([
    ['reconnecting', 0x91],
    ['paused', 0xd1],
    ['after a local error', 0x70],
  ])('a client that leaves %s is waited for', (_, reason) => {
    const probe = onDatagram({ disconnectedSeconds: 60 })
    const pause = writeClientReason(reason, '')
    probe.do((session, now) => session.handleStreamFrame(FrameType.disconnect, pause, now))
    expect(probe.session.activeChannel).toBe('none')
    probe.wait(59_000)
    expect(probe.session.closed).toBe(false)
    probe.do((session, now) => session.streamAttached(parameters(), now))
    probe.wait(5000)
    expect(probe.session.activeChannel).toBe('stream')
  })

  test('nobody comes back', () => {
    const probe = onStream({ disconnectedSeconds: 60 })
    probe.do((session, now) => session.streamClosed('ended', now))
    expect(probe.wait(59_999)).toEqual([])
    expect(probe.wait(1)).toEqual(['closed disconnected-too-long'])
  })

  test('a session lives on its datagram channel alone, until that is dead too', () => {
    const probe = onDatagram({ disconnectedSeconds: 60 })
    probe.do((session, now) => session.streamClosed('error', now))
    for (let i = 0; i < 100; i++) {
      probe.wait(5000)
      probe.do((session, now) => session.handleDatagramFrame(FrameType.keepalive, empty, now))
    }
    expect(probe.session.closed).toBe(false)
    // 60 s after it was heard last.
    probe.wait(59_000)
    expect(probe.session.closed).toBe(false)
    expect(probe.wait(1000)).toContain('closed disconnected-too-long')
  })

  test('a stream that answers nothing is closed after twice its DPD interval', () => {
    const probe = onStream()
    const seen = probe.wait(21_000)
    expect(seen).toEqual(['stream dpdRequest 0', 'stream dpdRequest 0', 'close-stream', 'stream>none stream-lost'])
  })

  test('no user data for the idle time, whatever else comes', () => {
    const probe = onStream({ idleSeconds: 30 })
    for (let i = 0; i < 5; i++) {
      probe.wait(5000)
      probe.do((session, now) => session.handleStreamFrame(FrameType.dpdRequest, empty, now))
    }
    probe.do((session, now) => session.noteReceived('stream', 1, 60, now))
    probe.wait(9000)
    probe.do((session, now) => session.handleStreamFrame(FrameType.keepalive, empty, now))
    probe.wait(9000)
    probe.do((session, now) => session.handleStreamFrame(FrameType.keepalive, empty, now))
    expect(probe.session.closed).toBe(false)
    const seen = probe.wait(12_000)
    expect(seen.slice(-2)).toEqual(['close-stream', 'closed idle-timeout'])
    expect(readGatewayReason(probe.lastFrame('stream', FrameType.disconnect)).reason).toBe('idle-timeout')
  })

  test('the maximum age is not extended by coming back', () => {
    const probe = onStream({ sessionSeconds: 100, sessionRemainingSeconds: 100 })
    probe.now = 60_000
    probe.do((session, now) => session.streamClosed('ended', now))
    const again = parameters({ sessionSeconds: 100, sessionRemainingSeconds: 100 })
    probe.do((session, now) => session.streamAttached(again, now))
    for (let i = 0; i < 3; i++) {
      probe.wait(10_000)
      probe.do((session, now) => session.handleStreamFrame(FrameType.keepalive, empty, now))
    }
    expect(probe.session.closed).toBe(false)
    expect(probe.wait(10_000).at(-1)).toBe('closed session-expired')
    expect(probe.now).toBe(100_000)
  })

  test('an administrator ends it: the client is told', () => {
    const probe = onDatagram()
    expect(probe.do((session, now) => session.disconnect('administrator', now))).toEqual([
      expect.stringMatching(/^stream disconnect /),
      'close-stream',
      'close-datagram',
      'closed administrator',
    ])
  })

  test('it is drained: no word, so that the client comes back', () => {
    const probe = onStream()
    expect(probe.do((session, now) => session.disconnect('drained', now))).toEqual(['close-stream', 'closed drained'])
  })
})

test('counts traffic by channel and direction', () => {
  const probe = onDatagram()
  probe.do((session, now) => session.noteSent('datagram', 3, 3000, now))
  probe.do((session, now) => session.noteReceived('stream', 2, 120, now))
  probe.do((session, now) => session.handleStreamFrame(99, empty, now))
  expect(probe.session.stats()).toEqual({
    received: { stream: { packets: 2, bytes: 120 }, datagram: { packets: 1, bytes: 100 } },
    sent: { stream: { packets: 0, bytes: 0 }, datagram: { packets: 3, bytes: 3000 } },
    channelChanges: 2,
    probesThrottled: 0,
    framesIgnored: 1,
  })
})

describe('as a machine', () => {
  const checks = machineComplianceTests(() => {
    const session = new GatewaySession(parameters({ idleSeconds: 60 }), {}, 1000)
    return {
      machine: session,
      inputs: [
        now => session.streamAttached(parameters(), now),
        now => session.datagramOpened(1435, now),
        now => session.noteReceived('datagram', 1, 60, now),
        now => session.noteSent('datagram', 1, 60, now),
        now => session.handleDatagramFrame(FrameType.dpdRequest, new Uint8Array(1200), now),
        now => session.noteReceived('stream', 1, 60, now),
        now => session.streamClosed('ended', now),
        now => session.datagramClosed('closed-by-peer', now),
      ],
    }
  })
  for (const check of checks) test(check.name, check.run)
})
