// createServer and connect over node:dgram sockets on loopback.
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { connect, createServer, type DtlsSocket } from '../src/io/index.ts'
import { boundSocket, freePort } from './peer-program.ts'
import { testKey, textOf } from './world.ts'

const psk = { identity: 'psk', key: testKey }

describe('a server and its clients', () => {
  test('talk, and see each other end', async () => {
    const socket = await boundSocket()
    const server = createServer(socket, { findPsk: () => testKey })
    const { port } = socket.address()
    const closings: string[] = []
    server.on('connection', peer => {
      peer.on('message', bytes => peer.send(bytes))
      peer.on('closed', ({ reason }) => closings.push(reason))
    })
    const clients = [1, 2, 3].map(id => connect({ address: '127.0.0.1', port, psk, sessionId: Uint8Array.of(id) }))
    for (const client of clients) await event(client, 'established')
    for (const [id, client] of clients.entries()) {
      client.send(new TextEncoder().encode(`hello ${id}`))
      expect(textOf((await event(client, 'message')) as Uint8Array)).toBe(`hello ${id}`)
    }
    const ends = clients.map(client => event(client, 'closed'))
    const serverEnd = new Promise(resolve => server.once('closed', resolve))
    clients[0]!.close()
    expect(await ends[0]).toEqual({ reason: 'local' })
    server.close()
    expect(await Promise.all(ends.slice(1))).toEqual([{ reason: 'peer' }, { reason: 'peer' }])
    expect(await serverEnd).toEqual({})
    expect(closings.filter(reason => reason === 'local').length).toBeGreaterThanOrEqual(2)
    expect(clients[1]!.send(Uint8Array.of(1))).toBe(false)
  })

  test('notice when a handshake fails', async () => {
    const socket = await boundSocket()
    const server = createServer(socket, { findPsk: () => undefined })
    const failed = new Promise<{ error: { code: string }; remote: { address: string } }>(resolve =>
      server.once('handshake-failed', resolve),
    )
    const client = connect({ address: '127.0.0.1', port: socket.address().port, psk, handshakeTimeoutMs: 500 })
    expect(await failed).toMatchObject({ error: { code: 'ERR_DTLS_UNKNOWN_PSK' }, remote: { address: '127.0.0.1' } })
    expect(await event(client, 'closed')).toMatchObject({ reason: 'handshake-failed' })
    server.close()
  })
})

test('nobody there: the client ends by its deadline', async () => {
  const client = connect({ address: '127.0.0.1', port: await freePort(), psk, handshakeTimeoutMs: 200 })
  expect(await event(client, 'closed')).toMatchObject({ error: { code: 'ERR_DTLS_HANDSHAKE_TIMEOUT' } })
})

test('a socket that fails ends the association with its cause', async () => {
  const socket = await boundSocket()
  const client = connect({ address: '127.0.0.1', port: await freePort(), psk, socket })
  const end = event(client, 'closed')
  const cause = new Error('the network is gone')
  socket.emit('error', cause)
  expect(await end).toMatchObject({ error: { code: 'ERR_DTLS_SOCKET', cause } })
  await once(socket, 'close')
})

function event(socket: DtlsSocket, name: 'established' | 'message' | 'closed'): Promise<unknown> {
  return new Promise(resolve => socket.once(name, resolve))
}
