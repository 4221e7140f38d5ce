import { checksumAdd, PacketBatch, PacketMemory } from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'

const longest = 65_575
const layout = { capacity: 2, slotBytes: 70_000, headroom: 0, tailroom: 0 }

function memoryOf(bytes: number): PacketMemory {
  const memory = PacketMemory.create(bytes)
  if (!memory) throw new Error(PacketMemory.obstacle() ?? 'no addresses')
  return memory
}

function filled(batch: PacketBatch, seed: number): PacketBatch {
  seededRandom(seed).fill(batch.bytes)
  return batch
}

// Short lengths and all remainders of a turn, and any other up to the longest packet.
const lengths = fc.oneof(fc.nat({ max: 140 }), fc.nat({ max: 2000 }), fc.integer({ min: longest - 70, max: longest }))
const offsets = fc.nat({ max: 300 })
const sums = fc.oneof(fc.constantFrom(0, 0xffff, 0x2fffd), fc.nat({ max: 0xffff }))

describe('where WebAssembly is', () => {
  const memory = memoryOf(2 ** 20)
  const batches = {
    'of one memory': [filled(new PacketBatch({ ...layout, memory }), 1), new PacketBatch({ ...layout, memory })],
    'of two memories': [
      filled(new PacketBatch({ ...layout, memory }), 2),
      new PacketBatch({ ...layout, memory: memoryOf(2 ** 18) }),
    ],
    'into a batch of its own': [filled(new PacketBatch({ ...layout, memory }), 3), new PacketBatch(layout)],
    'from a batch of its own': [filled(new PacketBatch(layout), 4), new PacketBatch({ ...layout, memory })],
    'without any memory': [filled(new PacketBatch(layout), 5), new PacketBatch(layout)],
  } as const

  test.each(Object.entries(batches))('sums and copies are right: %s', (_, [source, target]) => {
    expect(PacketMemory.obstacle()).toBeUndefined()
    fc.assert(
      fc.property(offsets, offsets, lengths, sums, (from, to, length, start) => {
        const expected = checksumAdd(source.view, from, length, start)
        expect(source.sumAt(from, length, start)).toBe(expected)
        target.bytes.fill(0xa5, to, to + length + 40)
        expect(target.copyAndSum(source, from, to, length, start)).toBe(expected)
        expect(target.sumAt(to, length, start)).toBe(expected)
        const copied = source.bytes.subarray(from, from + length)
        expect(Buffer.compare(target.bytes.subarray(to, to + length), copied)).toBe(0)
        // Nothing behind it is written to.
        expect(target.bytes.subarray(to + length, to + length + 40).every(byte => byte === 0xa5)).toBe(true)
        target.bytes.fill(0, to, to + length)
        target.copyFrom(source, from, to, length)
        expect(Buffer.compare(target.bytes.subarray(to, to + length), copied)).toBe(0)
      }),
      { numRuns: 500 },
    )
  })

  test('sums of nothing but ones, and of nothing, are as over other memory', () => {
    const batch = new PacketBatch({ ...layout, memory: memoryOf(2 ** 18) })
    const plain = new PacketBatch(layout)
    for (const value of [0, 0xff]) {
      batch.bytes.fill(value)
      plain.bytes.fill(value)
      for (const length of [0, 1, 2, 31, 32, 33, 1500, longest - 1, longest]) {
        for (const start of [0, 1, 0xffff]) {
          expect(batch.sumAt(3, length, start), `${length}`).toBe(checksumAdd(plain.view, 3, length, start))
        }
      }
    }
  })

  test('batches of a memory have their own parts of it, and those that find none have memory of their own', () => {
    const memory = memoryOf(65_536)
    const small = { capacity: 2, slotBytes: 1000, headroom: 10, tailroom: 3 }
    const made = Array.from({ length: 40 }, (_, i) => {
      const batch = new PacketBatch({ ...small, memory })
      batch.bytes.fill(i)
      return batch
    })
    expect(made.every((batch, i) => batch.bytes.length === 2026 && batch.bytes.every(byte => byte === i))).toBe(true)
    expect(made.filter(batch => batch.memory === memory).length).toBe(32)
    expect(made.every(batch => (batch.bytes.buffer === memory.buffer) === (batch.memory === memory))).toBe(true)
    expect(made.at(-1)!.bytes.byteOffset).toBe(0)
    // A batch with a memory is used as any other.
    made[1]!.push(Uint8Array.of(1, 2, 3), 7)
    expect(made[1]!.packet(0)).toEqual(Uint8Array.of(1, 2, 3))
    expect(made[1]!.view.getUint8(made[1]!.offsets[0]!)).toBe(1)
  })

  test.each([
    ['a memory', { ...layout, memory }],
    ['none', layout],
  ])('nothing is read or written beyond a slab: %s', (_, options) => {
    const source = filled(new PacketBatch({ ...options, capacity: 1 }), 6)
    const target = new PacketBatch({ ...options, capacity: 1 })
    const end = source.bytes.length
    for (const [from, length] of [
      [-1, 4],
      [end - 3, 4],
      [end + 1, 1],
      [5, -1],
    ] as const) {
      expect(() => source.sumAt(from, length > 0 ? length : end)).toThrow(RangeError)
      expect(() => target.copyAndSum(source, from, 0, length)).toThrow(RangeError)
      expect(() => target.copyAndSum(source, 0, from, length)).toThrow(RangeError)
      expect(() => target.copyFrom(source, from, 0, length)).toThrow(RangeError)
    }
    expect(target.bytes.every(byte => byte === 0)).toBe(true)
  })
})

/** What the module takes of WebAssembly. */
interface Api {
  readonly Memory: new (pages: object) => object
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: object }
}

describe('where WebAssembly is not, or wrong', () => {
  const api = Reflect.get(globalThis, 'WebAssembly') as Api

  afterEach(() => {
    vi.unstubAllGlobals()
  })

  /** The module as a process would have it that finds this in place of WebAssembly. */
  async function packetsWith(webAssembly: Partial<Api> | undefined): Promise<typeof import('@twinbore/core/packet')> {
    vi.stubGlobal('WebAssembly', webAssembly)
    vi.resetModules()
    return await import('@twinbore/core/packet')
  }

  function changed(change: (functions: Pick<PacketMemory, 'sum' | 'copyAndSum'>) => object): Api {
    class Instance {
      readonly exports: object
      constructor(module: object, imports: object) {
        const functions = new api.Instance(module, imports).exports as PacketMemory
        this.exports = { sum: functions.sum, copyAndSum: functions.copyAndSum, ...change(functions) }
      }
    }
    return { Memory: api.Memory, Module: api.Module, Instance }
  }

  class NoSimd {
    constructor() {
      throw new Error('no SIMD here')
    }
  }
  const wrong = changed(({ sum }) => ({
    sum: (from: number, length: number, start: number) => sum(from, length, start) ^ (length === 77 ? 1 : 0),
  }))
  const lazy = changed(({ sum }) => ({
    copyAndSum: (from: number, _to: number, length: number, start: number) => sum(from, length, start),
  }))

  test.each([
    ['missing', undefined, /undefined/],
    ['without SIMD', { Memory: api.Memory, Module: NoSimd }, /^no SIMD here$/],
    ['wrong at one length', wrong, /wrong/],
    ['one that does not copy', lazy, /wrong/],
  ])('%s: batches have memory of their own', async (_, webAssembly, complaint) => {
    const packets = await packetsWith(webAssembly)
    expect(packets.PacketMemory.obstacle()).toMatch(complaint)
    const memory = packets.PacketMemory.create(2 ** 20)
    expect(memory).toBeUndefined()
    const batch = new packets.PacketBatch({ ...layout, memory })
    batch.bytes.set([1, 2, 3], 5)
    expect(batch.sumAt(5, 3)).toBe(0x0402)
  })

  test('no addresses for one: the next may have some', async () => {
    let refuses = false
    class Memory extends api.Memory {
      constructor(pages: object) {
        if (refuses) throw new RangeError('could not allocate memory')
        super(pages)
      }
    }
    const packets = await packetsWith({ ...changed(() => ({})), Memory })
    expect(packets.PacketMemory.obstacle()).toBeUndefined()
    refuses = true
    expect(packets.PacketMemory.create(65_536)).toBeUndefined()
    refuses = false
    expect(packets.PacketMemory.create(65_536)).toBeDefined()
  })
})
