import type { DatagramLoss } from '@twinbore/core'
import { systemRandom } from '@twinbore/core/io'
import { PacketBatch } from '@twinbore/core/packet'
import { DtlsServer, type ServerOutput } from '@twinbore/dtls'
import { nodeCrypto } from '@twinbore/dtls/io'
import type { DatagramSocket } from '@twinbore/tun'
import { openDatagramSocket } from '@twinbore/tun/io'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { ClientDatagrams } from '../../src/client/io/client-datagrams.ts'
import type { DatagramPath } from '../../src/data-plane/tunnel-side.ts'
import { silentLogger } from '../../src/log/logger.ts'

const key = new Uint8Array(32).fill(4)
const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

/** A DTLS server on loopback, run by hand: whatever comes is taken in the next turn of the loop. */
async function startServer() {
  const socket = await openDatagramSocket({ address: '127.0.0.1', port: 0 })
  const server = new DtlsServer({ crypto: nodeCrypto, random: systemRandom, findPsk: () => key })
  const batch = new PacketBatch()
  const outputs: ServerOutput[] = []
  const drain = () => {
    for (let output = server.poll(); output; output = server.poll()) {
      outputs.push(output)
      if (output.type === 'transmit') socket.sendTo(output.endpoint, output.bytes)
    }
  }
  socket.onReadable = () => {
    batch.reset()
    socket.receive(batch)
    for (let slot = 0; slot < batch.count; slot++) socket.endpoints.retain(batch.owners[slot]!)
    server.openDatagrams(batch, performance.now())
    drain()
  }
  closing.push(() => socket.close())
  const close = (association: number) => {
    server.close(association, performance.now())
    drain()
  }
  return { port: socket.localPort, outputs, close }
}

/** The datagram channels of a client, whose sockets are made when the test says so. */
function startClient(port: number, { held = false } = {}) {
  const told: string[] = []
  const paths: DatagramPath[] = []
  const sockets: { socket: DatagramSocket; close: ReturnType<typeof vi.spyOn> }[] = []
  const waiting: (() => void)[] = []
  const failures: Error[] = []
  const tell = (event: string) => (loss: DatagramLoss) => told.push(`${event} ${loss}`)
  const datagrams = new ClientDatagrams(
    {
      onOpened: path => {
        paths.push(path)
        told.push('opened')
      },
      onClosed: tell('closed'),
      onFailed: tell('failed'),
      onTooBig: bytes => told.push(`too big ${bytes}`),
      pump: path => {
        const batch = new PacketBatch()
        path.socket.receive(batch)
        path.records.openDatagrams(batch, performance.now())
        return !batch.full
      },
      settle: () => {},
    },
    async options => {
      if (held) await new Promise<void>(resolve => waiting.push(resolve))
      const failure = failures.shift()
      if (failure) throw failure
      const socket = await openDatagramSocket(options)
      sockets.push({ socket, close: vi.spyOn(socket, 'close') })
      return socket
    },
    silentLogger,
  )
  closing.push(() => datagrams.close())
  const timers = { dpdSeconds: 5, keepaliveSeconds: 20, rekeySeconds: 0, rekeyMethod: 'none' } as const
  const open = () =>
    datagrams.open({ offer: { port, appId: new Uint8Array(32), ...timers }, address: '127.0.0.1', pskKey: key })
  return { datagrams, open, told, paths, sockets, waiting, failures }
}

const until = async (isTrue: () => boolean) => {
  while (!isTrue()) await new Promise(setImmediate)
}

describe('datagram channels', () => {
  test('are opened, and end when the gateway closes them', async () => {
    const server = await startServer()
    const { open, told, sockets } = startClient(server.port)
    await open()
    await until(() => told.length > 0)
    const established = server.outputs.find(output => output.type === 'established')
    server.close(established!.association)
    await until(() => told.length > 1)
    expect(told).toEqual(['opened', 'closed closed-by-peer'])
    expect(sockets[0]!.close).toHaveBeenCalled()
  })

  test('take over from the one before, which is closed without a word', async () => {
    const server = await startServer()
    const { open, told, sockets, paths } = startClient(server.port)
    for (let n = 1; n <= 2; n++) {
      await open()
      await until(() => told.length === n)
    }
    expect(told).toEqual(['opened', 'opened'])
    expect(paths[1]!.socket).toBe(sockets[1]!.socket)
    expect(sockets[0]!.close).toHaveBeenCalled()
    expect(sockets[1]!.close).not.toHaveBeenCalled()
  })

  test('that are overtaken while their socket is made give up, whichever socket comes first', async () => {
    const server = await startServer()
    const { open, told, sockets, waiting } = startClient(server.port, { held: true })
    const attempts = [open(), open()]
    waiting[1]!()
    await attempts[1]
    waiting[0]!()
    await attempts[0]
    await until(() => told.length > 0)
    expect(told).toEqual(['opened'])
    expect(sockets.map(({ close }) => close.mock.calls.length)).toEqual([0, 1])
  })

  test('that are closed while their socket is made leave none behind', async () => {
    const { open, datagrams, told, sockets, waiting } = startClient(9, { held: true })
    const attempt = open()
    datagrams.close()
    waiting[0]!()
    await attempt
    expect(sockets.map(({ close }) => close.mock.calls.length)).toEqual([1])
    expect(told).toEqual([])
  })

  test('without a socket fail, unless they were overtaken', async () => {
    const { open, told, failures, waiting, datagrams } = startClient(9, { held: true })
    failures.push(new Error('no socket'), new Error('no socket'))
    const first = open()
    waiting[0]!()
    await first
    expect(told).toEqual(['failed error'])
    const second = open()
    datagrams.close()
    waiting[1]!()
    await second
    expect(told).toEqual(['failed error'])
  })

  test('where nobody listens fail as soon as the host says so', async () => {
    const free = await openDatagramSocket({ address: '127.0.0.1', port: 0 })
    const { localPort } = free
    free.close()
    const { open, told, sockets } = startClient(localPort)
    await open()
    sockets[0]!.socket.onSendError!({ endpoint: 0, code: 'ECONNREFUSED', length: 100 })
    expect(told).toEqual(['failed unreachable'])
    expect(sockets[0]!.close).toHaveBeenCalled()
  })

  test('tell what of a datagram was the plaintext when it was too long', async () => {
    const server = await startServer()
    const { open, told, sockets } = startClient(server.port)
    await open()
    await until(() => told.length > 0)
    sockets[0]!.socket.onSendError!({ endpoint: 0, code: 'EMSGSIZE', length: 1472 })
    expect(told[1]).toMatch(/too big 14(35|43)/)
  })
})
