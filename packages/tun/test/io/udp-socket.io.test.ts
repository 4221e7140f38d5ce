// The native socket against the kernel and against node:dgram, on loopback only. Needs Linux and koffi, no privilege.
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { DropReason, PacketBatch, type PacketBatchOptions, Verdict } from '@twinbore/core/packet'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { DatagramSendError, DatagramSocket } from '../../src/datagram-socket.ts'
import { TunError } from '../../src/errors.ts'
import { adoptDatagramSocket, datagramSupport, openDatagramSocket } from '../../src/io/index.ts'
import { nativeLibrary } from '../../src/io/native-library.ts'
import type { DatagramNotice, DatagramSocketOptions } from '../../src/options.ts'

const open: { close(): void }[] = []
const socketAt = async (address: string, options: DatagramSocketOptions = {}): Promise<DatagramSocket> => {
  const socket = await openDatagramSocket({ address, ...options })
  open.push(socket)
  return socket
}
const plainAt = async (address: string): Promise<Socket> => {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 8_000_000 })
  socket.bind(0, address)
  await once(socket, 'listening')
  open.push(socket)
  return socket
}
afterEach(() => {
  for (const socket of open.splice(0)) socket.close()
})

beforeAll(() => expect(datagramSupport()).toEqual({ native: true, gso: true, gro: true }))

/** Datagram `i` of a stream: its number, and bytes that follow from it and its length. */
function fill(bytes: Uint8Array, i: number): void {
  for (let at = 0; at < bytes.length; at++) bytes[at] = (i * 31 + at * 7 + bytes.length) & 0xff
  if (bytes.length >= 4) new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, i)
}

/** Collects what comes, by readiness, until `done` says that it is all. */
function collect(
  socket: DatagramSocket,
  done: (found: readonly Uint8Array[]) => boolean,
  layout: PacketBatchOptions = socket.batch,
): Promise<Uint8Array[]> {
  return new Promise(resolve => {
    const found: Uint8Array[] = []
    const batch = new PacketBatch(layout)
    socket.onReadable = () => {
      batch.reset()
      socket.receive(batch)
      for (let slot = 0; slot < batch.count; slot++) found.push(batch.packet(slot).slice())
      if (!done(found)) return
      socket.onReadable = undefined
      resolve(found)
    }
  })
}

/** Whether datagrams are those of `stream`, all of them, in order. */
function checkStream(found: readonly Uint8Array[], lengths: readonly number[]): void {
  expect(found.length).toBe(lengths.length)
  const expected = new Uint8Array(2048)
  found.forEach((bytes, i) => {
    const whole = expected.subarray(0, lengths[i])
    fill(whole, i)
    if (Buffer.compare(bytes, whole) !== 0) expect(bytes).toEqual(whole)
  })
}

const tick = () => new Promise(resolve => setImmediate(resolve))

/** Sends datagrams of the given lengths, some hundred at a time so that no buffer overflows. */
async function stream(
  from: DatagramSocket,
  endpoint: number,
  lengths: readonly number[],
  arrived: () => number,
): Promise<void> {
  const batch = new PacketBatch({ capacity: 256 })
  for (let at = 0; at < lengths.length; at += batch.capacity) {
    batch.reset()
    lengths.slice(at, at + batch.capacity).forEach((length, i) => {
      const slot = batch.reserve(endpoint)
      batch.lengths[slot] = length
      fill(batch.packet(slot), at + i)
    })
    expect(from.send(batch)).toBe(batch.count)
    while (arrived() < at + batch.count) await tick()
  }
}

/** Every length from 1 to 2000, each in a run of so many. */
const runsOf = (run: number) => Array.from({ length: 2000 * run }, (_, i) => 1 + Math.floor(i / run))

const paths = [
  ['127.0.0.1', '127.0.0.1'],
  ['::1', '::1'],
  ['::', '127.0.0.1'],
] as const

describe.each([
  { gso: true, gro: true },
  { gso: true, gro: false },
  { gso: false, gro: true },
  { gso: false, gro: false },
])('gso $gso, gro $gro', ({ gso, gro }) => {
  test.each(paths)('every length from 1 to 2000, to %s by way of %s', async (bound, target) => {
    const a = await socketAt(bound, { gso })
    const b = await socketAt(bound, { gro })
    const lengths = runsOf(5)
    let arrived = 0
    const received = collect(b, found => {
      arrived = found.length
      return arrived === lengths.length
    })
    await stream(a, a.endpoints.intern(target, b.localPort), lengths, () => arrived)
    checkStream(await received, lengths)
    expect(b.endpoints.size).toBe(1)
    expect(b.endpoints.describe(0)).toEqual({ family: target === '::1' ? 6 : 4, address: target, port: a.localPort })
    const [sent, got] = [a.stats(), b.stats()]
    expect(sent).toMatchObject({ datagramsSent: 10_000, sendErrors: 0, trainsRefused: 0 })
    expect(got).toMatchObject({ datagramsReceived: 10_000, receiveQueueDrops: 0, receiveTooBig: 0, receiveErrors: 0 })
    expect(got.bytesReceived).toBe(sent.bytesSent)
    if (gso) expect(sent.trainDatagramsSent / sent.trainsSent).toBeGreaterThan(4)
    else expect(sent.trainsSent).toBe(0)
    if (gso && gro) expect(got.messagesReceived).toBeLessThan(2500)
    else expect(got.messagesReceived).toBe(10_000)
  })

  test('10,000 datagrams each way with node:dgram', async () => {
    const socket = await socketAt('127.0.0.1', { gso, gro })
    const plain = await plainAt('127.0.0.1')
    const got: Buffer[] = []
    plain.on('message', message => got.push(message))
    const lengths = Array.from({ length: 10_000 }, (_, i) => (i % 47 === 46 ? 500 : 1438))
    await stream(socket, socket.endpoints.intern('127.0.0.1', plain.address().port), lengths, () => got.length)
    checkStream(got, lengths)
    let arrived = 0
    const back = collect(socket, found => {
      arrived = found.length
      return arrived === lengths.length
    })
    for (let i = 0; i < lengths.length; i++) {
      const bytes = new Uint8Array(lengths[i]!)
      fill(bytes, i)
      plain.send(bytes, socket.localPort, '127.0.0.1')
      if (i % 200 === 199) while (arrived <= i) await tick()
    }
    checkStream(await back, lengths)
  })
})

describe('batches of other layouts', () => {
  const lengths = Array.from({ length: 3000 }, (_, i) => (i % 61 === 60 ? 7 : 300 + (i % 3 === 0 ? 0 : 1)))

  test.each<[string, PacketBatchOptions]>([
    ['one slot', { capacity: 1 }],
    ['seven slots', { capacity: 7 }],
    ['seven slots and a shared part', { capacity: 7, sharedBytes: 65_536 }],
    ['100 slots and three trains', { capacity: 100, sharedBytes: 3 * 67_072 }],
    ['slots without room around them', { capacity: 64, headroom: 0, tailroom: 0, slotBytes: 301 }],
  ])('%s', async (_name, layout) => {
    for (const gro of [true, false]) {
      const a = await socketAt('127.0.0.1')
      const b = await socketAt('127.0.0.1', { gro })
      let arrived = 0
      const received = collect(
        b,
        found => {
          arrived = found.length
          return arrived === lengths.length
        },
        layout,
      )
      await stream(a, a.endpoints.intern('127.0.0.1', b.localPort), lengths, () => arrived)
      checkStream(await received, lengths)
      expect(b.stats()).toMatchObject({ datagramsReceived: 3000, receiveQueueDrops: 0, receiveTooBig: 0 })
    }
  })

  test('a batch that is partly filled keeps what it has', async () => {
    const [a, b] = [await socketAt('127.0.0.1'), await socketAt('127.0.0.1')]
    const to = a.endpoints.intern('127.0.0.1', b.localPort)
    const batch = new PacketBatch(b.batch)
    const outgoing = new PacketBatch()
    for (const value of [1, 2, 3]) {
      outgoing.reset()
      for (let i = 0; i < 3; i++) outgoing.push(new Uint8Array(100).fill(value), to)
      a.send(outgoing)
      expect(b.receive(batch)).toBe(3)
      expect(b.drained).toBe(true)
    }
    const values = Array.from({ length: batch.count }, (_, slot) => batch.packet(slot)[50])
    expect(values).toEqual([1, 1, 1, 2, 2, 2, 3, 3, 3])
  })

  test('what is too long for a slot is passed over in the middle of the others', async () => {
    const [a, b] = [await socketAt('127.0.0.1'), await socketAt('127.0.0.1', { gro: false })]
    const to = a.endpoints.intern('127.0.0.1', b.localPort)
    const outgoing = new PacketBatch({ slotBytes: 4000 })
    for (const [i, length] of [10, 2049, 2048, 3000, 20].entries()) outgoing.push(new Uint8Array(length).fill(i), to)
    a.send(outgoing)
    const batch = new PacketBatch(b.batch)
    expect(b.receive(batch)).toBe(3)
    expect(Array.from(batch.lengths.subarray(0, 3))).toEqual([10, 2048, 20])
    expect([0, 1, 2].map(slot => batch.packet(slot).every(byte => byte === [0, 2, 4][slot]))).toEqual([
      true,
      true,
      true,
    ])
    expect(batch.offsets[2]).toBe(2 * batch.stride + batch.headroom)
    expect(b.stats().receiveTooBig).toBe(2)
  })
})

describe('what the system refuses', () => {
  test('datagrams that are too long for the socket are told; the others of the batch leave', async () => {
    const [a, b] = [await socketAt('::'), await socketAt('::1')]
    const errors: DatagramSendError[] = []
    a.onSendError = event => {
      errors.push(event)
      // Whoever is told may send.
      a.sendTo(to, Uint8Array.of(9))
    }
    const to = a.endpoints.intern('::1', b.localPort)
    const batch = new PacketBatch({ slotBytes: 65_535, capacity: 8 })
    for (const length of [100, 100, 65_528, 100, 65_535, 100, 65_527]) batch.push(new Uint8Array(length), to)
    expect(a.send(batch)).toBe(5)
    expect(errors).toEqual([
      { endpoint: to, code: 'EMSGSIZE', length: 65_528 },
      { endpoint: to, code: 'EMSGSIZE', length: 65_535 },
    ])
    expect(batch.drops[DropReason.tooBig]).toBe(2)
    const received = await collect(b, found => found.length === 7)
    expect(received.map(({ length }) => length)).toEqual([100, 100, 100, 100, 65_527, 1, 1])
  })

  test('a full receive buffer loses datagrams, counted', async () => {
    const [a, b] = [
      await socketAt('127.0.0.1', { gso: false }),
      await socketAt('127.0.0.1', { recvBufferBytes: 20_000 }),
    ]
    const to = a.endpoints.intern('127.0.0.1', b.localPort)
    const batch = new PacketBatch()
    for (let i = 0; i < 64; i++) batch.push(new Uint8Array(1400), to)
    for (let i = 0; i < 10; i++) expect(a.send(batch)).toBe(64)
    const into = new PacketBatch(b.batch)
    let received = 0
    do {
      into.reset()
      received += b.receive(into)
    } while (!b.drained)
    const { receiveQueueDrops, datagramsReceived } = b.stats()
    expect(received).toBe(datagramsReceived)
    expect(received).toBeGreaterThan(0)
    expect(receiveQueueDrops).toBeGreaterThan(0)
    expect(received + receiveQueueDrops).toBe(640)
    b.close()
    expect(b.stats().receiveQueueDrops).toBe(receiveQueueDrops)
  })
})

describe('life of a socket', () => {
  test('it can be closed in the middle, also by its own handlers', async () => {
    const [a, b] = [await socketAt('127.0.0.1'), await socketAt('127.0.0.1')]
    const to = a.endpoints.intern('127.0.0.1', b.localPort)
    const batch = new PacketBatch()
    for (let i = 0; i < 64; i++) batch.push(new Uint8Array(100), to)
    a.send(batch)
    await new Promise<void>(resolve => {
      b.onReadable = () => {
        expect(b.receive(new PacketBatch({ capacity: 1 }))).toBe(1)
        expect(b.drained).toBe(false)
        b.close()
        resolve()
      }
    })
    expect(b.descriptor).toBeUndefined()
    expect(b.drained).toBe(true)
    expect(b.receive(new PacketBatch())).toBe(0)
    a.onSendError = () => a.close()
    batch.push(new Uint8Array(1), a.endpoints.intern('255.255.255.255', 9))
    a.send(batch)
    batch.reset()
    batch.push(new Uint8Array(1), a.endpoints.intern('255.255.255.255', 9))
    expect(a.send(batch)).toBe(0)
    expect(a.descriptor).toBeUndefined()
    batch.verdicts.fill(Verdict.forward)
    expect(a.send(batch)).toBe(0)
    expect(batch.verdicts[0]).toBe(Verdict.drop)
  })

  test('a descriptor is used without being owned, and closed on demand', async () => {
    const [a, b] = [await socketAt('127.0.0.1'), await socketAt('::')]
    const adopted = adoptDatagramSocket({ descriptor: b.descriptor! })
    expect(adopted).toMatchObject({ localAddress: '::', localPort: b.localPort, descriptor: b.descriptor })
    expect(adopted.batch).toEqual(b.batch)
    a.sendTo(a.endpoints.intern('127.0.0.1', b.localPort), Uint8Array.of(1))
    const batch = new PacketBatch(adopted.batch)
    expect(adopted.receive(batch)).toBe(1)
    expect(adopted.endpoints.describe(batch.owners[0]!)).toEqual({
      family: 4,
      address: '127.0.0.1',
      port: a.localPort,
    })
    adopted.close()
    a.sendTo(a.endpoints.intern('127.0.0.1', b.localPort), Uint8Array.of(2))
    expect(b.receive(batch)).toBe(1)
    const { descriptor } = b
    adoptDatagramSocket({ descriptor: descriptor!, closeDescriptor: true }).close()
    expect(() => closeSync(descriptor!)).toThrow(/EBADF/)
  })

  test('a thread that polls by itself works with a socket that another thread opened', async () => {
    const [a, b] = [await socketAt('127.0.0.1'), await socketAt('::')]
    const lengths = Array.from({ length: 20_000 }, (_, i) => (i % 40 === 39 ? 700 : 1400))
    const script = new URL('./udp-worker.ts', import.meta.url).href
    const start = `import('tsx/esm/api').then(({ register }) => (register(), import('${script}')))`
    const worker = new Worker(start, {
      eval: true,
      workerData: { descriptor: b.descriptor, count: lengths.length },
      execArgv: ['--conditions=@twinbore/source'],
    })
    const ended = once(worker, 'exit')
    let arrived = 0
    const echoed = collect(a, found => {
      arrived = found.length
      return arrived === lengths.length
    })
    await stream(a, a.endpoints.intern('127.0.0.1', b.localPort), lengths, () => arrived)
    checkStream(await echoed, lengths)
    expect(await ended).toEqual([0])
    expect(a.stats().messagesReceived).toBeLessThan(lengths.length / 10)
    // It closed its object, not the descriptor.
    b.sendTo(b.endpoints.intern('127.0.0.1', a.localPort), Uint8Array.of(1))
    expect((await collect(a, found => found.length === 1)).length).toBe(1)
  })

  test('errors about earlier datagrams stop neither sending nor receiving', async () => {
    const [socket, peer] = [await socketAt('127.0.0.1'), await socketAt('127.0.0.1')]
    const gone = await socketAt('127.0.0.1')
    // Only connected sockets are told of them.
    const library = nativeLibrary()
    const connect = library.function('connect', 'int', ['int', 'address', 'uint32'])
    const name = new Uint8Array(16)
    name.set([2, 0, gone.localPort >> 8, gone.localPort & 0xff, 127, 0, 0, 1])
    expect(connect(socket.descriptor!, library.addressOf(name.buffer), name.length)).toBe(0)
    const to = socket.endpoints.intern('127.0.0.1', gone.localPort)
    const other = socket.endpoints.intern('127.0.0.1', peer.localPort)
    gone.close()
    expect(socket.sendTo(to, Uint8Array.of(1))).toBe(true)
    expect(socket.sendTo(other, Uint8Array.of(2))).toBe(true)
    expect(socket.sendTo(to, Uint8Array.of(3))).toBe(true)
    // The error waits on the descriptor now: the event loop gives up watching it, and has to be told to go on.
    let calls = 0
    await new Promise<void>(resolve => {
      socket.onReadable = () => {
        calls++
        resolve()
      }
    })
    expect(socket.receive(new PacketBatch())).toBe(0)
    socket.sendTo(to, Uint8Array.of(4))
    await new Promise<void>(resolve => {
      const before = calls
      socket.onReadable = () => {
        calls++
        if (calls > before) resolve()
      }
    })
    expect(calls).toBe(2)
    expect(await collect(peer, found => found.length === 1)).toEqual([Uint8Array.of(2)])
    expect(socket.stats()).toMatchObject({ sendErrors: 0, receiveErrors: 0 })
  })

  test('only UDP sockets are adopted', () => {
    for (const descriptor of [0, 999_999]) {
      expect(() => adoptDatagramSocket({ descriptor })).toThrow(TunError)
    }
  })

  test('several sockets share a port when all ask for it', async () => {
    const a = await socketAt('127.0.0.1', { reusePort: true })
    const b = await socketAt('127.0.0.1', { reusePort: true, port: a.localPort })
    expect(b.localPort).toBe(a.localPort)
    await expect(openDatagramSocket({ address: '127.0.0.1', port: a.localPort })).rejects.toMatchObject({
      code: 'ERR_TUN_BIND',
      errno: 'EADDRINUSE',
    })
    await expect(openDatagramSocket({ address: '127.0.0.1', reusePort: true, native: false })).rejects.toMatchObject({
      code: 'ERR_TUN_BIND',
    })
  })

  test.each(['nonsense', '::1%no-such-if', '1.2.3.4.5'])('%j can not be bound', async address => {
    await expect(openDatagramSocket({ address })).rejects.toMatchObject({ code: 'ERR_TUN_BIND', errno: 'EINVAL' })
  })

  test('ipv6Only refuses IPv4', async () => {
    const only = await socketAt('::', { ipv6Only: true })
    const both = await socketAt('0.0.0.0', { port: only.localPort })
    expect(both.localPort).toBe(only.localPort)
  })

  test('buffers beyond the limits are told when they are not given', async () => {
    const notices: DatagramNotice[] = []
    await socketAt('127.0.0.1', { recvBufferBytes: 0x7fff_0000, onNotice: notice => notices.push(notice) })
    expect(notices.map(({ code }) => code)).toEqual(['receive-buffer-small'])
  })
})
