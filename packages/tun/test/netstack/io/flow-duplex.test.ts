import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { IpProtocol } from '@twinbore/core/packet'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectFlow, type FlowDuplex } from '../../../src/io/index.ts'
import { client4, client6, StackWorld, server4, server6 } from './stack-world.ts'

let world: StackWorld
beforeEach(() => {
  world = new StackWorld()
})
afterEach(() => world.close())

function dial(address = server4, allowHalfOpen = false): FlowDuplex {
  const socket = connectFlow(world.client, { remote: { address, port: 80 }, allowHalfOpen })
  // The end of a test ends what it left open.
  return socket.on('error', () => {})
}

function failure(socket: FlowDuplex): Promise<NodeJS.ErrnoException> {
  return new Promise(resolve => socket.once('error', resolve))
}

/** All that comes until the end. (Iterating over a duplex would destroy it there, whatever it has still to write.) */
async function textOf(socket: FlowDuplex): Promise<string> {
  const parts: Uint8Array[] = []
  socket.on('data', part => parts.push(part))
  await once(socket, 'end')
  return Buffer.concat(parts).toString()
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

describe('a connection', () => {
  test.each([
    [server4, client4, 'IPv4'],
    [server6, client6, 'IPv6'],
  ])('to %s is made, echoes and ends on both sides', async (address, own, family) => {
    const requests: unknown[] = []
    world.serve((server, { source, destination }) => {
      requests.push({ source, destination })
      expect(server).toMatchObject({ remoteAddress: own, localAddress: address, localPort: 80 })
      server.pipe(server)
    })
    const socket = dial(address)
    expect(socket).toMatchObject({ connecting: true, pending: true })
    socket.end('hello')
    await Promise.all([textOf(socket).then(said => expect(said).toBe('hello')), once(socket, 'close')])
    expect(socket).toMatchObject({
      remoteAddress: address,
      remotePort: 80,
      remoteFamily: family,
      localAddress: own,
      connecting: false,
      bytesRead: 5,
      bytesWritten: 5,
    })
    expect(requests).toEqual([{ source: { address: own, port: socket.localPort }, destination: { address, port: 80 } }])
  })

  test('carries 10 MB both ways at once, whatever the sizes of the writes', { timeout: 30_000 }, async () => {
    const there = randomBytes(10_000_000)
    const back = randomBytes(10_000_000)
    const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
    const received = createHash('sha256')
    const served = new Promise<void>((resolve, reject) => {
      world.serve(server => {
        server.on('data', bytes => received.update(bytes))
        Promise.all([once(server, 'end'), pipeline(pieces(back, 7001), server, { end: true })]).then(
          () => resolve(),
          reject,
        )
      })
    })
    const socket = dial(server4, true)
    const echoed = createHash('sha256')
    socket.on('data', bytes => echoed.update(bytes))
    await Promise.all([once(socket, 'end'), pipeline(pieces(there, 200_001), socket), served])
    expect(echoed.digest('hex')).toBe(sha256(back))
    expect(received.digest('hex')).toBe(sha256(there))
    expect(socket).toMatchObject({ bytesRead: 10_000_000, bytesWritten: 10_000_000 })
  })

  test('is half-closed by either side, and the other direction goes on', async () => {
    world.serve(async server => {
      const request = await textOf(server)
      await new Promise(setImmediate)
      server.write(`you said ${request}`)
      server.end('.')
    })
    const socket = dial(server4, true)
    socket.end('this')
    expect(await textOf(socket)).toBe('you said this.')

    const said = new Promise<string>(resolve => {
      world.serve(server => {
        server.end('first')
        void textOf(server).then(resolve)
      })
    })
    const other = dial(server4, true)
    expect(await textOf(other)).toBe('first')
    other.write('and now ')
    other.end('me')
    expect(await said).toBe('and now me')
  })

  test('without half-open ends by itself when the peer ends', async () => {
    const ended = new Promise(resolve => world.serve(server => server.end('bye').on('end', resolve).resume()))
    const socket = dial()
    expect(await textOf(socket)).toBe('bye')
    await ended
  })

  test('that nobody reads closes the window: the peer waits, and little is kept', async () => {
    let server!: FlowDuplex
    let written = 0
    const stalled = new Promise<void>(resolve => {
      world.serve(socket => {
        server = socket
        const more = () => {
          while (written < 64_000_000 && server.write(new Uint8Array(64_000))) written += 64_000
        }
        server.on('drain', more)
        more()
        const look = (before: number) => {
          if (written === before && written > 0) resolve()
          else setTimeout(look, 300, written)
        }
        look(-1)
      })
    })
    const socket = dial()
    await stalled
    expect(written).toBeLessThan(20_000_000)
    expect(world.client.stack.stats().bufferBytes).toBeLessThan(9_000_000)
    let read = 0
    socket.on('data', bytes => (read += bytes.length))
    server.end()
    await once(socket, 'end')
    expect(read).toBe(server.bytesWritten)
    expect(read).toBeGreaterThanOrEqual(written)
  })
})

describe('a connection that fails', () => {
  test.each([
    ['reset', 'ECONNREFUSED'],
    ['port-unreachable', 'ECONNREFUSED'],
    ['host-unreachable', 'EHOSTUNREACH'],
    ['admin-prohibited', 'EHOSTUNREACH'],
    ['net-unreachable', 'ENETUNREACH'],
  ] as const)('by %s says %s, in the shape of Node.js', async (reason, code) => {
    world.onRequest = ({ flow }) => world.gateway.stack.refuse(flow, reason, world.gateway.now())
    const socket = dial()
    const error = await failure(socket)
    expect(error).toMatchObject({ code, syscall: 'connect', address: server4, port: 80 })
    expect(error.message).toBe(`connect ${code} ${server4}:80`)
    expect(error.errno).toBeLessThan(0)
    expect(socket.destroyed).toBe(true)
  })

  test('because nobody answers says ETIMEDOUT', async () => {
    world.close()
    world = new StackWorld({ tcp: { giveUpMs: 200, initialRtoMs: 50, minRtoMs: 50, synRetries: 2 } })
    world.passes = () => false
    expect(await failure(dial())).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
  })

  test('because the stack has no flow left says so', async () => {
    world.close()
    world = new StackWorld({ limits: { maxTcpFlowsPerSource: 1 } })
    dial()
    expect(await failure(dial())).toMatchObject({ code: 'EADDRNOTAVAIL' })
  })
})

describe('data followed by a reset', () => {
  test('never looks like a clean end, whether data was read or not', async () => {
    let server!: FlowDuplex
    const accepted = new Promise<void>(resolve => {
      world.serve(socket => {
        server = socket
        resolve()
      })
    })
    const socket = dial()
    socket.on('end', () => expect.unreachable('a reset is no end'))
    let read = 0
    socket.on('data', bytes => (read += bytes.length))
    await accepted
    server.write(new Uint8Array(5000))
    while (read < 5000) await once(socket, 'data')
    server.write(new Uint8Array(100_000))
    server.destroy()
    expect(await failure(socket)).toMatchObject({ code: 'ECONNRESET', syscall: 'read' })

    const another = dial()
    await once(another, 'connect')
    server.write('unread')
    server.resetAndDestroy()
    expect(await failure(another)).toMatchObject({ code: 'ECONNRESET' })
    expect(another.readableEnded).toBe(false)
  })

  test('while writing says so, and the write fails', async () => {
    world.serve(server => setTimeout(() => server.resetAndDestroy(), 20))
    const socket = dial()
    const failed = failure(socket)
    const refused = new Promise(resolve => {
      const more = (error?: Error | null) => {
        if (error) resolve(error)
        else socket.write(new Uint8Array(100_000), more)
      }
      more()
    })
    expect(await refused).toBe(await failed)
    expect(await failed).toMatchObject({ code: 'ECONNRESET' })
  })
})

describe('destroy', () => {
  test('before the end is a reset to the peer', async () => {
    const seen = new Promise(resolve => world.serve(server => server.resume().on('error', resolve)))
    const socket = dial()
    await once(socket, 'connect')
    socket.write('half a sen')
    socket.destroy()
    expect(await seen).toMatchObject({ code: 'ECONNRESET' })
    expect(world.client.stack.stats().tcpFlows).toBe(0)
  })

  test('while connecting gives the attempt up', async () => {
    const socket = dial()
    socket.destroy()
    await once(socket, 'close')
    expect(world.client.stack.stats().tcpFlows).toBe(0)
  })

  test('after end lets what was written arrive', async () => {
    const heard = new Promise(resolve => world.serve(server => void textOf(server).then(resolve)))
    const socket = dial()
    socket.write('x'.repeat(200_000))
    socket.end('last words')
    await once(socket, 'finish')
    socket.destroy()
    expect(await heard).toBe(`${'x'.repeat(200_000)}last words`)
  })

  test('after end resets a peer that goes on talking', async () => {
    let server!: FlowDuplex
    const ended = new Promise<void>(resolve =>
      world.serve(socket => {
        server = socket
        server.resume().on('end', resolve)
      }),
    )
    const socket = dial()
    socket.destroySoon()
    await once(socket, 'close')
    await ended
    const failed = failure(server)
    server.write('are you there?')
    expect(await failed).toMatchObject({ code: 'ECONNRESET' })
  })

  test('of the host ends every connection with its reason', async () => {
    world.serve(() => {})
    const sockets = [dial(), dial(server6)]
    await Promise.all(sockets.map(socket => once(socket, 'connect')))
    const failed = Promise.all(sockets.map(failure))
    const reason = new Error('the tunnel is closed')
    world.client.close(reason)
    expect(await failed).toEqual([reason, reason])
    expect(await failure(dial())).toBe(reason)
  })
})

test('setTimeout tells of silence, once for each, and activity puts it off', async () => {
  let server!: FlowDuplex
  world.serve(socket => {
    server = socket
  })
  const socket = dial().resume()
  await once(socket, 'connect')
  let timeouts = 0
  socket.setTimeout(400, () => timeouts++)
  for (let i = 0; i < 4; i++) {
    await new Promise(resolve => setTimeout(resolve, 150))
    server.write('tick')
  }
  await once(socket, 'data')
  expect(timeouts).toBe(0)
  await once(socket, 'timeout')
  expect(timeouts).toBe(1)
  expect(socket.destroyed).toBe(false)
  expect(socket.setTimeout(0).timeout).toBe(0)
})

test('an error thrown by a handler reaches the process, and other connections and outputs go on', async () => {
  world.serve(server => server.end('hello'))
  const uncaught = new Promise(resolve => {
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', error => {
      for (const listener of listeners) process.on('uncaughtException', listener)
      resolve(error)
    })
  })
  const bad = dial()
  const good = dial()
  bad.on('connect', () => {
    throw new Error('a mistake of the user')
  })
  expect(await textOf(good)).toBe('hello')
  expect(await uncaught).toMatchObject({ message: 'a mistake of the user' })
})

test('packets lost on the way are sent again', { timeout: 20_000 }, async () => {
  let count = 0
  world.passes = packet => packet[9] !== IpProtocol.tcp || ++count % 20 !== 0
  world.serve(server => server.pipe(server))
  const socket = dial(server4, true)
  const sent = randomBytes(300_000)
  socket.end(sent)
  const parts: Uint8Array[] = []
  for await (const part of socket) parts.push(part as Uint8Array)
  expect(Buffer.concat(parts).equals(sent)).toBe(true)
})
