// A whole gateway whose way out are the sockets of this process, and a client whose stack is in memory.
import { createServer } from 'node:net'
import { systemRandom } from '@twinbore/core/io'
import { StackDevice } from '@twinbore/tun/io'
import { NetStack, type NetStackOutput } from '@twinbore/tun/netstack'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { GatewayOptions } from '../../../src/config/gateway-options.ts'
import { Gateway, type GatewayHands } from '../../../src/control-plane/io/gateway.ts'
import { GatewayWorld } from '../../support/gateway-world.ts'
import { next } from '../../support/tunnel-steps.ts'

let world: GatewayWorld
const closing: (() => unknown)[] = []
beforeAll(async () => {
  world = await GatewayWorld.create()
})
afterEach(async () => {
  for (const step of closing.splice(0).reverse()) await step()
  await world.close()
})
afterAll(() => world.remove())

/** What clients call the server of a test. */
const published = '198.51.100.7'
const toLoopback: NonNullable<GatewayHands['redirect']> = ({ address, port }) =>
  address === published ? { address: '127.0.0.1', port } : undefined

async function startGateway(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  // No word of a way out: it is the default.
  const gateway = new Gateway(await world.config(options), { log: world.log, redirect: toLoopback })
  closing.push(() => gateway.stop({ immediately: true }))
  await gateway.start()
  return gateway
}

/** A client with a stack of its own, and the outputs of that. */
async function connectStack(gateway: Gateway) {
  const outputs: NetStackOutput[] = []
  const waiting = new Set<() => void>()
  let made: { stack: NetStack; device: StackDevice } | undefined
  const { tunnel } = world.client(gateway, {
    interface: parameters => {
      const address = parameters.ipv4!.address.toString()
      const stack = new NetStack({ random: systemRandom, addresses: [address] })
      const device = new StackDevice(stack, { name: 'client', mtu: parameters.mtu })
      device.onOutput = output => {
        outputs.push(output)
        for (const look of waiting) look()
      }
      made = { stack, device }
      return { device, close: () => device.close() }
    },
  })
  const parameters = await tunnel.start()
  const { stack, device } = made!
  return {
    tunnel,
    parameters,
    stack,
    device,
    address: parameters.ipv4!.address.toString(),
    output: <Type extends NetStackOutput['type']>(type: Type) =>
      new Promise<Extract<NetStackOutput, { type: Type }>>(resolve => {
        const look = () => {
          const found = outputs.find(output => output.type === type)
          if (!found) return
          waiting.delete(look)
          resolve(found as Extract<NetStackOutput, { type: Type }>)
        }
        waiting.add(look)
        look()
      }),
  }
}

async function echoServer(): Promise<{ port: number; closed: Promise<void> }> {
  let close = () => {}
  const closed = new Promise<void>(resolve => {
    close = resolve
  })
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.on('close', () => close())
    socket.pipe(socket)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => server.close())
  return { port: (server.address() as { port: number }).port, closed }
}

test('a client reaches a server of the gateway’s process, and leaves nothing behind when its session ends', async () => {
  const { port, closed } = await echoServer()
  const gateway = await startGateway()
  const client = await connectStack(gateway)
  const flow = client.stack.openTcp({ remote: { address: published, port } }, client.device.now())
  client.stack.write(flow, new TextEncoder().encode('hello'), client.device.now())
  client.device.settle()
  await client.output('flow-readable')
  expect(new TextDecoder().decode(client.stack.read(flow, client.device.now()))).toBe('hello')
  expect(gateway.stats()!.sockets).toMatchObject({ tcpSockets: 1, dials: 1 })
  const ended = next(gateway, 'session-closed')
  await client.tunnel.stop()
  await Promise.all([ended, closed])
  await expect.poll(() => gateway.stats()!.sockets).toMatchObject({ tcpSockets: 0, stack: { tcpFlows: 0 } })
})

test('a stream crosses the gateway in super-packets, both ways', async () => {
  const { port } = await echoServer()
  const gateway = await startGateway()
  const { stack, device, output } = await connectStack(gateway)
  const flow = stack.openTcp({ remote: { address: published, port } }, device.now())
  device.settle()
  await output('flow-established')
  const sent = Uint8Array.from({ length: 300_000 }, (_, i) => (i ^ (i >>> 8)) & 0xff)
  const received: Uint8Array[] = []
  let written = 0
  const step = () => {
    written += stack.write(flow, sent.subarray(written), device.now())
    for (let bytes = stack.read(flow, device.now()); bytes; bytes = stack.read(flow, device.now())) received.push(bytes)
    device.settle()
    return received.reduce((sum, { length }) => sum + length, 0)
  }
  await expect.poll(step, { interval: 5, timeout: 20_000 }).toBe(sent.length)
  expect(Buffer.concat(received).equals(sent)).toBe(true)
  const { superPacketsRead, superPacketsWritten, packetsWritten } = gateway.stats()!.device
  expect(superPacketsRead).toBeGreaterThan(0)
  expect(superPacketsWritten).toBeGreaterThan(0)
  // Of the flow's packets none was lost count of.
  expect(packetsWritten).toBeGreaterThanOrEqual(Math.ceil(sent.length / 1400))
})

test('what is refused is refused by the guard or told by the stack, and no socket is opened', async () => {
  const gateway = await startGateway()
  const client = await connectStack(gateway)
  // At its inside address the gateway offers nothing here.
  client.stack.openTcp({ remote: { address: '10.77.0.1', port: 443 } }, client.device.now())
  client.device.settle()
  expect(await client.output('icmp-error')).toMatchObject({ kind: 'admin-prohibited' })
  client.stack.openTcp({ remote: { address: '169.254.169.254', port: 80 } }, client.device.now())
  client.device.settle()
  await expect.poll(() => gateway.stats()!.drops).toEqual({ deniedDestination: 1 })
  expect(gateway.stats()!.sockets).toMatchObject({ dials: 0, destinationsRefused: 1 })
})

test('clients are told to ask the gateway for names, and their queries cost no sockets', async () => {
  const gateway = await startGateway({ dns: { forward: ['127.0.0.1'] } })
  const client = await connectStack(gateway)
  expect(client.parameters.dns.servers.map(String)).toEqual(['10.77.0.1', 'fd77::1'])
  const query = Uint8Array.from([9, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1])
  const flow = client.stack.bindUdp({ address: client.address }, client.device.now())
  for (let i = 0; i < 5; i++) {
    client.stack.sendDatagram(flow, { address: '10.77.0.1', port: 53 }, query, client.device.now())
  }
  client.device.settle()
  await expect.poll(() => gateway.stats()!.sockets?.dns).toMatchObject({ queries: 5 })
  expect(gateway.stats()!.sockets).toMatchObject({ udpSockets: 0, dials: 0 })
})
