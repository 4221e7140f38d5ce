import { ClientSession, type ClientSessionOptions, FrameType, writeGatewayReason } from '@twinbore/core'
import { machineComplianceTests } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { writeChannelNotice } from '../../src/protocol/probe-payload.ts'
import { parameters, SessionProbe } from './session-kit.ts'

type Changes = Parameters<typeof parameters>[0]

function onStream(changes: Changes = {}, options: ClientSessionOptions = {}): SessionProbe<ClientSession> {
  const probe = new SessionProbe(new ClientSession(parameters(changes), options, 0))
  probe.do((session, now) => session.streamAttached(parameters(changes), now))
  return probe
}

/** A client session whose data goes by datagram; its MTU search was answered 40 ms after it began. */
function onDatagram(changes: Changes = {}, options: ClientSessionOptions = {}): SessionProbe<ClientSession> {
  const probe = onStream(changes, options)
  probe.do((session, now) => session.datagramOpened(1435, now))
  probe.now += 40
  probe.echo()
  expect(probe.session.activeChannel).toBe('datagram')
  probe.now += 60
  return probe
}

const outputs = (seen: string[]) => seen.filter(line => !/^(stream|datagram) (dpd|keepalive)/.test(line))

describe('coming up', () => {
  test('data goes by stream at once; the datagram channel is opened beside it', () => {
    const probe = new SessionProbe(new ClientSession(parameters(), {}, 0))
    expect(probe.do((session, now) => session.streamAttached(parameters(), now))).toEqual([
      'none>stream established',
      'open-datagram 1',
    ])
  })

  test('data goes by datagram when the longest packet came back, and the gateway is told', () => {
    const probe = onStream()
    probe.do((session, now) => session.datagramOpened(1435, now))
    expect(probe.session.activeChannel).toBe('stream')
    probe.now += 40
    expect(probe.echo()).toEqual(['stream>datagram established', 'datagram dpdRequest 5'])
    expect(probe.session.mtu).toBe(1434)
  })

  test('a short answer is not enough for the first time', () => {
    const probe = onStream()
    probe.do((session, now) => session.datagramOpened(1435, now))
    const short = probe.frames.find(frame => frame.frameType === FrameType.dpdRequest && frame.payload.length === 4)!
    probe.do((session, now) => session.handleDatagramFrame(FrameType.dpdResponse, short.payload, now))
    expect(probe.session.activeChannel).toBe('stream')
  })

  test('no offer, or no wish: no datagram channel', () => {
    const { datagram: _, ...streamOnly } = parameters()
    const probe = new SessionProbe(new ClientSession(streamOnly, {}, 0))
    expect(probe.do((session, now) => session.streamAttached(streamOnly, now))).toEqual(['none>stream established'])
    expect(onStream({}, { datagram: false }).wait(9000)).toEqual([])
  })

  test('a handshake that fails is repeated after 1, 2, 4 .. 60 s', () => {
    const probe = onStream()
    const waits: number[] = []
    for (let i = 0; i < 9; i++) {
      probe.do((session, now) => session.datagramFailed('handshake-timeout', now))
      const from = probe.now
      while (!probe.wait(250).some(line => line.startsWith('open-datagram'))) {
        // The stream stays alive.
        probe.do((session, now) => session.handleStreamFrame(FrameType.keepalive, new Uint8Array(0), now))
      }
      waits.push((probe.now - from) / 1000)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
  })
})

describe('the datagram channel goes dark', () => {
  test('data moves to the stream within 0.4 s, the gateway is told, the channel is abandoned after 5 s', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.noteSent('datagram', 1, 60, now))
    const seen = probe.wait(360)
    expect(seen.slice(-2)).toEqual(['datagram>stream datagram-silent', 'stream dpdRequest 5'])
    const later = outputs(probe.wait(8000))
    expect(later).toEqual(['close-datagram', 'open-datagram 1'])
  })

  test('data returns with the first answer, and the size of packets is looked at again', () => {
    const probe = onDatagram()
    // Good for a while: no need to wait.
    probe.wait(10_500)
    probe.echo()
    probe.do((session, now) => session.noteSent('datagram', 1, 60, now))
    probe.wait(1000)
    probe.now += 20
    expect(probe.echo()).toEqual([
      'stream>datagram datagram-recovered',
      'datagram dpdRequest 5',
      'datagram dpdRequest 1434',
    ])
  })

  test('a gateway that says so is followed', () => {
    const probe = onDatagram()
    const notice = writeChannelNotice('stream')
    const seen = probe.do((session, now) => session.handleStreamFrame(FrameType.dpdRequest, notice, now))
    expect(seen).toEqual(['stream dpdResponse 5', 'datagram>stream peer-left-datagram', 'datagram dpdRequest 4'])
  })

  test('data by stream of another gateway casts doubt on it, no more', () => {
    const probe = onDatagram()
    expect(probe.do((session, now) => session.noteReceived('stream', 1, 1400, now))).toEqual(['datagram dpdRequest 4'])
    expect(probe.session.activeChannel).toBe('datagram')
    probe.now += 30
    probe.echo()
    expect(outputs(probe.wait(3000))).toEqual([])
  })

  test('refused by the network: the stream at once, another try at once after a good time, with pauses else', () => {
    const probe = onDatagram()
    expect(outputs(probe.do((session, now) => session.datagramClosed('unreachable', now)))).toEqual([
      'datagram>stream datagram-closed',
    ])
    expect(outputs(probe.wait(1500))).toEqual(['open-datagram 1'])
  })
})

describe('the stream is lost', () => {
  test('it is brought back at once, then after 1, 2, 4, 5 .. s, while data goes by datagram', () => {
    const probe = onDatagram()
    expect(probe.do((session, now) => session.streamClosed('ended', now))).toEqual(['reconnect-stream lost 1'])
    expect(probe.session.activeChannel).toBe('datagram')
    const waits: number[] = []
    for (let i = 0; i < 6; i++) {
      probe.do((session, now) => session.reconnectFailed('unreachable', now))
      const from = probe.now
      while (!probe.wait(250).some(line => line.startsWith('reconnect-stream'))) {
        probe.do((session, now) => session.handleDatagramFrame(FrameType.keepalive, new Uint8Array(0), now))
      }
      waits.push((probe.now - from) / 1000)
    }
    expect(waits).toEqual([1, 2, 4, 5, 5, 5])
  })

  test('the new stream takes data until the datagram channel has answered, and another one is opened', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.streamClosed('ended', now))
    probe.now += 200
    const seen = probe.do((session, now) => session.streamAttached(parameters(), now))
    expect(seen).toEqual([
      'datagram>stream stream-renewed',
      'stream dpdRequest 5',
      'open-datagram 1',
      'datagram dpdRequest 4',
    ])
    probe.now += 40
    expect(probe.echo()[0]).toBe('stream>datagram datagram-recovered')
  })

  test('an attempt to open a new association that fails leaves the one that works', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.streamAttached(parameters(), now))
    probe.echo()
    probe.do((session, now) => session.datagramFailed('handshake-timeout', now))
    expect(probe.session.activeChannel).toBe('datagram')
  })

  test('a cookie that is refused ends the session', () => {
    const probe = onStream()
    probe.do((session, now) => session.streamClosed('ended', now))
    expect(probe.do((session, now) => session.reconnectFailed('refused', now))).toEqual(['closed refused'])
  })

  test('with no channel at all the session ends after reconnectSeconds', () => {
    const probe = onStream({}, { reconnectSeconds: 30, datagram: false })
    probe.do((session, now) => session.streamClosed('error', now))
    for (let i = 0; i < 29; i++) {
      probe.do((session, now) => session.reconnectFailed('timeout', now))
      probe.wait(1000)
    }
    expect(probe.session.closed).toBe(false)
    expect(probe.wait(1000)).toEqual(['closed reconnect-timeout'])
  })

  test('with a datagram channel that works it does not', () => {
    const probe = onDatagram({}, { reconnectSeconds: 30 })
    probe.do((session, now) => session.streamClosed('error', now))
    for (let i = 0; i < 100; i++) {
      probe.wait(1000)
      probe.do((session, now) => session.handleDatagramFrame(FrameType.keepalive, new Uint8Array(0), now))
    }
    expect(probe.session.closed).toBe(false)
  })

  test('data that goes by stream and stays unanswered for 8 s makes a new connection', () => {
    const probe = onStream({}, { datagram: false })
    probe.do((session, now) => session.noteSent('stream', 1, 60, now))
    expect(outputs(probe.wait(7900))).toEqual([])
    expect(outputs(probe.wait(200))).toEqual(['close-stream', 'stream>none stream-lost', 'reconnect-stream lost 1'])
  })
})

describe('keys are renewed', () => {
  const rekeying: Changes = {
    stream: { dpdSeconds: 0, keepaliveSeconds: 0, rekeySeconds: 100, rekeyMethod: 'ssl' },
  }

  test('by a new tunnel beside the old one, for new-tunnel and for ssl', () => {
    const probe = onStream(rekeying, { datagram: false })
    expect(probe.wait(99_000)).toEqual([])
    expect(probe.wait(1000)).toEqual(['reconnect-stream rekey 1'])
    expect(probe.session.activeChannel).toBe('stream')
    // A gateway ends the old connection when the cookie is used again: no second attempt for that.
    expect(probe.do((session, now) => session.streamClosed('ended', now))).toEqual(['stream>none stream-lost'])
    expect(probe.do((session, now) => session.streamAttached(parameters(rekeying), now))).toEqual([
      'none>stream established',
    ])
    expect(probe.wait(100_000)).toEqual(['reconnect-stream rekey 1'])
  })

  test('when that fails the old tunnel goes on, and it is tried again a minute later', () => {
    const probe = onStream(rekeying, { datagram: false })
    probe.wait(100_000)
    probe.do((session, now) => session.reconnectFailed('unreachable', now))
    expect(probe.session.activeChannel).toBe('stream')
    expect(probe.wait(60_000)).toEqual(['reconnect-stream rekey 2'])
  })

  test('when asked for', () => {
    const probe = onStream({}, { datagram: false })
    expect(probe.do((session, now) => session.rekey(now))).toEqual(['reconnect-stream rekey 1'])
    expect(probe.do((session, now) => session.rekey(now))).toEqual([])
  })
})

describe('the path MTU', () => {
  /** A path that echoes what is no longer than `limit`, 20 ms later. */
  function search(probe: SessionProbe<ClientSession>, limit: number, ms: number): void {
    let next = probe.frames.length
    for (let passed = 0; passed < ms; passed += 10) {
      probe.wait(10)
      for (; next < probe.frames.length; next++) {
        const { channel, frameType, payload } = probe.frames[next]!
        if (channel !== 'datagram' || frameType !== FrameType.dpdRequest || payload.length > limit) continue
        probe.do((session, now) => session.handleDatagramFrame(FrameType.dpdResponse, payload, now))
      }
    }
  }

  test('is found before data goes by datagram', () => {
    const probe = onStream()
    probe.do((session, now) => session.datagramOpened(1435, now))
    search(probe, 1254, 3000)
    expect(probe.session.activeChannel).toBe('datagram')
    expect(probe.session.mtu).toBeGreaterThan(1254 - 8)
    expect(probe.session.mtu).toBeLessThanOrEqual(1254)
  })

  test('is never below what IPv6 needs: then the datagram channel is not used', () => {
    const address = parameters().ipv4!.address
    const probe = onStream({ ipv6: { address, prefixLength: 64 } })
    probe.do((session, now) => session.datagramOpened(1435, now))
    search(probe, 1200, 5000)
    expect(probe.session.activeChannel).toBe('stream')
    expect(probe.session.mtu).toBe(1434)
  })

  test('follows what the operating system says', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.handleMessageTooBig(1435, now))
    search(probe, 1380, 3000)
    expect(probe.session.mtu).toBeGreaterThan(1380 - 8)
    expect(probe.session.mtu).toBeLessThanOrEqual(1380)
  })

  test('is bounded by the association', () => {
    const probe = onStream()
    probe.do((session, now) => session.datagramOpened(1301, now))
    search(probe, 9000, 100)
    expect(probe.session.mtu).toBe(1300)
  })
})

describe('the end', () => {
  test('the user leaves: the gateway is told, everything is closed', () => {
    const probe = onDatagram()
    expect(probe.do((session, now) => session.disconnect('user-left', now))).toEqual([
      expect.stringMatching(/^stream disconnect /),
      'close-stream',
      'close-datagram',
      'closed user-left',
    ])
    expect(probe.lastFrame('stream', FrameType.disconnect)[0]).toBe(0xb0)
  })

  test('with the stream lost, the gateway is told by datagram', () => {
    const probe = onDatagram()
    probe.do((session, now) => session.streamClosed('error', now))
    const seen = probe.do((session, now) => session.disconnect('user-left', now))
    expect(seen[0]).toMatch(/^datagram disconnect /)
  })

  test.each([FrameType.disconnect, FrameType.terminate])('frame %d of the gateway ends it', type => {
    const probe = onDatagram()
    const payload = writeGatewayReason('idle-timeout')
    const seen = probe.do((session, now) => session.handleStreamFrame(type, payload, now))
    expect(seen).toEqual(['close-stream', 'close-datagram', 'closed idle-timeout'])
  })
})

describe('as a machine', () => {
  const checks = machineComplianceTests(() => {
    const session = new ClientSession(parameters(), {}, 1000)
    return {
      machine: session,
      inputs: [
        now => session.streamAttached(parameters(), now),
        now => session.datagramOpened(1435, now),
        now => session.handleDatagramFrame(FrameType.dpdResponse, Uint8Array.of(0, 0, 0, 2), now),
        now => session.noteSent('datagram', 1, 60, now),
        now => session.noteReceived('stream', 1, 60, now),
        now => session.handleMessageTooBig(1435, now),
        now => session.streamClosed('ended', now),
        now => session.reconnectFailed('timeout', now),
        now => session.datagramClosed('unreachable', now),
      ],
    }
  })
  for (const check of checks) test(check.name, check.run)
})
