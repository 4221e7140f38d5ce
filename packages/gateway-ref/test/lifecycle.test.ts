// How a gateway starts, changes and ends, in one process: real TLS, DTLS and UDP on loopback, memory in place of devices.
import { udpPacket } from '@twinbore/core/testing'
import { TunError } from '@twinbore/tun'
import { openDatagramSocket } from '@twinbore/tun/io'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { GatewayWorld } from './support/gateway-world.ts'
import { dataBy, next, ping } from './support/tunnel-steps.ts'

let world: GatewayWorld
beforeAll(async () => {
  world = await GatewayWorld.create()
})
afterEach(() => world.close())
afterAll(() => world.remove())

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
    const { gateway } = await world.startGateway({ datagram: { enabled: false } })
    ;(await openDatagramSocket({ address: '127.0.0.1', port: gateway.port })).close()
    const { tunnel, computer } = world.client(gateway)
    const parameters = await tunnel.start()
    expect(parameters.datagram).toBeUndefined()
    await ping(computer, parameters, 4)
  })
})
