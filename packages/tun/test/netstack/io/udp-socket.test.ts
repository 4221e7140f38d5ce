import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { UdpSocket } from '../../../src/io/index.ts'
import { client4, client6, StackWorld, server4, server6 } from './stack-world.ts'

let world: StackWorld
beforeEach(() => {
  world = new StackWorld()
  world.serve(() => {})
  world.onDatagram = ({ flow, remote, bytes }) => {
    world.gateway.stack.sendDatagram(flow, remote, bytes, world.gateway.now())
    world.gateway.touch()
  }
})
afterEach(() => world.close())

describe('a UDP socket', () => {
  test.each([
    [client4, server4],
    [client6, server6],
  ])('of %s sends and receives, long datagrams in fragments', async (own, address) => {
    const socket = world.udp(own)
    expect(socket.localAddress).toBe(own)
    for (const size of [0, 5, 9000]) {
      const bytes = new Uint8Array(size).fill(size)
      socket.send(bytes, { address, port: 7 })
      const [answer, remote] = await once(socket, 'message')
      expect(answer).toEqual(bytes)
      expect(remote).toEqual({ address, port: 7 })
    }
  })

  test('hears that nobody is there', async () => {
    world.onRequest = ({ flow }) => world.gateway.stack.refuse(flow, 'port-unreachable', world.gateway.now())
    const socket = world.udp()
    socket.send(Uint8Array.of(1), { address: server4, port: 7 })
    const [event] = await once(socket, 'unreachable')
    expect(event).toMatchObject({ kind: 'port-unreachable', remote: { address: server4, port: 7 } })
  })

  test('is closed once, and sends nothing afterwards', async () => {
    const socket = world.udp()
    const { localPort } = socket
    const bind = () => new UdpSocket(world.client, { address: client4, port: localPort })
    expect(bind).toThrow(expect.objectContaining({ code: 'EADDRINUSE', syscall: 'bind' }))
    const closed = once(socket, 'close')
    socket.close()
    socket.close()
    await closed
    expect(() => socket.send(Uint8Array.of(1), { address: server4, port: 7 })).toThrow(TypeError)
    expect(bind().localPort).toBe(localPort)
  })

  test('ends with its host', async () => {
    const socket = world.udp()
    const closed = once(socket, 'close')
    const reason = new Error('gone')
    world.client.close(reason)
    expect(await closed).toEqual([reason])
    expect(() => world.udp()).toThrow(reason)
  })

  test('refuses addresses that are none or of the other family', () => {
    const socket = world.udp()
    for (const address of ['nowhere', server6]) {
      expect(() => socket.send(Uint8Array.of(1), { address, port: 7 })).toThrow(RangeError)
    }
  })
})
