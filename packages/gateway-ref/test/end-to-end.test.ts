// A gateway and its clients in one process: real TLS, DTLS and UDP on loopback, memory in place of devices.
import { createServer as createTcpServer } from 'node:net'
import type { TunnelParameters } from '@twinbore/core'
import { IpAddress } from '@twinbore/core/address'
import { icmpEchoPacket, udpPacket } from '@twinbore/core/testing'
import { type DatagramSocket, TunError } from '@twinbore/tun'
import { openDatagramSocket } from '@twinbore/tun/io'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { TunnelClient } from '../src/client/io/tunnel-client.ts'
import type { Gateway } from '../src/control-plane/io/gateway.ts'
import type { GatewayEvents } from '../src/control-plane/session-facts.ts'
import { GatewayWorld, password } from './support/gateway-world.ts'
import { PacketHost } from './support/packet-host.ts'

const server4 = '198.51.100.10'
const server6 = '2001:db8::10'

let world: GatewayWorld
beforeAll(async () => {
  world = await GatewayWorld.create()
})
afterEach(() => world.close())
afterAll(() => world.remove())

/** The next event of a name that fits. */
function next<Name extends keyof GatewayEvents>(
  gateway: Gateway,
  name: Name,
  fits: (event: Parameters<GatewayEvents[Name]>[0]) => boolean = () => true,
): Promise<Parameters<GatewayEvents[Name]>[0]> {
  return new Promise(resolve => {
    const take = (event: Parameters<GatewayEvents[Name]>[0]) => {
      if (!fits(event)) return
      gateway.off(name, take as never)
      resolve(event)
    }
    gateway.on(name, take as never)
  })
}

/** Resolves when data of a client goes by a channel. */
function dataBy(tunnel: TunnelClient, channel: 'stream' | 'datagram'): Promise<void> {
  return new Promise(resolve => {
    if (tunnel.activeChannel === channel) resolve()
    else tunnel.on('channel-changed', ({ to }) => to === channel && resolve())
  })
}

let pings = 0

/** Pings a server over the tunnel, until an answer has come back. */
async function ping(computer: PacketHost, parameters: TunnelParameters, family: 4 | 6, length = 64): Promise<void> {
  const [source, destination] =
    family === 4 ? [parameters.ipv4!.address.toString(), server4] : [parameters.ipv6!.address.toString(), server6]
  const sequenceNumber = ++pings & 0xffff
  const payload = Uint8Array.from({ length }, (_, i) => i ^ sequenceNumber)
  const answer = computer.next(
    ({ bytes, source: from, destination: to, transportAt }) =>
      from === destination && to === source && bytes[transportAt + 7] === (sequenceNumber & 0xff),
  )
  computer.send(icmpEchoPacket({ source, destination, identifier: 7, sequenceNumber, payload }))
  const { bytes, transportAt } = await answer
  expect(bytes.subarray(transportAt + 8)).toEqual(payload)
}

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

describe('a reload', () => {
  test('with another certificate keeps the sessions; who comes later sees the new one', async () => {
    const { gateway } = await world.startGateway()
    const { tunnel, computer } = world.client(gateway)
    const parameters = await tunnel.start()
    await dataBy(tunnel, 'datagram')
    const before = gateway.pin
    await gateway.reload(await world.config({}, 'second'))
    expect(gateway.pin).not.toBe(before)
    await ping(computer, parameters, 4)
    await expect(world.client(gateway, { serverPin: before }).tunnel.start()).rejects.toMatchObject({
      code: 'ERR_GATEWAY_NOT_TRUSTED',
    })
    await world.client(gateway, { user: 'user1' }).tunnel.start()
    expect(gateway.sessions()).toHaveLength(2)
  })

  test('with another pool is refused, names it, and changes nothing', async () => {
    const { gateway } = await world.startGateway()
    const before = gateway.pin
    const other = await world.config({ pool: { ipv4: '10.78.0.0/24', ipv6: 'fd77::/64' } }, 'second')
    await expect(gateway.reload(other)).rejects.toMatchObject({
      code: 'ERR_GATEWAY_CONFIGURATION',
      message: 'a restart is needed to change pool',
    })
    expect(gateway.pin).toBe(before)
  })

  test('ends the sessions of users who may not come in any more', async () => {
    const { gateway } = await world.startGateway()
    const { tunnel } = world.client(gateway, { user: 'user3' })
    await world.client(gateway, { user: 'user4' }).tunnel.start()
    await tunnel.start()
    await world.writeUsers(['user3'])
    try {
      const closed = next(gateway, 'session-closed')
      await gateway.reload(await world.config())
      expect(await closed).toMatchObject({ reason: 'administrator', session: { identity: { username: 'user3' } } })
      expect(await tunnel.stopped).toMatchObject({ message: /administrator/ })
      expect(gateway.sessions()).toHaveLength(1)
    } finally {
      await world.writeUsers()
    }
  })

  test('lets clients reach name servers that were denied before', async () => {
    const { gateway, egress } = await world.gateway({ dns: { servers: [] } })
    egress.translation = undefined
    await gateway.start()
    const { tunnel, computer } = world.client(gateway, { datagram: false })
    const source = (await tunnel.start()).ipv4!.address.toString()
    const query = udpPacket({ source, destination: '169.254.10.10', sourcePort: 1, destinationPort: 53 })
    await gateway.reload(await world.config({ dns: { servers: ['169.254.10.10'] } }))
    computer.send(query)
    await egress.network.next(({ destination }) => destination === '169.254.10.10')
  })

  test('of a gateway that does not run is a mistake of the caller', async () => {
    const { gateway } = await world.gateway()
    await expect(gateway.reload(await world.config())).rejects.toThrow(TypeError)
  })
})

describe('an end', () => {
  test('by stop tells every client why, closes the ports and the way out', async () => {
    const { gateway, egress } = await world.startGateway()
    const { port } = gateway
    const clients = [world.client(gateway).tunnel, world.client(gateway, { user: 'user1', datagram: false }).tunnel]
    for (const tunnel of clients) await tunnel.start()
    const told = clients.map(tunnel => new Promise(resolve => tunnel.on('closed', ({ reason }) => resolve(reason))))
    await gateway.stop()
    expect(await Promise.all(told)).toEqual(['gateway-shutdown', 'gateway-shutdown'])
    expect(await clients[0]!.stopped).toMatchObject({ message: 'The gateway is shutting down' })
    expect(await gateway.stopped).toBeUndefined()
    expect(egress.calls).toEqual(['start', 'stop'])
    ;(await openDatagramSocket({ address: '127.0.0.1', port })).close()
    expect(gateway.stats()).toBeUndefined()
  })

  test('of one session tells its client, and the others go on', async () => {
    const { gateway } = await world.startGateway()
    const gone = world.client(gateway)
    const other = world.client(gateway, { user: 'user1' })
    await gone.tunnel.start()
    const parameters = await other.tunnel.start()
    expect(gateway.endSession(1)).toBe(true)
    expect(gateway.endSession(1)).toBe(false)
    expect(await gone.tunnel.stopped).toMatchObject({ message: 'Disconnected by the administrator' })
    await ping(other.computer, parameters, 4)
  })

  test('of a session from within its own event leaves no trace of it', async () => {
    const { gateway } = await world.startGateway({ pool: { ipv4: '10.77.0.0/24' } })
    gateway.on('channel-changed', ({ session }) => gateway.endSession(session.id))
    const closed = next(gateway, 'session-closed')
    const { tunnel } = world.client(gateway)
    await tunnel.start().catch(() => {})
    expect((await closed).reason).toBe('administrator')
    expect(await tunnel.stopped).toBeInstanceOf(Error)
    expect(gateway.sessions()).toEqual([])
    gateway.removeAllListeners('channel-changed')
    // The address is free again, and leads to the one who has it now.
    const { tunnel: again, computer } = world.client(gateway)
    await ping(computer, await again.start(), 4)
  })

  test('of a session from within the event of its beginning closes its connection', async () => {
    const { gateway } = await world.startGateway()
    gateway.on('session-established', ({ session }) => gateway.endSession(session.id))
    const { tunnel } = world.client(gateway, { reconnectSeconds: 5 })
    await tunnel.start().catch(() => {})
    expect(await tunnel.stopped).not.toBeNull()
    expect(gateway.sessions()).toEqual([])
  })

  test('of its device stops the gateway, with the reason', async () => {
    const { gateway, egress } = await world.startGateway()
    const { tunnel } = world.client(gateway)
    await tunnel.start()
    egress.device.onLost!(new TunError('ERR_TUN_SYSTEM', 'the interface tb0 is gone'))
    expect(await gateway.stopped).toMatchObject({ code: 'ERR_GATEWAY_HOST', message: /tb0 is gone/ })
    expect(await tunnel.stopped).toMatchObject({ message: 'The gateway is shutting down' })
    expect(egress.calls).toEqual(['start', 'stop'])
  })

  test('that can not take everything back says so, and takes the rest back', async () => {
    const { gateway, egress } = await world.startGateway()
    const { port } = gateway
    egress.gate = Promise.reject(new Error('nft is gone'))
    await expect(gateway.stop()).rejects.toThrow('nft is gone')
    expect(await gateway.stopped).toMatchObject({ message: 'nft is gone' })
    ;(await openDatagramSocket({ address: '127.0.0.1', port })).close()
  })
})

describe('a start', () => {
  test('on a port that another program has fails before anything else is touched', async () => {
    const taken = await openDatagramSocket({ address: '127.0.0.1', port: 0 })
    const { gateway, egress } = await world.gateway({
      listen: { address: '127.0.0.1', port: taken.localPort },
      egress: { ports: '10000-19999' },
    })
    await expect(gateway.start()).rejects.toMatchObject({
      code: 'ERR_GATEWAY_HOST',
      message: `can't listen on 127.0.0.1 port ${taken.localPort}: another program has this port`,
    })
    taken.close()
    expect(egress.calls).toEqual([])
    expect(await gateway.stopped).toBeUndefined()
  })

  test('whose way out fails closes its ports', async () => {
    const { gateway, egress } = await world.gateway()
    egress.gate = Promise.reject(new Error('no rights'))
    egress.gate.catch(() => {})
    await expect(gateway.start()).rejects.toThrow('no rights')
    expect(egress.calls).toEqual(['start', 'stop'])
    expect(world.log.find(/not taken back/)).toBeDefined()
  })

  test('that is stopped on its way takes everything back and says that it was', async () => {
    const { gateway, egress } = await world.gateway()
    let open!: () => void
    egress.gate = new Promise<void>(resolve => {
      open = resolve
    })
    const order: string[] = []
    void gateway.stopped.then(() => order.push('stopped'))
    const started = gateway.start().catch(error => {
      order.push('start failed')
      throw error
    })
    while (egress.calls.length === 0) await new Promise(setImmediate)
    const stopped = gateway.stop()
    open()
    await expect(started).rejects.toMatchObject({ code: 'ERR_GATEWAY_ABORTED' })
    await stopped
    expect(egress.calls).toEqual(['start', 'stop'])
    expect(await gateway.stopped).toBeUndefined()
    expect(order).toEqual(['stopped', 'start failed'])
  })

  test('happens once', async () => {
    const { gateway } = await world.gateway()
    const first = gateway.start()
    await expect(gateway.start()).rejects.toThrow(TypeError)
    await first
    await expect(gateway.start()).rejects.toThrow(TypeError)
  })

  test('without a datagram channel leaves the UDP port alone', async () => {
    const tcp = createTcpServer()
    const { gateway } = await world.startGateway({ datagram: { enabled: false } })
    ;(await openDatagramSocket({ address: '127.0.0.1', port: gateway.port })).close()
    tcp.close()
    const { tunnel, computer } = world.client(gateway)
    const parameters = await tunnel.start()
    expect(parameters.datagram).toBeUndefined()
    await ping(computer, parameters, 4)
  })
})
