// Programs beyond a tunnel reached without any part of the operating system: real TLS, DTLS and UDP on loopback between the
// client and the gateway, userspace stacks at both ends.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { openDatagramSocket } from '@twinbore/tun/io'
import type { NetStackEndpoint } from '@twinbore/tun/netstack'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { stackInterface } from '../src/client/io/stack-interface.ts'
import type { TunnelClient } from '../src/client/io/tunnel-client.ts'
import type { Gateway } from '../src/control-plane/io/gateway.ts'
import { UdpCut } from '../src/demo/cuttable-socket.ts'
import { deviceEgress } from '../src/egress/device-egress.ts'
import { GatewayWorld } from './support/gateway-world.ts'
import { StackServers, zone } from './support/stack-servers.ts'
import { dataBy, next } from './support/tunnel-steps.ts'

const host = 'intranet.corp.example'
let world: GatewayWorld
const closing: (() => unknown)[] = []
beforeAll(async () => {
  world = await GatewayWorld.create()
})
afterEach(async () => {
  await world.close()
  for (const close of closing.splice(0)) await close()
})
afterAll(() => world.remove())

/** Sends back the hash of what was sent, or as many bytes as the path says. */
const service: RequestListener = (request, response) => {
  if (request.method === 'POST') void buffer(request).then(body => response.end(sha256(body)))
  else if (request.url === '/whoami') response.end(request.socket.remoteAddress)
  else response.end(bytesOf(Number(request.url!.slice(1))))
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const bytesOf = (count: number) => Buffer.alloc(count, 'intranet ')

/** A gateway whose translated packets come to servers in memory. */
async function translated(): Promise<{ gateway: Gateway; servers: StackServers }> {
  const servers = new StackServers()
  const web: Server = createServer(service)
  servers.tcp.set('80', (socket, { source }) => {
    expect(['203.0.113.1', '2001:db8:ffff::1']).toContain(source.address)
    web.emit('connection', socket)
  })
  servers.onQuestion = zone({ [host]: ['198.51.100.10', '2001:db8::10'], 'four.corp.example': ['198.51.100.10'] })
  closing.push(() => servers.close())
  const egress = deviceEgress({ device: servers.device, addresses: ['203.0.113.1', '2001:db8:ffff::1'] })
  return { gateway: await world.startGatewayWith({ egress }), servers }
}

/** Where clients find the loopback of the gateway's host. */
const loopback = '203.0.113.80'

/** A gateway on ordinary sockets, and a web server on the loopback. */
async function onSockets(): Promise<{ gateway: Gateway; url: string }> {
  const web = createServer(service)
  web.listen(0, '127.0.0.1')
  await once(web, 'listening')
  closing.push(() => web.close())
  const redirect = ({ address, port }: NetStackEndpoint) => {
    expect(address).toBe(loopback)
    return { address: '127.0.0.1', port }
  }
  const gateway = await world.startGatewayWith({ redirect }, { egress: { mode: 'sockets' } })
  return { gateway, url: `http://${loopback}:${(web.address() as AddressInfo).port}` }
}

async function connected(gateway: Gateway, options: Parameters<GatewayWorld['client']>[1] = {}): Promise<TunnelClient> {
  const { tunnel } = world.client(gateway, { interface: stackInterface(), ...options })
  await tunnel.start()
  return tunnel
}

describe.each([false, true])('with the datagram channel: %s', { timeout: 30_000 }, datagram => {
  test('a page is fetched by name through a translating gateway, 5 MB pass each way', async () => {
    const { gateway, servers } = await translated()
    const tunnel = await connected(gateway, { datagram })
    if (datagram) await dataBy(tunnel, 'datagram')
    for (const name of [host, 'four.corp.example']) {
      expect(await (await tunnel.fetch(`http://${name}/12`)).text()).toBe('intranet int')
    }
    expect((await tunnel.lookup(host)).map(({ address }) => address)).toEqual(['2001:db8::10', '198.51.100.10'])
    // The name server is the one that the gateway names.
    expect(new Set(servers.questions.map(({ server }) => server))).toEqual(new Set(['10.9.9.9']))
    const sent = randomBytes(5_000_000)
    const answer = await tunnel.fetch(`http://${host}/`, { method: 'POST', body: sent })
    expect(await answer.text()).toBe(sha256(sent))
    const fetched = Buffer.from(await (await tunnel.fetch(`http://${host}/5000000`)).arrayBuffer())
    expect(sha256(fetched)).toBe(sha256(bytesOf(5_000_000)))
    const { sent: out, received } = tunnel.stats()!
    const channel = datagram ? 'datagram' : 'stream'
    expect(out[channel].bytes).toBeGreaterThan(5_000_000)
    expect(received[channel].bytes).toBeGreaterThan(5_000_000)
  })

  test('a page is fetched through a gateway on ordinary sockets, 5 MB pass each way', async () => {
    const { gateway, url } = await onSockets()
    const tunnel = await connected(gateway, { datagram })
    if (datagram) await dataBy(tunnel, 'datagram')
    expect(await (await tunnel.fetch(`${url}/whoami`)).text()).toBe('127.0.0.1')
    const sent = randomBytes(5_000_000)
    expect(await (await tunnel.fetch(url, { method: 'POST', body: sent })).text()).toBe(sha256(sent))
    const fetched = Buffer.from(await (await tunnel.fetch(`${url}/5000000`)).arrayBuffer())
    expect(sha256(fetched)).toBe(sha256(bytesOf(5_000_000)))
  })
})

describe('through a gateway on ordinary sockets', () => {
  test('what fails beyond it fails here the same way', async () => {
    const { gateway } = await onSockets()
    const tunnel = await connected(gateway)
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    await new Promise(resolve => closed.close(resolve))
    const codeOf = (target: string) =>
      new Promise(resolve =>
        tunnel.connect({ host: target, port }).on('error', ({ code }: NodeJS.ErrnoException) => resolve(code)),
      )
    expect(await codeOf(loopback)).toBe('ECONNREFUSED')
  })
})

describe('connections survive', () => {
  test('a TCP connection of the tunnel that is cut and comes back', async () => {
    const { gateway } = await translated()
    const relay = await world.relay(gateway.port)
    const tunnel = await connected(gateway, { port: relay.port, datagram: false })
    const response = await tunnel.fetch('http://198.51.100.10/8000000')
    const renewed = new Promise(resolve => tunnel.once('stream-renewed', resolve))
    const hash = createHash('sha256')
    let read = 0
    for await (const part of response.body!) {
      if (read < 1_000_000 && read + part.length >= 1_000_000) relay.cut()
      read += part.length
      hash.update(part)
    }
    await renewed
    expect(read).toBe(8_000_000)
    expect(hash.digest('hex')).toBe(sha256(bytesOf(8_000_000)))
  }, 30_000)

  test('a datagram channel that goes dark and comes back', async () => {
    const { gateway } = await translated()
    const cut = new UdpCut()
    const tunnel = await connected(gateway, {
      openDatagramSocket: async options => cut.wrap(await openDatagramSocket(options)),
    })
    await dataBy(tunnel, 'datagram')
    const response = await tunnel.fetch('http://198.51.100.10/8000000')
    let read = 0
    const hash = createHash('sha256')
    for await (const part of response.body!) {
      if (read < 1_000_000 && read + part.length >= 1_000_000) cut.active = true
      if (tunnel.activeChannel === 'stream') cut.active = false
      read += part.length
      hash.update(part)
    }
    expect(cut.swallowed).toBeGreaterThan(0)
    expect(hash.digest('hex')).toBe(sha256(bytesOf(8_000_000)))
    await dataBy(tunnel, 'datagram')
    expect(await (await tunnel.fetch('http://198.51.100.10/3')).text()).toBe('int')
  }, 30_000)
})

describe('the end of the tunnel', () => {
  test('of this side ends what is open and says so', async () => {
    const { gateway, servers } = await translated()
    servers.tcp.set('7', socket => socket.resume())
    const tunnel = await connected(gateway)
    const socket = tunnel.connect({ host, port: 7 })
    await once(socket, 'connect')
    const failed = once(socket, 'error')
    await tunnel.stop()
    expect((await failed)[0]).toMatchObject({ code: 'ERR_GATEWAY_ABORTED', message: 'the tunnel is closed' })
    await expect(tunnel.fetch(`http://${host}/1`)).rejects.toMatchObject({ cause: { code: 'ERR_GATEWAY_ABORTED' } })
  })

  test('of the gateway ends what is open with the reason', async () => {
    const { gateway, servers } = await translated()
    servers.tcp.set('7', socket => socket.resume())
    const tunnel = await connected(gateway)
    const socket = tunnel.connect({ host, port: 7 })
    await once(socket, 'connect')
    const failed = once(socket, 'error')
    const closed = next(gateway, 'session-closed')
    gateway.endSession(gateway.sessions()[0]!.id)
    await closed
    expect((await failed)[0]).toMatchObject({ code: 'ERR_GATEWAY_UNREACHABLE' })
    expect(await tunnel.stopped).toBe((await failed)[0])
  })
})

test('a tunnel with another interface, or none yet, has no network and says what to do', async () => {
  const { gateway } = await translated()
  const { tunnel } = world.client(gateway)
  expect(() => tunnel.connect({ host, port: 80 })).toThrow('the tunnel is not started')
  await tunnel.start()
  for (const use of [() => tunnel.agent, () => tunnel.createUdpSocket(), () => tunnel.fetch('http://a/')]) {
    expect(use).toThrow(/interface: stackInterface\(\)/)
  }
})
