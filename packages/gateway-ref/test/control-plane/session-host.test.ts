import { FrameType } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { udpPacket } from '@twinbore/core/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Carrier } from '../../src/data-plane/session-table.ts'
import { configOf } from '../support/config-of.ts'
import { FakeAttempt } from '../support/fake-attempt.ts'
import { sessionWorld as world } from '../support/session-world.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const bye = Uint8Array.of(0xb0)

describe('a CONNECT', () => {
  test.each([undefined, '', 'short', 'A'.repeat(43), '%'.repeat(43)])(
    'with the cookie %j is refused with 401',
    cookie => {
      const { connect, told, installed } = world()
      expect(connect(cookie).refused).toMatchObject({ status: 401 })
      expect(told).toEqual([])
      expect(installed()).toBe(0)
    },
  )

  test('gets addresses, an App-ID, and its session established', () => {
    const { login, connect, host, told, installed, commanded } = world()
    const { granted } = connect(login('anna'), { request: { userAgent: 'test', hostname: 'laptop' } })
    expect(`${granted!.ipv4!.address} ${granted!.ipv6!.address}`).toBe('10.77.0.2 fd77::2')
    expect(granted!.datagram!.port).toBe(443)
    const { appId } = granted!.datagram!
    expect(commanded('permit')).toEqual({ type: 'permit', session: 0, appId, key: new Uint8Array(32).fill(1) })
    expect(told).toEqual(['established 1', '1 none -> stream'])
    expect(host.list()).toMatchObject([
      { id: 1, ipv4: '10.77.0.2', ipv6: 'fd77::2', userAgent: 'test', activeChannel: 'stream' },
    ])
    expect(installed()).toBe(1)
  })

  test.each([
    ['wants none', { datagram: undefined }, true],
    [
      'knows no key exporter',
      { datagram: { cipherSuites: ['AES256-SHA'], dtls12CipherSuites: [], encodings: [] } },
      true,
    ],
    ['is at a gateway without UDP', {}, false],
  ])('that %s is offered no datagram channel', (_, request, withDatagrams) => {
    const { login, host } = world({}, { withDatagrams })
    const attempt = new FakeAttempt(login('anna'), { request: request as object })
    host.acceptTunnel(attempt)
    expect(attempt.granted!.datagram).toBeUndefined()
  })

  test('beyond the pool is refused with 503, and its session ends', () => {
    const { login, connect, host, leases, told, log } = world({ pool: { ipv4: '10.77.0.0/30' } })
    connect(login('anna'))
    const cookie = login('otto')
    expect(connect(cookie).refused).toEqual({ status: 503, reason: 'The address pool 10.77.0.0/30 is exhausted' })
    expect(connect(cookie).refused).toMatchObject({ status: 401 })
    expect(host.size).toBe(1)
    expect(leases.size).toBe(1)
    expect(told).not.toContain('established 2')
    expect(log.find(/exhausted/)?.fields).toMatchObject({ user: 'otto' })
  })

  test('for a family that the pool has not is refused with 503', () => {
    const { login, connect, host } = world({ pool: { ipv4: '10.77.0.0/24' } })
    expect(connect(login('anna'), { request: { ipv4: false } }).refused).toMatchObject({
      status: 503,
      reason: 'No address of the families that were asked for',
    })
    expect(host.size).toBe(0)
  })

  test("gets the user's reserved addresses first", () => {
    const { login, connect, users } = world()
    users.set('anna', { groups: [], addresses: ['10.77.0.99', 'fd77::99'] })
    const { granted } = connect(login('anna'), { request: { addresses: [IpAddress.of('10.77.0.50')] } })
    expect(`${granted!.ipv4!.address} ${granted!.ipv6!.address}`).toBe('10.77.0.99 fd77::99')
    expect(
      `${connect(login('otto'), { request: { addresses: [IpAddress.of('10.77.0.50')] } }).granted!.ipv4!.address}`,
    ).toBe('10.77.0.50')
  })

  test('of a user who may not come in any more is refused, and the session ends', () => {
    const { login, connect, users, host, told, leases } = world()
    const cookie = login('anna')
    connect(cookie).socket.destroy()
    users.delete('anna')
    expect(connect(cookie).refused).toMatchObject({ status: 401 })
    expect(host.size).toBe(0)
    expect(leases.size).toBe(0)
    expect(told).toContain('closed 1 administrator')
  })

  test('is answered when the data plane knows the key already, so that no datagram comes too early', () => {
    const { login, host, commands } = world()
    const attempt = new FakeAttempt(login('anna'))
    const before: string[] = []
    attempt.onAccept = ({ datagram }) => {
      for (const command of commands) {
        if (command.type !== 'permit' || command.appId === datagram!.appId) before.push(command.type)
      }
    }
    host.acceptTunnel(attempt)
    expect(before).toEqual(['install-session', 'permit'])
    attempt.socket.destroy()
  })

  test('whose client has gone keeps the session for its return, which is the first that the world hears of', () => {
    const { login, connect, told, host, installed } = world()
    const cookie = login('anna')
    connect(cookie, { gone: true })
    expect(told).toEqual([])
    expect(installed()).toBe(0)
    expect(host.size).toBe(1)
    connect(cookie)
    expect(told).toEqual(['established 1', '1 none -> stream'])
  })
})

describe('a session that comes back', () => {
  test('keeps its addresses, gets a new App-ID and key, and the old ones are worthless', () => {
    const { login, connect, host, told, installed, commanded } = world()
    const cookie = login('anna')
    const first = connect(cookie)
    const second = connect(cookie, { key: 2, remoteAddress: '2001:db8::7' })
    expect(second.granted!.ipv4).toEqual(first.granted!.ipv4)
    expect(second.granted!.ipv6).toEqual(first.granted!.ipv6)
    expect(first.socket.destroyed).toBe(true)
    const { appId } = second.granted!.datagram!
    expect(appId).not.toEqual(first.granted!.datagram!.appId)
    expect(commanded('permit')).toEqual({ type: 'permit', session: 0, appId, key: new Uint8Array(32).fill(2) })
    expect(told.filter(text => /established|resumed/.test(text))).toEqual(['established 1', 'resumed 1'])
    expect(host.list()).toMatchObject([{ remoteAddress: '2001:db8::7' }])
    expect(installed()).toBe(1)
  })

  test('by an attempt that fails goes on with the stream that it has, beyond the time of its cookie', () => {
    const { login, connect, host, commanded } = world({ session: { cookieSeconds: 60 } })
    const cookie = login('anna')
    const first = connect(cookie)
    connect(cookie, { gone: true })
    expect(first.socket.destroyed).toBe(false)
    // And with its App-ID.
    expect(commanded('permit')).toMatchObject({ appId: first.granted!.datagram!.appId })
    // The client answers probes all the time.
    for (let second = 0; second < 200; second++) {
      vi.advanceTimersByTime(1000)
      first.socket.receive(FrameType.keepalive, new Uint8Array(0))
    }
    expect(host.list()).toMatchObject([{ activeChannel: 'stream' }])
    first.socket.destroy()
  })

  test('too late is unknown, and its addresses rest', async () => {
    const { login, connect, told, leases } = world({ session: { cookieSeconds: 60 } })
    const cookie = login('anna')
    connect(cookie).socket.destroy()
    await vi.advanceTimersByTimeAsync(61_000)
    expect(told.slice(-2)).toEqual(['closed 1 disconnected-too-long', 'released 10.77.0.2'])
    expect(connect(cookie).refused).toMatchObject({ status: 401 })
    expect(leases.size).toBe(0)
    expect(`${connect(login('otto')).granted!.ipv4!.address}`).toBe('10.77.0.3')
    expect(`${connect(login('anna')).granted!.ipv4!.address}`).toBe('10.77.0.2')
  })

  test('after its stream was found dead has been waited for since then', async () => {
    const { login, connect, told, host } = world({ session: { cookieSeconds: 60, dpdSeconds: 10 } })
    const { socket } = connect(login('anna'))
    await vi.advanceTimersByTimeAsync(45_000)
    expect(told).toContain('1 stream -> none')
    expect(socket.destroyed).toBe(true)
    expect(host.size).toBe(1)
    await vi.advanceTimersByTimeAsync(61_000)
    expect(told).toContain('closed 1 disconnected-too-long')
    expect(host.size).toBe(0)
  })
})

describe('a session ends', () => {
  test('when its client says goodbye: the lease is free at once', () => {
    const { login, connect, told, leases, installed, host, commands } = world()
    const cookie = login('anna')
    const { socket } = connect(cookie)
    socket.receive(FrameType.disconnect, bye)
    expect(told.slice(-2)).toEqual(['closed 1 user-left', 'released 10.77.0.2'])
    expect([leases.size, installed(), host.size]).toEqual([0, 0, 0])
    expect(commands.at(-1)).toEqual({ type: 'remove-session', session: 0 })
    expect(connect(cookie).refused).toMatchObject({ status: 401 })
  })

  test('at its maximum age, whatever it does, and its client is told', async () => {
    const { login, connect, told } = world({ session: { maxSeconds: 60, dpdSeconds: 0 } })
    const cookie = login('anna')
    const first = connect(cookie)
    await vi.advanceTimersByTimeAsync(40_000)
    expect(first.granted!.sessionRemainingSeconds).toBe(60)
    const second = connect(cookie)
    expect(second.granted!.sessionRemainingSeconds).toBe(20)
    await vi.advanceTimersByTimeAsync(21_000)
    expect(told.slice(-2)).toEqual(['closed 1 session-expired', 'released 10.77.0.2'])
    expect(second.socket.frames(FrameType.disconnect)).toHaveLength(1)
  })

  test('without user data for the idle time', async () => {
    const { login, connect, told } = world({ session: { idleSeconds: 30, dpdSeconds: 0 } })
    const { socket } = connect(login('anna'))
    const packet = udpPacket({ source: '10.77.0.2', destination: '192.0.2.9', sourcePort: 1, destinationPort: 2 })
    await vi.advanceTimersByTimeAsync(20_000)
    socket.receive(FrameType.data, packet)
    await vi.advanceTimersByTimeAsync(20_000)
    expect(told).not.toContain('closed 1 idle-timeout')
    await vi.advanceTimersByTimeAsync(11_000)
    expect(told).toContain('closed 1 idle-timeout')
  })

  test('once, by whom ever, from wherever it is asked', () => {
    const { login, connect, host, told, onEvent, leases, installed } = world()
    onEvent.run = () => void host.end(1)
    const { socket } = connect(login('anna'))
    expect(told.filter(text => text.startsWith('closed'))).toEqual(['closed 1 administrator'])
    expect(told.filter(text => text.startsWith('released'))).toEqual(['released 10.77.0.2'])
    expect(socket.destroyed).toBe(true)
    expect([leases.size, installed(), host.size]).toEqual([0, 0, 0])
  })

  test('from within the change of its own channel', () => {
    const { login, connect, host, told, onEvent, leases, installed } = world()
    onEvent.run = text => void (/none -> stream/.test(text) && host.end(1))
    const { socket } = connect(login('anna'))
    expect(told).toEqual(['established 1', '1 none -> stream', 'closed 1 administrator', 'released 10.77.0.2'])
    expect(socket.frames(FrameType.disconnect)).toHaveLength(1)
    expect([leases.size, installed(), host.size]).toEqual([0, 0, 0])
  })

  test('for the oldest without a stream when its user comes anew at the limit', async () => {
    const { login, connect, told, host } = world({ session: { maxSessionsPerUser: 2 } })
    const first = connect(login('anna'))
    connect(login('anna'))
    expect(() => login('anna')).toThrow('Too many sessions of this user')
    first.socket.destroy()
    await new Promise(setImmediate)
    login('anna')
    expect(told).toContain('closed 1 replaced')
    expect(host.size).toBe(2)
  })
})

test('a client that says it will come back gives its place up when its user comes anew at the limit', () => {
  const { login, connect, told, host } = world({ session: { maxSessionsPerUser: 1 } })
  const { socket } = connect(login('anna'))
  expect(() => login('anna')).toThrow('Too many sessions of this user')
  socket.receive(FrameType.disconnect, Uint8Array.of(0x91))
  expect(told).toContain('1 stream -> none')
  login('anna')
  expect(told).toContain('closed 1 replaced')
  expect(host.size).toBe(1)
})

describe('associations', () => {
  test('take over from the one before, whose end matters to nobody', () => {
    const { login, connect, handle, told, associate } = world()
    connect(login('anna'))
    associate(5)
    // The client shows by its data where it is.
    handle({ type: 'activity', table: Float64Array.of(0, Carrier.datagram, 1, 100, 0, 0, 1, 0) })
    expect(told.at(-1)).toBe('1 stream -> datagram')
    associate(9)
    handle({ type: 'association-closed', session: 0, association: 5, loss: 'error' })
    expect(told.at(-1)).toBe('1 stream -> datagram')
    handle({ type: 'association-closed', session: 0, association: 9, loss: 'closed-by-peer' })
    expect(told.at(-1)).toBe('1 datagram -> stream')
  })

  test('of a client that leaves its channels are closed', () => {
    const { login, connect, commanded, associate } = world()
    const { socket } = connect(login('anna'))
    associate(5)
    socket.receive(FrameType.disconnect, Uint8Array.of(0x91))
    expect(commanded('close-association')).toEqual({ type: 'close-association', session: 0, association: 5 })
  })

  test('of a session that is gone can touch no other', () => {
    const { login, connect, host, handle, installed, associate } = world()
    connect(login('anna')).socket.receive(FrameType.disconnect, bye)
    associate(5)
    connect(login('otto'))
    handle({ type: 'association-closed', session: 0, association: 5, loss: 'closed-by-peer' })
    handle({ type: 'datagram-too-big', session: 7, payloadBytes: 100 })
    handle({ type: 'control-frame', session: 7, frameType: FrameType.dpdRequest, payload: new Uint8Array(0) })
    expect(host.list()).toMatchObject([{ id: 2, activeChannel: 'stream' }])
    expect(installed()).toBe(1)
  })

  test('bound the MTU by what the link carries', () => {
    const { login, connect, handle, commanded, associate } = world({ mtu: 9000, pool: { ipv4: '10.77.0.0/24' } })
    const { granted } = connect(login('anna'), { request: { baseMtu: 1400 }, remoteAddress: '2001:db8::7' })
    expect(granted!.mtu).toBe(1400 - 40 - 8 - 37 - 1)
    associate(5, 60)
    expect(commanded('set-mtu')?.mtu).toBe(1400 - 40 - 8 - 60 - 1)
    handle({ type: 'datagram-too-big', session: 0, payloadBytes: 1200 })
    expect(commanded('set-mtu')?.mtu).toBeLessThan(1200)
  })
})

describe('a reload', () => {
  test('gives later CONNECTs the new grants', () => {
    const { login, connect, host } = world()
    const cookie = login('anna')
    connect(cookie)
    host.reconfigure(configOf({ routes: { include: ['10.0.0.0/8'] } }))
    expect(connect(cookie).granted!.routes.include.map(String)).toEqual(['10.0.0.0/8', 'fd77::1/128'])
  })

  test('ends the sessions of users who may not come in any more, those without a stream too', () => {
    const { login, connect, host, users, told, leases } = world()
    connect(login('anna'))
    connect(login('anna')).socket.destroy()
    login('anna')
    connect(login('otto'))
    users.delete('anna')
    host.reconfigure(configOf())
    expect(host.list()).toMatchObject([{ identity: { username: 'otto' } }])
    expect(told.filter(text => text.startsWith('closed')).sort()).toEqual([
      'closed 1 administrator',
      'closed 2 administrator',
    ])
    // One of each family.
    expect(leases.size).toBe(2)
  })
})

describe('a drain', () => {
  test('tells every client, lets nobody in, and ends when the streams are closed', async () => {
    const { login, connect, host, told, leases } = world()
    const waiting = login('otto')
    const { socket } = connect(login('anna'))
    let isStopped = false
    const stopped = host.stop().then(() => {
      isStopped = true
    })
    expect(told.slice(-2)).toEqual(['closed 2 gateway-shutdown', 'released 10.77.0.2'])
    expect(socket.frames(FrameType.disconnect)).toHaveLength(1)
    expect(connect(waiting).refused).toMatchObject({ status: 503 })
    expect(() => login('dora')).toThrow('The gateway is shutting down')
    await vi.advanceTimersByTimeAsync(1999)
    expect(isStopped).toBe(false)
    // The client does not close: it is cut.
    await vi.advanceTimersByTimeAsync(2)
    await stopped
    expect(leases.size).toBe(0)
  })

  test('that is in a hurry cuts the streams', async () => {
    const { login, connect, host } = world()
    const { socket } = connect(login('anna'))
    const stopped = host.stop()
    host.destroyStreams()
    await stopped
    expect(socket.destroyed).toBe(true)
  })
})

test('packets of a stream leave by the device, those of others do not', async () => {
  const { login, connect, network } = world()
  const { socket } = connect(login('anna'))
  const ports = { destination: '192.0.2.9', sourcePort: 1, destinationPort: 2 }
  socket.receive(FrameType.data, udpPacket({ ...ports, source: '10.77.0.3' }))
  socket.receive(FrameType.data, udpPacket({ ...ports, source: '10.77.0.2' }))
  expect(network.received.map(({ source }) => source)).toEqual(['10.77.0.2'])
})
