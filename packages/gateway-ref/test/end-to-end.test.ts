// Clients of a gateway in one process: real TLS, DTLS and UDP on loopback, memory in place of devices.
import type { TunnelParameters } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { icmpEchoPacket, udpPacket } from '@twinbore/core/testing'
import { type DatagramSocket, TunError } from '@twinbore/tun'
import { openDatagramSocket } from '@twinbore/tun/io'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { GatewayWorld, password } from './support/gateway-world.ts'
import { PacketHost } from './support/packet-host.ts'
import { dataBy, next, ping, server4 } from './support/tunnel-steps.ts'

let world: GatewayWorld
beforeAll(async () => {
  world = await GatewayWorld.create()
})
afterEach(() => world.close())
afterAll(() => world.remove())

describe('a client', () => {
  test.each([
    ['stream', false],
    ['datagram', true],
  ] as const)('has its packets carried both ways by the %s channel, in both families', async (channel, datagram) => {
    const { gateway, egress } = await world.startGateway()
    const established = next(gateway, 'session-established')
    const { tunnel, computer } = world.client(gateway, { datagram })
    const parameters = await tunnel.start()
    await dataBy(tunnel, channel)
    await ping(computer, parameters, 4)
    await ping(computer, parameters, 6, 1200)

    const answer = computer.next(({ protocol }) => protocol === 17)
    const source = parameters.ipv4!.address.toString()
    const payload = new TextEncoder().encode('hello')
    computer.send(udpPacket({ source, destination: server4, sourcePort: 4000, destinationPort: 53, payload }))
    expect((await answer).bytes.subarray(28)).toEqual(payload)

    // The corporate network saw the outside addresses only.
    const sources = new Set(egress.network.received.map(packet => packet.source))
    expect(sources).toEqual(new Set(['203.0.113.1', '2001:db8:ffff::1']))
    expect(tunnel.stats()!.sent[channel].packets).toBeGreaterThanOrEqual(3)
    expect(tunnel.stats()!.received[channel].packets).toBeGreaterThanOrEqual(3)
    const { session } = await established
    expect(session).toMatchObject({ id: 1, ipv4: source, remoteAddress: '127.0.0.1', activeChannel: 'none' })
    expect(gateway.sessions()).toMatchObject([{ id: 1, activeChannel: channel }])
    expect(gateway.sessions()[0]!.bytesOutbound).toBeGreaterThan(1200)
  })

  test('is carried by the portable data plane too', async () => {
    const { gateway } = await world.startGateway({ dataPlane: { driver: 'portable' } })
    const { tunnel, computer } = world.client(gateway)
    const parameters = await tunnel.start()
    await dataBy(tunnel, 'datagram')
    await ping(computer, parameters, 4)
    expect(gateway.stats()?.dataPlane).toEqual({ driver: 'portable', workers: 0, restarts: 0 })
    expect(world.log.find(/^data plane$/)?.fields).toMatchObject({ driver: 'portable', datagrams: 'portable' })
  })

  test('that leaves frees its session, with the counts of what passed', async () => {
    const { gateway } = await world.startGateway()
    const { tunnel, computer } = world.client(gateway)
    const parameters = await tunnel.start()
    await ping(computer, parameters, 4, 100)
    const closed = next(gateway, 'session-closed')
    await tunnel.stop()
    const { session, reason, seconds } = await closed
    expect(reason).toBe('user-left')
    expect(seconds).toBeGreaterThan(0)
    expect(session).toMatchObject({ bytesOutbound: 128, bytesInbound: 128, activeChannel: 'none' })
    expect(gateway.sessions()).toEqual([])
    expect(await tunnel.stopped).toBeUndefined()
  })

  test('whose TCP connection is cut comes back with its addresses, and its packets never stop on the datagram channel', async () => {
    const { gateway } = await world.startGateway()
    const relay = await world.relay(gateway.port)
    const { tunnel, computer } = world.client(gateway, { port: relay.port })
    const parameters = await tunnel.start()
    await dataBy(tunnel, 'datagram')
    const resumed = next(gateway, 'session-resumed')
    relay.cut()
    await ping(computer, parameters, 4)
    const { session } = await resumed
    expect(session).toMatchObject({ id: 1, ipv4: parameters.ipv4!.address.toString() })
    expect(tunnel.parameters!.ipv4).toEqual(parameters.ipv4)
    await dataBy(tunnel, 'datagram')
    await ping(computer, tunnel.parameters!, 6)
    expect(gateway.sessions()).toHaveLength(1)
  })

  test('whose datagram channel goes dark is carried by the stream channel, and moves back when it answers again', async () => {
    const { gateway } = await world.startGateway()
    const sockets: DatagramSocket[] = []
    let isDark = false
    const { tunnel, computer } = world.client(gateway, {
      openDatagramSocket: async options => {
        const socket = await openDatagramSocket(options)
        const { send, sendTo } = socket
        socket.send = batch => (isDark ? 0 : send.call(socket, batch))
        socket.sendTo = (endpoint, bytes) => isDark || sendTo.call(socket, endpoint, bytes)
        sockets.push(socket)
        return socket
      },
    })
    const parameters = await tunnel.start()
    await dataBy(tunnel, 'datagram')
    await ping(computer, parameters, 4)
    isDark = true
    const moved = new Promise(resolve => tunnel.on('channel-changed', resolve))
    const followed = next(gateway, 'channel-changed', ({ to }) => to === 'stream')
    // Lost with the channel; it is what shows that the channel is dark.
    computer.send(
      icmpEchoPacket({ source: parameters.ipv4!.address, destination: server4, identifier: 1, sequenceNumber: 0xfff0 }),
    )
    expect(await moved).toMatchObject({ from: 'datagram', to: 'stream' })
    await followed
    await ping(computer, parameters, 4)
    isDark = false
    await dataBy(tunnel, 'datagram')
    await ping(computer, parameters, 6)
    expect(sockets).toHaveLength(1)
  })

  test('follows changed addresses after a reconnection, or ends where its interface can not', async () => {
    const { gateway } = await world.startGateway()
    const relay = await world.relay(gateway.port)
    for (const canFollow of [true, false]) {
      const updates: string[] = []
      const first = new PacketHost()
      const { tunnel } = world.client(gateway, {
        port: relay.port,
        datagram: false,
        interface: () => ({
          device: first.device,
          ...(canFollow && { update: ({ ipv4 }: TunnelParameters) => updates.push(String(ipv4?.address)) }),
          close: () => {},
        }),
      })
      const before = await tunnel.start()
      // What another gateway would do that has the same cookies but other leases.
      Object.assign(Reflect.get(tunnel, 'granted') as object, {
        parameters: { ...before, ipv4: { ...before.ipv4!, address: IpAddress.of('10.77.0.200') } },
      })
      const renewed = new Promise(resolve => tunnel.on('stream-renewed', resolve))
      relay.cut()
      if (canFollow) {
        await renewed
        expect(updates).toContain(before.ipv4!.address.toString())
        await ping(first, tunnel.parameters!, 4)
      } else {
        expect(await tunnel.stopped).toMatchObject({ code: 'ERR_GATEWAY_HOST', message: /other addresses/ })
      }
      await tunnel.stop()
    }
  })

  test('that sends under another address, or to where no client may go, gets nothing through, and it is counted', async () => {
    const { gateway, egress } = await world.startGateway()
    const { tunnel, computer } = world.client(gateway, { datagram: false })
    const parameters = await tunnel.start()
    const source = parameters.ipv4!.address.toString()
    const ports = { sourcePort: 1, destinationPort: 2 }
    computer.send(
      udpPacket({ ...ports, source, destination: '127.0.0.1' }),
      udpPacket({ ...ports, source, destination: '10.77.0.9' }),
      // Refused by the client itself.
      udpPacket({ ...ports, source: '10.77.0.99', destination: server4 }),
    )
    await ping(computer, parameters, 4)
    expect(egress.network.received).toHaveLength(1)
    expect(gateway.stats()).toMatchObject({ drops: { deniedDestination: 2 } })
  })

  test('gets its packets in fragments, or its peers an error, where they are longer than the tunnel', async () => {
    const { gateway, egress } = await world.startGateway()
    const { tunnel, computer } = world.client(gateway, { datagram: false })
    const parameters = await tunnel.start()
    const source = parameters.ipv4!.address.toString()
    const ports = { sourcePort: 5000, destinationPort: 6000 }
    computer.send(udpPacket({ ...ports, source, destination: server4, payload: Uint8Array.of(1) }))
    const { bytes } = await egress.network.next(({ protocol }) => protocol === 17)
    const back = {
      source: server4,
      destination: '203.0.113.1',
      sourcePort: 6000,
      destinationPort: (bytes[20]! << 8) | bytes[21]!,
      payload: new Uint8Array(1440),
    }
    egress.network.send(udpPacket(back), udpPacket({ ...back, dontFragment: true }))
    await computer.next(packet => packet.bytes[6] === 0x20)
    await computer.next(packet => (packet.bytes[6]! & 0x20) === 0 && packet.bytes[7]! > 0)
    const error = await egress.network.next(({ protocol }) => protocol === 1)
    expect(error).toMatchObject({ source: '203.0.113.1', destination: server4 })
    expect(error.bytes.subarray(20, 22)).toEqual(Uint8Array.of(3, 4))
    expect((error.bytes[26]! << 8) | error.bytes[27]!).toBe(parameters.mtu)
  })

  test('with a wrong password is refused, leaves nothing behind, and the event names it', async () => {
    const { gateway } = await world.startGateway()
    const rejected = next(gateway, 'login-rejected')
    let interfaces = 0
    const { tunnel } = world.client(gateway, {
      credentials: { username: 'user1', password: 'wrong' },
      interface: () => {
        interfaces++
        throw new Error('unreachable')
      },
    })
    await expect(tunnel.start()).rejects.toMatchObject({ code: 'ERR_LOGIN_REJECTED' })
    expect(await rejected).toMatchObject({ username: 'user1', remoteAddress: '127.0.0.1' })
    expect(await tunnel.stopped).toBeUndefined()
    expect(interfaces).toBe(0)
    expect(gateway.sessions()).toEqual([])
  })

  test('that can not make its interface says why, and its connection is closed', async () => {
    const { gateway } = await world.startGateway()
    const { tunnel } = world.client(gateway, { interface: () => Promise.reject(new Error('no device for you')) })
    const lost = next(gateway, 'channel-changed', ({ to }) => to === 'none')
    await expect(tunnel.start()).rejects.toThrow('no device for you')
    expect(await tunnel.stopped).toBeUndefined()
    await lost
  })

  test('that is stopped while its interface is made leaves nothing behind', async () => {
    const { gateway } = await world.startGateway()
    let isClosed = false
    const { tunnel, computer } = world.client(gateway, {
      interface: async () => {
        void tunnel.stop()
        await new Promise(setImmediate)
        return { device: computer.device, close: () => (isClosed = true) }
      },
    })
    await expect(tunnel.start()).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    await tunnel.stop()
    expect(isClosed).toBe(true)
  })

  test('whose device is lost ends, and says so', async () => {
    const { gateway } = await world.startGateway()
    const { tunnel, computer } = world.client(gateway)
    await tunnel.start()
    const closed = next(gateway, 'session-closed')
    computer.device.onLost!(new TunError('ERR_TUN_SYSTEM', 'the interface tb0 is gone'))
    expect(await tunnel.stopped).toMatchObject({ code: 'ERR_GATEWAY_HOST', message: /tb0 is gone/ })
    expect((await closed).reason).toBe('user-left')
  })

  test('is started once', async () => {
    const { gateway } = await world.startGateway()
    const { tunnel } = world.client(gateway)
    await tunnel.start()
    await expect(tunnel.start()).rejects.toThrow(TypeError)
  })
})

test('twenty clients at once each have addresses of their own and get their own answers', async () => {
  const { gateway } = await world.startGateway()
  const clients = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const { tunnel, computer } = world.client(gateway, { user: `user${i}`, datagram: i % 2 === 0 })
      return { tunnel, computer, parameters: await tunnel.start() }
    }),
  )
  await Promise.all(
    clients.map(async ({ tunnel, computer, parameters }, i) => {
      if (i % 2 === 0) await dataBy(tunnel, 'datagram')
      await ping(computer, parameters, 4)
      await ping(computer, parameters, 6)
    }),
  )
  for (const family of ['ipv4', 'ipv6'] as const) {
    expect(new Set(clients.map(({ parameters }) => parameters[family]!.address.toString())).size).toBe(20)
  }
  for (const { computer, parameters } of clients) {
    const own = [parameters.ipv4!.address.toString(), parameters.ipv6!.address.toString()]
    for (const { destination } of computer.received) expect(own).toContain(destination)
  }
  expect(gateway.sessions()).toHaveLength(20)
  await Promise.all(clients.map(({ tunnel }) => tunnel.stop()))
  while (gateway.sessions().length > 0) await next(gateway, 'session-closed')
  expect(world.log.text).not.toContain(password)
})

describe('limits', () => {
  test('a user has so many sessions and no more, and is told', async () => {
    const { gateway } = await world.startGateway({ session: { maxSessionsPerUser: 2 } })
    for (let i = 0; i < 2; i++) await world.client(gateway).tunnel.start()
    await expect(world.client(gateway).tunnel.start()).rejects.toThrow(/Too many sessions of this user/)
    await world.client(gateway, { user: 'user1' }).tunnel.start()
    expect(world.log.find(/session refused/)?.fields).toMatchObject({ user: 'user0', reason: 'user-limit' })
  })

  test('an exhausted pool refuses the tunnel, says so, and keeps no session', async () => {
    const { gateway } = await world.startGateway({ pool: { ipv4: '10.77.0.0/30' } })
    await world.client(gateway).tunnel.start()
    const late = world.client(gateway, { user: 'user1' }).tunnel
    await expect(late.start()).rejects.toThrow(/pool 10\.77\.0\.0\/30 is exhausted/)
    expect(gateway.sessions()).toHaveLength(1)
    expect(world.log.find(/pool is exhausted/)).toMatchObject({ level: 'warn', fields: { user: 'user1' } })
  })
})
