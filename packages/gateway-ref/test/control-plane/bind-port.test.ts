import { createServer } from 'node:net'
import { openDatagramSocket } from '@twinbore/tun/io'
import { describe, expect, test } from 'vitest'
import { bindPort } from '../../src/control-plane/io/bind-port.ts'

/** A listener whose answers are given. */
const listener = (...answers: (Error | number)[]) => {
  const asked: number[] = []
  return {
    asked,
    listen: async ({ address, port }: { address: string; port: number }) => {
      asked.push(port)
      const answer = answers.shift()
      if (answer instanceof Error) throw answer
      return { address, port: answer ?? port }
    },
  }
}
const taken = () => Object.assign(new Error('in use'), { code: 'EADDRINUSE' })
const local = { address: '127.0.0.1', port: 0 }

describe('TCP and UDP on one port', () => {
  test('the system chooses it for UDP, and TCP follows', async () => {
    const tcp = listener()
    const {
      port,
      sockets: [socket],
    } = await bindPort(tcp, local, { sockets: 1 })
    expect(socket!.localPort).toBe(port)
    expect(tcp.asked).toEqual([port])
    socket!.close()
  })

  test('UDP has as many sockets as there are workers', async () => {
    const { port, sockets } = await bindPort(listener(), local, { sockets: 3 })
    expect(sockets.map(({ localPort }) => localPort)).toEqual([port, port, port])
    for (const socket of sockets) socket.close()
  })

  test('others are tried where TCP has it already, and what was opened on the way is closed', async () => {
    const tcp = listener(taken(), taken())
    const {
      port,
      sockets: [socket],
    } = await bindPort(tcp, local, { sockets: 1 })
    expect(tcp.asked).toHaveLength(3)
    for (const free of tcp.asked.slice(0, 2).filter(tried => tried !== port)) {
      ;(await openDatagramSocket({ address: '127.0.0.1', port: free })).close()
    }
    socket!.close()
  })

  test('there is an end to trying', async () => {
    const tcp = listener(...Array.from({ length: 100 }, taken))
    await expect(bindPort(tcp, local, { sockets: 1 })).rejects.toMatchObject({ code: 'ERR_GATEWAY_HOST' })
    expect(tcp.asked).toHaveLength(16)
  })

  test('without datagrams there is no UDP socket', async () => {
    const tcp = listener(4433)
    expect(await bindPort(tcp, local, { sockets: 0 })).toEqual({
      address: '127.0.0.1',
      port: 4433,
      sockets: [],
    })
    expect(tcp.asked).toEqual([0])
  })
})

describe('a refusal says what to do', () => {
  test.each([
    ['EADDRINUSE', /another program has this port/],
    ['EACCES', /ports below 1024 need root or CAP_NET_BIND_SERVICE/],
    ['EADDRNOTAVAIL', /this host does not have that address/],
    ['EMFILE', /Error: odd/],
  ])('%s', async (code, text) => {
    const cause = Object.assign(new Error('odd'), { code })
    const refused = await bindPort(listener(cause), { address: '127.0.0.1', port: 443 }, { sockets: 0 }).catch(
      error => error,
    )
    expect(refused).toMatchObject({ code: 'ERR_GATEWAY_HOST', cause, message: text })
    expect(refused.message).toContain('127.0.0.1 port 443')
  })

  test('of UDP, and nothing is asked of TCP', async () => {
    const socket = await openDatagramSocket({ address: '127.0.0.1', port: 0 })
    const tcp = listener()
    await expect(bindPort(tcp, { address: '127.0.0.1', port: socket.localPort }, { sockets: 1 })).rejects.toThrow(
      /another program has this port/,
    )
    await expect(bindPort(tcp, { address: '192.0.2.1', port: 0 }, { sockets: 1 })).rejects.toThrow(
      /does not have that address/,
    )
    expect(tcp.asked).toEqual([])
    socket.close()
  })

  test('of TCP, and the UDP port is free again', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await expect(bindPort(listener(taken()), { address: '127.0.0.1', port }, { sockets: 1 })).rejects.toThrow(
      /another program/,
    )
    ;(await openDatagramSocket({ address: '127.0.0.1', port })).close()
    server.close()
  })
})
