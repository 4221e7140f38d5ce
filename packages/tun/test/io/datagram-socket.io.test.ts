// Both implementations of the socket contract, on loopback only. Needs no privilege.
import { PacketBatch, Verdict } from '@twinbore/core/packet'
import { afterEach, describe, expect, test } from 'vitest'
import type { DatagramSendError, DatagramSocket } from '../../src/datagram-socket.ts'
import { TunError } from '../../src/errors.ts'
import { openDatagramSocket } from '../../src/io/index.ts'

const open: DatagramSocket[] = []
afterEach(() => {
  for (const socket of open.splice(0)) socket.close()
})

/** The next `count` datagrams, with the text of their sender. */
function receiveSome(
  socket: DatagramSocket,
  count: number,
  capacity = 64,
): Promise<{ from: string; bytes: Uint8Array }[]> {
  return new Promise(resolve => {
    const found: { from: string; bytes: Uint8Array }[] = []
    const batch = new PacketBatch({ capacity })
    socket.onReadable = () => {
      batch.reset()
      socket.receive(batch)
      for (let slot = 0; slot < batch.count; slot++) {
        const { address, port } = socket.endpoints.describe(batch.owners[slot]!)
        found.push({ from: `${address} ${port}`, bytes: batch.packet(slot).slice() })
      }
      if (found.length < count) return
      socket.onReadable = undefined
      resolve(found)
    }
  })
}

const endpointOf = (socket: DatagramSocket, target: DatagramSocket, address = target.localAddress): number =>
  socket.endpoints.intern(address, target.localPort)

describe.each([
  ['native', true],
  ['portable', false],
])('%s', (_name, native) => {
  const socketAt = async (address: string, options = {}): Promise<DatagramSocket> => {
    const socket = await openDatagramSocket({ address, native, ...options })
    open.push(socket)
    return socket
  }

  describe.each(['127.0.0.1', '::1'])('on %s', address => {
    test('a batch goes out and comes in, each datagram with its sender', async () => {
      const [a, b] = [await socketAt(address), await socketAt(address)]
      const batch = new PacketBatch({ slotBytes: 9000 })
      const to = endpointOf(a, b)
      for (const length of [0, 1, 1400, 9000]) batch.push(new Uint8Array(length).fill(length & 0xff), to)
      batch.push(Uint8Array.of(1), to)
      batch.divert(4)
      const received = receiveSome(b, 3)
      expect(a.send(batch)).toBe(4)
      // What is done with the batch afterwards does not matter.
      batch.bytes.fill(0xee)
      const found = await received
      expect(found.map(({ bytes }) => bytes.length)).toEqual([0, 1, 1400])
      expect(found[2]!.bytes.every(byte => byte === (1400 & 0xff))).toBe(true)
      expect(found.every(({ from }) => from === `${address} ${a.localPort}`)).toBe(true)
      expect(a.stats()).toMatchObject({ datagramsSent: 4, bytesSent: 10_401, sendErrors: 0 })
    })

    test('sendTo answers an endpoint that was received from', async () => {
      const [a, b] = [await socketAt(address), await socketAt(address)]
      const asked = receiveSome(b, 1)
      a.sendTo(endpointOf(a, b), Uint8Array.of(1))
      await asked
      const answered = receiveSome(a, 1)
      expect(b.sendTo(b.endpoints.intern(address, a.localPort), Uint8Array.of(2, 3))).toBe(true)
      expect((await answered)[0]!.bytes).toEqual(Uint8Array.of(2, 3))
    })
  })

  test('one socket on :: serves both families; IPv4 peers have their IPv4 address', async () => {
    const both = await socketAt('::')
    const [v4, v6] = [await socketAt('127.0.0.1'), await socketAt('::1')]
    const received = receiveSome(both, 2)
    v4.sendTo(endpointOf(v4, both, '127.0.0.1'), Uint8Array.of(4))
    v6.sendTo(endpointOf(v6, both, '::1'), Uint8Array.of(6))
    const from = (await received).map(datagram => datagram.from)
    expect(from.sort()).toEqual([`127.0.0.1 ${v4.localPort}`, `::1 ${v6.localPort}`].sort())
    const answers = [receiveSome(v4, 1), receiveSome(v6, 1)]
    both.sendTo(endpointOf(both, v4), Uint8Array.of(1))
    both.sendTo(endpointOf(both, v6), Uint8Array.of(2))
    expect((await Promise.all(answers)).map(([datagram]) => datagram!.bytes[0])).toEqual([1, 2])
  })

  test('more datagrams than a batch holds are announced again', async () => {
    const [a, b] = [await socketAt('127.0.0.1'), await socketAt('127.0.0.1')]
    const received = receiveSome(b, 100, 7)
    for (let i = 0; i < 100; i++) a.sendTo(endpointOf(a, b), Uint8Array.of(i))
    expect((await received).map(({ bytes }) => bytes[0])).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })

  test('datagrams longer than a slot are counted and passed over', async () => {
    const [a, b] = [await socketAt('127.0.0.1'), await socketAt('127.0.0.1')]
    const received = receiveSome(b, 1)
    a.sendTo(endpointOf(a, b), new Uint8Array(3000))
    a.sendTo(endpointOf(a, b), Uint8Array.of(1))
    expect((await received)[0]!.bytes).toEqual(Uint8Array.of(1))
    expect(b.stats()).toMatchObject({ receiveTooBig: 1, datagramsReceived: 1 })
  })

  test('more peers than the endpoint table holds: retained ones stay, others are dropped and counted', async () => {
    const b = await socketAt('127.0.0.1', { endpoints: 1 })
    const [first, second] = [await socketAt('127.0.0.1'), await socketAt('127.0.0.1')]
    const received = receiveSome(b, 1)
    first.sendTo(endpointOf(first, b), Uint8Array.of(1))
    await received
    b.endpoints.retain(0)
    const again = receiveSome(b, 1)
    second.sendTo(endpointOf(second, b), Uint8Array.of(2))
    first.sendTo(endpointOf(first, b), Uint8Array.of(3))
    expect((await again)[0]!.bytes).toEqual(Uint8Array.of(3))
    expect(b.stats().endpointTableDrops).toBe(1)
  })

  describe('what cannot be sent', () => {
    test('is told and counted, and throws nothing', async () => {
      const a = await socketAt('127.0.0.1')
      const errors: DatagramSendError[] = []
      const told = new Promise<void>(resolve => {
        a.onSendError = event => {
          errors.push(event)
          if (errors.length === 3) resolve()
        }
      })
      const batch = new PacketBatch({ slotBytes: 65_535 })
      const loopback = a.endpoints.intern('127.0.0.1', 9)
      const other = a.endpoints.intern('::1', 9)
      // Broadcast without permission is refused by the system itself: at once, or later.
      const refused = a.endpoints.intern('255.255.255.255', 9)
      batch.push(new Uint8Array(65_508), loopback)
      batch.push(new Uint8Array(1), other)
      batch.push(new Uint8Array(1), 4711)
      batch.push(new Uint8Array(2), refused)
      expect(a.send(batch)).toBe(native ? 0 : 1)
      expect(Array.from(batch.verdicts.subarray(0, 4))).toEqual([
        Verdict.drop,
        Verdict.drop,
        Verdict.drop,
        native ? Verdict.drop : Verdict.forward,
      ])
      await told
      expect(errors).toEqual([
        { endpoint: loopback, code: 'EMSGSIZE', length: 65_508 },
        { endpoint: other, code: 'EAFNOSUPPORT', length: 1 },
        { endpoint: refused, code: 'EACCES', length: 2 },
      ])
      expect(a.stats().sendErrors).toBe(4)
    })

    test('a closed socket takes nothing', async () => {
      const a = await socketAt('127.0.0.1')
      const endpoint = a.endpoints.intern('127.0.0.1', 9)
      a.close()
      a.close()
      expect(a.sendTo(endpoint, Uint8Array.of(1))).toBe(false)
      expect(a.receive(new PacketBatch())).toBe(0)
    })
  })

  test('a port in use is refused with a code', async () => {
    const a = await socketAt('127.0.0.1')
    const again = openDatagramSocket({ address: '127.0.0.1', port: a.localPort, native })
    await expect(again).rejects.toBeInstanceOf(TunError)
    await expect(again).rejects.toMatchObject({ code: 'ERR_TUN_BIND', errno: 'EADDRINUSE' })
  })
})

test('portable: a reader that does not keep up loses what is new, counted', async () => {
  const [a, b] = [
    await openDatagramSocket({ address: '127.0.0.1', native: false }),
    await openDatagramSocket({ address: '127.0.0.1', native: false, receiveQueue: 4 }),
  ]
  open.push(a, b)
  for (let i = 0; i < 10; i++) a.sendTo(endpointOf(a, b), Uint8Array.of(i))
  while (b.stats().receiveQueueDrops < 6) await new Promise(resolve => setImmediate(resolve))
  expect((await receiveSome(b, 4)).map(({ bytes }) => bytes[0])).toEqual([0, 1, 2, 3])
})
