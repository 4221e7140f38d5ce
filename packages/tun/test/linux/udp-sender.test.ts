// The sender against a scripted kernel, which reads the structures where the sender says that they are.
import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { describe, expect, test } from 'vitest'
import { SocketCounters } from '../../src/datagram-socket.ts'
import { EndpointTable } from '../../src/endpoint-table.ts'
import { errno } from '../../src/io/linux/errno.ts'
import type { Syscalls } from '../../src/io/linux/syscalls.ts'
import { SocketAddresses, Zones } from '../../src/io/linux/udp-address.ts'
import { UdpSender } from '../../src/io/linux/udp-sender.ts'

interface Message {
  readonly port: number
  readonly address: string
  readonly pieces: readonly string[]
  /** The UDP_SEGMENT, 0 without. */
  readonly size: number
}

/** Memory at invented addresses, and a sendmmsg that takes what the script says. */
class ScriptedKernel {
  readonly taken: Message[] = []
  /** What the next calls do: take at most so many messages, or fail with the error of that name. */
  readonly script: (number | keyof typeof errno)[] = []
  calls = 0
  private readonly memories: ArrayBuffer[] = []
  private error = 0

  readonly system: Syscalls = {
    library: {
      addressOf: (buffer: ArrayBuffer) => {
        if (!this.memories.includes(buffer)) this.memories.push(buffer)
        // Not on a boundary of 4 GiB, and beyond it.
        return 0x7ffe_ffff_ff00 + this.memories.indexOf(buffer) * 0x1_0000_0000
      },
    },
    lastError: () => this.error,
    sendmmsg: (_descriptor: number, address: number, count: number) => this.sendmmsg(address, count),
  } as unknown as Syscalls

  private sendmmsg(address: number, count: number): number {
    this.calls++
    const step = this.script.shift() ?? count
    if (typeof step === 'string') {
      this.error = errno[step]
      return -1
    }
    const number = Math.min(step, count)
    for (let i = 0; i < number; i++) this.taken.push(this.message(this.at(address + i * 64, 64)))
    return number
  }

  private at(address: number, length: number): DataView {
    const memory = Math.floor((address - 0x7ffe_ffff_ff00) / 0x1_0000_0000)
    return new DataView(this.memories[memory]!, address - 0x7ffe_ffff_ff00 - memory * 0x1_0000_0000, length)
  }

  private message(header: DataView): Message {
    const word = (at: number) => Number(header.getBigUint64(at, true))
    const name = this.at(word(0), header.getUint32(8, true))
    expect([name.getUint16(0, true), name.byteLength]).toEqual([2, 16])
    const pieces = Array.from({ length: word(24) }, (_, i) => {
      const vector = this.at(word(16) + i * 16, 16)
      const piece = this.at(Number(vector.getBigUint64(0, true)), Number(vector.getBigUint64(8, true)))
      return Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength).toString('latin1')
    })
    let size = 0
    if (word(40) > 0) {
      const control = this.at(word(32), word(40))
      expect([control.getBigUint64(0, true), control.getInt32(8, true), control.getInt32(12, true)]).toEqual([
        18n,
        17,
        103,
      ])
      size = control.getUint16(16, true)
    }
    const address = [4, 5, 6, 7].map(at => name.getUint8(at)).join('.')
    return { address, port: name.getUint16(2), pieces, size }
  }
}

function setUp() {
  const kernel = new ScriptedKernel()
  const endpoints = new EndpointTable()
  const counters = new SocketCounters()
  const zones = new Zones(kernel.system)
  const told: string[] = []
  const sender = new UdpSender({
    system: kernel.system,
    descriptor: 7,
    endpoints,
    addresses: new SocketAddresses(4, endpoints, zones),
    zones,
    counters,
    gso: true,
    onGsoOff: error => told.push(error),
  })
  const batch = new PacketBatch({ capacity: 200, slotBytes: 64 })
  const [a, b] = [endpoints.intern('192.0.2.1', 1001), endpoints.intern('192.0.2.2', 1002)]
  const push = (owner: number, ...texts: string[]) => {
    for (const text of texts) batch.push(Buffer.from(text, 'latin1'), owner)
  }
  const pieces = () => kernel.taken.map(message => message.pieces.join(' '))
  return { kernel, counters, sender, batch, a, b, push, pieces, told }
}

test('trains leave in one piece, in order, from where they lie', () => {
  const { kernel, sender, batch, a, b, push, counters } = setUp()
  push(a, 'aa', 'bb', 'c')
  push(b, 'dd')
  push(a, 'ee', 'ff')
  batch.drop(1, DropReason.filtered)
  expect(sender.send(batch)).toBe(5)
  expect(kernel.taken).toEqual([
    { address: '192.0.2.1', port: 1001, pieces: ['aa', 'c'], size: 2 },
    { address: '192.0.2.2', port: 1002, pieces: ['dd'], size: 0 },
    { address: '192.0.2.1', port: 1001, pieces: ['ee', 'ff'], size: 2 },
  ])
  expect(kernel.calls).toBe(1)
  expect(counters).toMatchObject({ datagramsSent: 5, bytesSent: 9, trainsSent: 2, trainDatagramsSent: 4, sendCalls: 1 })
})

test('what a call leaves goes with the next', () => {
  const { kernel, sender, batch, a, b, push, pieces } = setUp()
  for (let i = 0; i < 80; i++) push(i % 2 === 0 ? a : b, `${i}`)
  kernel.script.push(1, 3)
  expect(sender.send(batch)).toBe(80)
  expect(pieces()).toEqual(Array.from({ length: 80 }, (_, i) => `${i}`))
  expect(kernel.calls).toBe(4)
})

test('an empty batch is no call', () => {
  const { kernel, sender, batch } = setUp()
  expect(sender.send(batch)).toBe(0)
  expect(kernel.calls).toBe(0)
})

describe('trains that are refused', () => {
  test.each(['EINVAL', 'EMSGSIZE'] as const)('%s: its datagrams go one by one, and so do the next as long', error => {
    const { kernel, sender, batch, a, b, push, pieces, counters, told } = setUp()
    push(b, 'first')
    push(a, 'aa', 'bb', 'c')
    push(b, 'dd', 'ee')
    kernel.script.push(1, error)
    expect(sender.send(batch)).toBe(6)
    expect(pieces()).toEqual(['first', 'aa', 'bb', 'c', 'dd ee'])
    expect(counters).toMatchObject({ trainsRefused: 1, trainsSent: 1, datagramsSent: 6, bytesSent: 14, sendErrors: 0 })
    kernel.taken.length = 0
    batch.reset()
    push(a, 'AA', 'BB')
    push(a, 'C', 'D')
    expect(sender.send(batch)).toBe(4)
    expect(pieces()).toEqual(['AA', 'BB', 'C D'])
    expect(told).toEqual([])
  })

  test.each(['EIO', 'ENOPROTOOPT'] as const)('%s: no more trains, said once', error => {
    const { kernel, sender, batch, a, b, push, pieces, told } = setUp()
    push(a, 'aa', 'bb')
    push(b, 'cc', 'dd')
    kernel.script.push(error, 1, 1, error)
    expect(sender.send(batch)).toBe(4)
    batch.reset()
    push(b, 'e', 'f')
    expect(sender.send(batch)).toBe(2)
    expect(pieces()).toEqual(['aa', 'bb', 'cc', 'dd', 'e', 'f'])
    expect(told).toEqual([error])
  })

  test('always: no more trains', () => {
    const { kernel, sender, batch, a, push, told, pieces } = setUp()
    for (let length = 40; told.length === 0; length--) {
      batch.reset()
      push(a, 'x'.repeat(length), 'y'.repeat(length))
      kernel.script.push('EINVAL')
      expect(sender.send(batch)).toBe(2)
    }
    expect(told).toEqual(['EINVAL'])
    expect(pieces().length).toBe(64)
  })

  test('as singles too: each is told', () => {
    const { kernel, sender, batch, a, push, pieces, counters } = setUp()
    push(a, 'aa', 'bb', 'c')
    kernel.script.push('EMSGSIZE', 'EMSGSIZE', 1, 'EAGAIN')
    expect(sender.send(batch)).toBe(1)
    expect(pieces()).toEqual(['bb'])
    expect(sender.takeErrors()).toEqual([{ endpoint: a, code: 'EMSGSIZE', length: 2 }])
    expect(sender.takeErrors()).toEqual([])
    expect(batch.drops[DropReason.tooBig]).toBe(1)
    expect(batch.drops[DropReason.queueFull]).toBe(1)
    expect(counters).toMatchObject({ sendErrors: 1, sendQueueDrops: 1, datagramsSent: 1 })
  })
})

test.each(['EAGAIN', 'ENOBUFS'] as const)('%s: the rest is kept when that is wanted, trains too', error => {
  const { kernel, sender, batch, a, b, push, pieces, counters } = setUp()
  push(a, 'aa', 'bb')
  push(b, 'cc', 'dd', 'e')
  push(a, 'ff')
  kernel.script.push(1, error)
  expect(sender.send(batch, true)).toBe(2)
  expect(sender.blockedAt).toBe(2)
  expect(pieces()).toEqual(['aa bb'])
  expect([...batch.verdicts.subarray(0, batch.count)]).toEqual(Array(6).fill(Verdict.forward))
  expect(counters).toMatchObject({ sendQueueDrops: 0, sendErrors: 0, datagramsSent: 2 })
  // One of a train that the system refuses as such.
  batch.reset()
  push(a, 'g', 'h', 'i')
  kernel.script.push('EMSGSIZE', 1, error)
  expect(sender.send(batch, true)).toBe(1)
  expect(sender.blockedAt).toBe(1)
  batch.reset()
  push(b, 'j')
  expect(sender.send(batch, true)).toBe(1)
  expect(sender.blockedAt).toBe(-1)
})

test.each(['EAGAIN', 'ENOBUFS'] as const)('%s: the rest is dropped, and the next batch is tried anew', error => {
  const { kernel, sender, batch, a, b, push, pieces, counters } = setUp()
  for (let i = 0; i < 100; i++) push(i % 2 === 0 ? a : b, `${i}`)
  kernel.script.push(2, error)
  expect(sender.send(batch)).toBe(2)
  expect(pieces()).toEqual(['0', '1'])
  expect(kernel.calls).toBe(2)
  expect(batch.drops[DropReason.queueFull]).toBe(98)
  expect(counters).toMatchObject({ sendQueueDrops: 98, datagramsSent: 2, sendErrors: 0 })
  expect(sender.takeErrors()).toEqual([])
  batch.reset()
  push(a, 'again')
  expect(sender.send(batch)).toBe(1)
})

describe('errors', () => {
  test('of earlier datagrams are passed over once', () => {
    const { kernel, sender, batch, a, push, pieces, counters } = setUp()
    push(a, 'aa', 'bb')
    kernel.script.push('ECONNREFUSED')
    expect(sender.send(batch)).toBe(2)
    expect(pieces()).toEqual(['aa bb'])
    expect(counters).toMatchObject({ sendErrors: 0, trainsRefused: 0 })
  })

  test('of one endpoint do not keep the others', () => {
    const { kernel, sender, batch, a, b, push, pieces, counters } = setUp()
    push(a, 'aa', 'bb')
    push(b, 'cc')
    kernel.script.push('ENETUNREACH', 'ENETUNREACH')
    expect(sender.send(batch)).toBe(1)
    expect(pieces()).toEqual(['cc'])
    expect(sender.takeErrors()).toEqual([
      { endpoint: a, code: 'ENETUNREACH', length: 2 },
      { endpoint: a, code: 'ENETUNREACH', length: 2 },
    ])
    expect(Array.from(batch.verdicts.subarray(0, 3))).toEqual([Verdict.drop, Verdict.drop, Verdict.forward])
    expect(batch.drops[DropReason.deviceError]).toBe(2)
    expect(counters.sendErrors).toBe(2)
  })
})
