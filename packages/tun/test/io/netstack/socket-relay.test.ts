// Flows of a client through a relay to servers on 127.0.0.1.
import { createHash, randomBytes } from 'node:crypto'
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { SocketRelayOptions } from '../../../src/io/index.ts'
import { client4, client6, outside, RelayWorld } from './relay-world.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const step of closing.splice(0).reverse()) await step()
})

function makeWorld(options: Partial<SocketRelayOptions> = {}): RelayWorld {
  const world = new RelayWorld(options)
  closing.push(() => world.close())
  return world
}

/** A server on loopback; `serve` gets each connection. */
async function listen(serve: (socket: Socket) => void, host = '127.0.0.1'): Promise<{ address: string; port: number }> {
  const sockets = new Set<Socket>()
  const server: Server = createServer({ allowHalfOpen: true }, socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    serve(socket)
  })
  await new Promise<void>(resolve => server.listen(0, host, resolve))
  closing.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { address: outside(host), port: (server.address() as { port: number }).port }
}

const sha256 = (bytes: readonly Uint8Array[]) => createHash('sha256').update(Buffer.concat(bytes)).digest('hex')

describe('a TCP flow', () => {
  test.each(['127.0.0.1', '::1'])('carries megabytes both ways at once to %s, and ends with both FINs', async host => {
    const world = makeWorld()
    const sent = randomBytes(6_000_000)
    const answer = randomBytes(6_000_000)
    const arrived: Buffer[] = []
    const server = await listen(socket => {
      socket.on('data', bytes => arrived.push(bytes))
      socket.end(answer)
    }, host)
    const flow = world.connect(server)
    flow.write(sent)
    flow.end()
    await flow.until(() => flow.has('flow-closed') || flow.isReset)
    expect(flow.isReset).toBe(false)
    expect(sha256(flow.received)).toBe(sha256([answer]))
    expect(sha256(arrived)).toBe(sha256([sent]))
  })

  test('goes on one way for as long as it likes after the other way has ended', async () => {
    const world = makeWorld()
    const server = await listen(socket => {
      const question: Buffer[] = []
      socket.on('data', bytes => question.push(bytes))
      // The answer needs the client's end.
      socket.on('end', () => socket.end(Buffer.concat([...question, randomBytes(3_000_000)])))
    })
    const flow = world.connect(server)
    flow.write('question')
    flow.end()
    await flow.until(() => flow.has('flow-closed'))
    expect(flow.isReset).toBe(false)
    expect(flow.receivedBytes).toBe(3_000_008)

    const arrived: Buffer[] = []
    const ended = new Promise<void>(resolve => {
      void listen(socket => {
        socket.end('all I say')
        socket.on('data', bytes => arrived.push(bytes))
        socket.on('end', resolve)
      }).then(other => {
        const late = world.connect(other)
        void late
          .until(() => late.isEnded)
          .then(() => {
            late.write(randomBytes(3_000_000))
            late.end()
          })
      })
    })
    await ended
    expect(Buffer.concat(arrived)).toHaveLength(3_000_000)
  })

  test('sees its server speak first, and its small messages at once', async () => {
    const world = makeWorld()
    const server = await listen(socket => {
      socket.write('hello')
      socket.on('data', bytes => socket.write(bytes.toString().toUpperCase()))
    })
    const flow = world.connect(server)
    await flow.until(() => flow.text() === 'hello')
    for (const word of ['a', 'b', 'c']) {
      flow.write(word)
      await flow.until(() => flow.text().endsWith(word.toUpperCase()))
    }
    flow.abort()
  })

  test('whose server resets it right behind data never looks complete', async () => {
    const world = makeWorld()
    const server = await listen(socket => {
      socket.once('data', () => {
        socket.write(randomBytes(1 + Math.floor(Math.random() * 60_000)), () => socket.resetAndDestroy())
      })
    })
    for (let i = 0; i < 200; i++) {
      const flow = world.connect(server)
      flow.write('?')
      await flow.until(() => flow.has('flow-closed') || flow.isEnded)
      expect(flow.isEnded).toBe(false)
      expect(flow.isReset).toBe(true)
    }
    expect(world.relay.stats().resetsOutside).toBe(200)
  })

  test('whose client resets it resets the server too', async () => {
    const world = makeWorld()
    const failures: string[] = []
    let closed: () => void
    const gone = new Promise<void>(resolve => {
      closed = resolve
    })
    const server = await listen(socket => {
      socket.write('x')
      socket.on('error', error => failures.push((error as NodeJS.ErrnoException).code!))
      socket.on('close', () => closed())
    })
    const flow = world.connect(server)
    await flow.until(() => flow.receivedBytes === 1)
    flow.abort()
    await gone
    expect(failures).toEqual(['ECONNRESET'])
  })

  test('to a closed port is refused with a reset', async () => {
    const world = makeWorld()
    const { port } = await listen(() => {})
    await closing.pop()!()
    const flow = world.connect({ address: '198.51.100.1', port })
    await flow.until(() => flow.has('flow-closed'))
    expect(flow.outputs).toContainEqual({ type: 'flow-reset', flow: flow.id, reason: 'refused' })
  })

  test('to where clients may not go is refused as prohibited, and nothing is dialled', async () => {
    const world = makeWorld({ mayReach: () => false, redirect: () => undefined })
    const flow = world.connect({ address: '198.51.100.1', port: 80 })
    await flow.until(() => flow.has('icmp-error'))
    expect(flow.outputs).toContainEqual({ type: 'icmp-error', flow: flow.id, kind: 'admin-prohibited' })
    expect(world.relay.stats()).toMatchObject({ dials: 0, destinationsRefused: 1, tcpSockets: 0 })
  })

  test('that nobody reads holds little, and loses nothing once it is read', async () => {
    const world = makeWorld()
    const whole = randomBytes(30_000_000)
    const server = await listen(socket => socket.end(whole))
    const flow = world.connect(server)
    flow.isPaused = true
    const other = world.connect(await listen(socket => socket.pipe(socket)))
    for (let i = 0; i < 50; i++) {
      other.write('x')
      await other.until(() => other.receivedBytes === i + 1)
    }
    expect(world.relay.stats().stack.bufferBytes).toBeLessThan(10_000_000)
    flow.resume()
    await flow.until(() => flow.receivedBytes === whole.length)
    expect(sha256(flow.received)).toBe(sha256([whole]))
    other.abort()
  })

  test('whose session ends is reset outside, and its socket is closed', async () => {
    const world = makeWorld()
    let gone: () => void
    const closed = new Promise<void>(resolve => {
      gone = resolve
    })
    const server = await listen(socket => {
      socket.write('x')
      socket.on('close', () => gone())
    })
    const flow = world.connect(server)
    await flow.until(() => flow.receivedBytes === 1)
    world.relay.removeSource(client4)
    await closed
    expect(world.relay.stats()).toMatchObject({ tcpSockets: 0, stack: { tcpFlows: 0 } })
  })

  test('is not admitted when the process has too many descriptors open, and that is told once', async () => {
    const told: number[] = []
    const world = makeWorld({ limits: { maxDescriptors: 1 }, onDescriptorsExhausted: admitted => told.push(admitted) })
    const server = await listen(() => {})
    for (let i = 0; i < 3; i++) {
      const flow = world.connect(server)
      await flow.until(() => flow.has('icmp-error'))
      expect(flow.outputs).toContainEqual({ type: 'icmp-error', flow: flow.id, kind: 'host-unreachable' })
    }
    expect(told).toEqual([0])
    expect(world.relay.stats()).toMatchObject({ descriptorLimitHits: 3, tcpSockets: 0 })
  })
})

test('connections that come and go leave nothing', async () => {
  const world = makeWorld()
  const server = await listen(socket => socket.pipe(socket))
  for (let round = 0; round < 10; round++) {
    const flows = Array.from({ length: 30 }, () => world.connect(server))
    for (const flow of flows) {
      flow.write('echo')
      flow.end()
    }
    for (const flow of flows) {
      await flow.until(() => flow.has('flow-closed'))
      expect(flow.text()).toBe('echo')
      expect(flow.isReset).toBe(false)
    }
  }
  // The last word of a connection comes after the client's.
  await expect
    .poll(() => {
      const { tcpSockets, stack } = world.relay.stats()
      return { tcpSockets, flows: stack.tcpFlows - stack.timeWait, bytes: stack.bufferBytes }
    })
    .toEqual({ tcpSockets: 0, flows: 0, bytes: 0 })
})

describe('a UDP flow', () => {
  async function echo(
    host: string,
  ): Promise<{ address: string; port: number; peers: Set<number>; socket: DatagramSocket }> {
    const socket = createSocket(host === '::1' ? 'udp6' : 'udp4')
    const peers = new Set<number>()
    socket.on('message', (bytes, { address, port }) => {
      peers.add(port)
      socket.send(bytes, port, address)
    })
    await new Promise<void>(resolve => socket.bind(0, host, resolve))
    closing.push(() => socket.close())
    return { address: outside(host), port: socket.address().port, peers, socket }
  }

  test.each(['127.0.0.1', '::1'])('gets answers from %s, small ones and such as must be fragmented', async host => {
    const world = makeWorld()
    const server = await echo(host)
    const flow = world.bind(host === '::1' ? client6 : client4)
    for (const [i, length] of [1, 1200, 9000, 60_000].entries()) {
      const bytes = randomBytes(length)
      world.sendDatagram(flow, server, bytes)
      await flow.until(() => flow.outputs.filter(output => output.type === 'datagram').length > i)
      expect(flow.outputs.at(-1)).toMatchObject({ remote: { address: server.address, port: server.port } })
      expect(Buffer.compare((flow.outputs.at(-1) as { bytes: Uint8Array }).bytes, bytes)).toBe(0)
    }
  })

  test('has one outside port for all destinations, and is answered only by hosts that it sent to', async () => {
    const world = makeWorld()
    const first = await echo('127.0.0.1')
    const second = await echo('127.0.0.2')
    const stranger = await echo('127.0.0.3')
    const flow = world.bind(client4)
    const datagrams = () => flow.outputs.filter(output => output.type === 'datagram')
    world.sendDatagram(flow, first, Buffer.from('1'))
    world.sendDatagram(flow, second, Buffer.from('2'))
    await flow.until(() => datagrams().length === 2)
    expect(first.peers).toEqual(second.peers)
    expect(first.peers.size).toBe(1)
    const [port] = first.peers
    await new Promise(resolve => stranger.socket.send('from a stranger', port!, '127.0.0.1', resolve))
    world.sendDatagram(flow, first, Buffer.from('3'))
    await flow.until(() => datagrams().length === 3)
    expect(Buffer.from((datagrams()[2] as { bytes: Uint8Array }).bytes).toString()).toBe('3')
    expect(world.relay.stats().datagramsFiltered).toBe(1)
  })

  test('that begins with a burst loses none of it', async () => {
    const world = makeWorld()
    const server = await echo('127.0.0.1')
    const flow = world.bind(client4)
    for (let i = 0; i < 40; i++) world.sendDatagram(flow, server, Buffer.of(i))
    await flow.until(() => flow.outputs.filter(output => output.type === 'datagram').length === 40)
    expect(world.relay.stats().stack.heldDatagramsDropped).toBe(0)
  })

  test('is told when its destination is prohibited, and has no socket then', async () => {
    const world = makeWorld({ mayReach: () => false, redirect: () => undefined })
    const flow = world.bind(client4)
    world.sendDatagram(flow, { address: '198.51.100.9', port: 9 }, Buffer.from('x'))
    await flow.until(() => flow.has('icmp-error'))
    expect(flow.outputs.at(-1)).toMatchObject({ kind: 'admin-prohibited' })
    expect(world.relay.stats().udpSockets).toBe(0)
  })

  test('that ends with its session has its socket closed', async () => {
    const world = makeWorld()
    const server = await echo('127.0.0.1')
    const flow = world.bind(client4)
    world.sendDatagram(flow, server, Buffer.from('x'))
    await flow.until(() => flow.has('datagram'))
    expect(world.relay.stats().udpSockets).toBe(1)
    world.relay.removeSource(client4)
    await new Promise(resolve => setImmediate(resolve))
    expect(world.relay.stats()).toMatchObject({ udpSockets: 0, stack: { udpFlows: 0 } })
  })

  test('to a service of the relay itself costs no socket', async () => {
    const world = makeWorld({
      takeDatagram: (inside, remote, bytes, reply) => {
        if (remote.address !== '10.77.0.1') return false
        reply(Buffer.from(`${inside.address} said ${Buffer.from(bytes)}`))
        return true
      },
    })
    const flow = world.bind(client4)
    world.sendDatagram(flow, { address: '10.77.0.1', port: 53 }, Buffer.from('hi'))
    await flow.until(() => flow.has('datagram'))
    expect(Buffer.from((flow.outputs.at(-1) as { bytes: Uint8Array }).bytes).toString()).toBe(`${client4} said hi`)
    expect(world.relay.stats().udpSockets).toBe(0)
  })
})
