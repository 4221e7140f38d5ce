// The receiver against a scripted kernel, which writes messages where the receiver says that there is room.
import { PacketBatch, type PacketBatchOptions } from '@twinbore/core/packet'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SocketCounters } from '../../src/datagram-socket.ts'
import { EndpointTable } from '../../src/endpoint-table.ts'
import { errno } from '../../src/io/linux/errno.ts'
import type { Syscalls } from '../../src/io/linux/syscalls.ts'
import { SocketAddresses, Zones } from '../../src/io/linux/udp-address.ts'
import { receiveLayout, UdpReceiver } from '../../src/io/linux/udp-receiver.ts'

interface Message {
  readonly port: number
  readonly bytes: Uint8Array
  /** The UDP_GRO; 0 for a single datagram. */
  readonly size: number
}

/** Distance of the invented addresses of two memories. */
const SPACING = 0x1000_0000

class ScriptedKernel {
  readonly waiting: Message[] = []
  readonly errors: (keyof typeof errno)[] = []
  private readonly memories: ArrayBuffer[] = []
  private error = 0

  readonly system: Syscalls = {
    library: {
      addressOf: (buffer: ArrayBuffer) => {
        if (!this.memories.includes(buffer)) this.memories.push(buffer)
        return 0x7f00_0000_0000 + this.memories.indexOf(buffer) * SPACING
      },
    },
    lastError: () => this.error,
    recvmmsg: (_descriptor: number, address: number, count: number) => this.recvmmsg(address, count),
  } as unknown as Syscalls

  private recvmmsg(address: number, count: number): number {
    const failure = this.errors.shift() ?? (this.waiting.length === 0 ? 'EAGAIN' : undefined)
    if (failure) {
      this.error = errno[failure]
      return -1
    }
    const messages = this.waiting.splice(0, count)
    messages.forEach((message, i) => {
      this.deliver(message, this.at(address + i * 64, 64))
    })
    return messages.length
  }

  private at(address: number, length: number): DataView {
    const from = address - 0x7f00_0000_0000
    return new DataView(this.memories[Math.floor(from / SPACING)]!, from % SPACING, length)
  }

  private deliver({ port, bytes, size }: Message, header: DataView): void {
    const word = (at: number) => Number(header.getBigUint64(at, true))
    expect([header.getUint32(8, true), word(24)]).toEqual([16, 1])
    const name = this.at(word(0), 16)
    name.setUint16(0, 2, true)
    name.setUint16(2, port)
    name.setUint32(4, 0x7f000001)
    const vector = this.at(word(16), 16)
    const target = this.at(Number(vector.getBigUint64(0, true)), Number(vector.getBigUint64(8, true)))
    const length = Math.min(bytes.length, target.byteLength)
    new Uint8Array(target.buffer, target.byteOffset, length).set(bytes.subarray(0, length))
    expect(word(40)).toBeGreaterThanOrEqual(24)
    if (size > 0) {
      const control = this.at(word(32), 24)
      control.setBigUint64(0, 20n, true)
      control.setInt32(8, 17, true)
      control.setInt32(12, 104, true)
      control.setInt32(16, size, true)
    }
    header.setBigUint64(40, size > 0 ? 24n : 0n, true)
    header.setUint32(48, bytes.length > length ? 0x20 : 0, true)
    header.setUint32(56, length, true)
  }
}

function setUp(gro: boolean, capacity = 1000) {
  const kernel = new ScriptedKernel()
  const endpoints = new EndpointTable({ capacity })
  const counters = new SocketCounters()
  const addresses = new SocketAddresses(4, endpoints, new Zones(kernel.system))
  const receiver = new UdpReceiver(kernel.system, 7, addresses, counters, gro)
  return { kernel, endpoints, counters, receiver }
}

/** A train of datagrams, each of which ends with a byte that counts from `first`. */
function train(port: number, size: number, count: number, last = size, first = 0): Message {
  const bytes = new Uint8Array(size * (count - 1) + last)
  for (let i = 0; i < count; i++) bytes[Math.min(size * (i + 1), bytes.length) - 1] = first + i
  return { port, bytes, size: count === 1 ? 0 : size }
}

/** Every datagram until none waits: the sender's port, its length and its last byte. */
function drain({ receiver, endpoints }: ReturnType<typeof setUp>, layout: PacketBatchOptions): string[] {
  const batch = new PacketBatch(layout)
  const found: string[] = []
  for (let calls = 0; calls < 10_000; calls++) {
    batch.reset()
    expect(receiver.receive(batch)).toBe(batch.count)
    for (let slot = 0; slot < batch.count; slot++) {
      const bytes = batch.packet(slot)
      found.push(`${endpoints.portOf(batch.owners[slot]!)} ${bytes.length} ${bytes.at(-1) ?? 'empty'}`)
    }
    if (receiver.drained) return found
  }
  throw new Error('never drained')
}

const message = fc.record({
  port: fc.integer({ min: 1, max: 3 }),
  size: fc.integer({ min: 1, max: 700 }),
  count: fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 64 }) }, fc.integer({ min: 1, max: 93 })),
  last: fc.nat(),
})
const layouts: PacketBatchOptions[] = [
  receiveLayout(true),
  receiveLayout(false),
  { capacity: 1, slotBytes: 700 },
  { capacity: 5, slotBytes: 700, sharedBytes: 65_536 },
  { capacity: 70, slotBytes: 700, headroom: 0, tailroom: 0, sharedBytes: 200_000 },
]

describe('trains', () => {
  test('come out as their datagrams in any layout, in order, nothing lost', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 40 }), fc.constantFrom(...layouts), (plan, layout) => {
        const socket = setUp(true)
        const expected: string[] = []
        for (const { port, size, count, last } of plan) {
          const end = 1 + (last % size)
          socket.kernel.waiting.push(train(port, size, count, end))
          for (let i = 0; i < count; i++) expected.push(`${port} ${i === count - 1 ? end : size} ${i}`)
        }
        expect(drain(socket, layout)).toEqual(expected)
        const bytes = plan.reduce((sum, { size, count, last }) => sum + size * (count - 1) + 1 + (last % size), 0)
        expect(socket.counters).toMatchObject({
          messagesReceived: plan.length,
          datagramsReceived: expected.length,
          bytesReceived: bytes,
          receiveTooBig: 0,
          endpointTableDrops: 0,
        })
      }),
      { numRuns: 300 },
    )
  })

  test('lie where they were received: the slots point into the shared part', () => {
    const socket = setUp(true)
    socket.kernel.waiting.push(train(1, 100, 3), train(2, 50, 2))
    const batch = new PacketBatch(receiveLayout(true))
    expect(socket.receiver.receive(batch)).toBe(5)
    const offsets = Array.from(batch.offsets.subarray(0, 5), offset => offset - batch.sharedOffset)
    expect(offsets.slice(0, 3)).toEqual([0, 100, 200])
    expect(offsets[4]! - offsets[3]!).toBe(50)
    expect(offsets[3]).toBeGreaterThanOrEqual(65_536)
    expect(batch.offsets[3]! + 65_536).toBeLessThanOrEqual(batch.bytes.length)
  })

  test('of somebody for whom the table has no room are counted by datagrams', () => {
    const socket = setUp(true, 1)
    socket.kernel.waiting.push(train(1, 10, 2), train(2, 10, 5, 3), train(1, 10, 1))
    expect(drain(socket, receiveLayout(true))).toEqual(['1 10 0', '1 10 1', '1 10 0'])
    expect(socket.counters).toMatchObject({ datagramsReceived: 3, endpointTableDrops: 5 })
  })

  test('whose datagrams are longer than the slots they are copied to are counted by datagrams', () => {
    const socket = setUp(true)
    socket.kernel.waiting.push(train(1, 101, 3, 100))
    expect(drain(socket, { slotBytes: 100 })).toEqual(['1 100 2'])
    expect(socket.counters.receiveTooBig).toBe(2)
  })
})

test('empty datagrams are datagrams', () => {
  for (const gro of [true, false]) {
    for (const layout of layouts) {
      const socket = setUp(gro)
      const empty = { port: 5, bytes: new Uint8Array(0), size: 0 }
      socket.kernel.waiting.push(empty, train(1, 9, 1), empty)
      expect(drain(socket, layout)).toEqual(['5 0 empty', '1 9 0', '5 0 empty'])
    }
  }
})

describe('errors', () => {
  test('about earlier datagrams are passed over', () => {
    const socket = setUp(true)
    socket.kernel.errors.push('ECONNREFUSED', 'EHOSTUNREACH')
    socket.kernel.waiting.push(train(1, 9, 1))
    expect(drain(socket, receiveLayout(true))).toEqual(['1 9 0'])
    expect(socket.counters.receiveErrors).toBe(0)
  })

  test.each(['EBADF', 'ENOMEM'] as const)('%s is counted, and ends the call', error => {
    const socket = setUp(false)
    socket.kernel.errors.push(error)
    socket.kernel.waiting.push(train(1, 9, 1))
    expect(drain(socket, receiveLayout(false))).toEqual([])
    expect(socket.counters.receiveErrors).toBe(1)
    expect(drain(socket, receiveLayout(false))).toEqual(['1 9 0'])
  })

  test('that never end do not keep the call', () => {
    const socket = setUp(true)
    socket.kernel.errors.push(...Array<'ECONNREFUSED'>(100).fill('ECONNREFUSED'))
    expect(drain(socket, receiveLayout(true))).toEqual([])
    expect(socket.counters.receiveErrors).toBe(1)
  })
})
