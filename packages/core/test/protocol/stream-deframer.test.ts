import { encodeStreamFrame, FrameType, StreamDeframer } from '@twinbore/core'
import { DropReason, PacketBatch } from '@twinbore/core/packet'
import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap(part => [...part]))
const data = (...values: number[]) => encodeStreamFrame(FrameType.data, Uint8Array.from(values))

/** Reads chunks to the end; packets and control frames as text, in order. */
function readAll(chunks: readonly Uint8Array[], capacity = 4, deframer = new StreamDeframer()): string[] {
  const batch = new PacketBatch({ capacity })
  const seen: string[] = []
  const flush = () => {
    for (let slot = 0; slot < batch.count; slot++) seen.push(`data ${batch.owners[slot]} ${batch.packet(slot).join()}`)
    batch.reset()
  }
  for (const chunk of chunks) {
    // The chunk is the caller's again once it is used up.
    const lent = chunk.slice()
    deframer.feed(lent)
    for (;;) {
      const step = deframer.next(batch, 9)
      flush()
      if (step.type === 'control') seen.push(`control ${step.frameType} ${step.payload.join()}`)
      if (step.type === 'violation') return [...seen, `violation ${step.violation}`]
      if (step.type === 'starved') break
    }
    lent.fill(0xee)
  }
  return seen
}

describe('a stream', () => {
  test('becomes packets and control frames in their order', () => {
    const stream = join(data(1, 2), encodeStreamFrame(FrameType.dpdRequest, Uint8Array.of(5)), data(3))
    expect(readAll([stream])).toEqual(['data 9 1,2', 'control 3 5', 'data 9 3'])
  })

  test('waits when the batch is full, and loses nothing', () => {
    const batch = new PacketBatch({ capacity: 1 })
    const deframer = new StreamDeframer()
    deframer.feed(join(data(1), data(2)))
    expect(deframer.next(batch, 0).type).toBe('batch-full')
    expect(deframer.next(batch, 0).type).toBe('batch-full')
    expect(batch.packet(0)).toEqual(Uint8Array.of(1))
    batch.reset()
    expect(deframer.next(batch, 0).type).toBe('starved')
    expect(batch.packet(0)).toEqual(Uint8Array.of(2))
  })

  test('keeps no more than one incomplete frame', () => {
    const deframer = new StreamDeframer()
    const batch = new PacketBatch()
    const frame = data(...Array.from({ length: 200 }, (_, i) => i))
    for (let round = 0; round < 3; round++) {
      for (const byte of frame) {
        deframer.feed(Uint8Array.of(byte))
        deframer.next(batch, 0)
        expect(deframer.pendingBytes).toBeLessThan(frame.length)
      }
    }
    expect(batch.count).toBe(3)
    expect(deframer.pendingBytes).toBe(0)
  })

  test('ends at bytes that are no frame, for good', () => {
    expect(readAll([join(data(1), Uint8Array.from([0x53, 0x54, 0x46, 2, 0, 1, 0, 0, 1]))])).toEqual([
      'data 9 1',
      'violation bad-magic',
    ])
    const deframer = new StreamDeframer()
    const http = new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n')
    expect(readAll([http, data(1)], 4, deframer)).toEqual(['violation bad-magic'])
    expect(readAll([data(1)], 4, deframer)).toEqual(['violation bad-magic'])
    expect(deframer.violation).toBe('bad-magic')
  })

  test('ends at a frame beyond the limit, before its bytes have come', () => {
    const header = Uint8Array.from([0x53, 0x54, 0x46, 1, 0xff, 0xff, 0, 0])
    expect(readAll([header])).toEqual(['violation frame-too-long'])
  })

  test('drops and counts packets that fit no slot, empty ones, and frames that are not known', () => {
    const batch = new PacketBatch({ slotBytes: 100 })
    const deframer = new StreamDeframer()
    const unknown = data(1, 2)
    unknown[6] = 77
    deframer.feed(join(encodeStreamFrame(FrameType.data, new Uint8Array(101)), data(), unknown, data(4)))
    expect(deframer.next(batch, 0).type).toBe('starved')
    expect(batch.count).toBe(1)
    expect(batch.drops[DropReason.tooBig]).toBe(1)
    expect(batch.drops[DropReason.malformed]).toBe(1)
    expect(batch.drops[DropReason.unexpectedFrame]).toBe(1)
  })

  test('refuses a chunk while the one before is in use', () => {
    const deframer = new StreamDeframer()
    deframer.feed(join(data(1), encodeStreamFrame(FrameType.keepalive, new Uint8Array(0)), data(2)))
    expect(deframer.next(new PacketBatch(), 0).type).toBe('control')
    expect(() => deframer.feed(data(3))).toThrow(RangeError)
  })
})

describe('however the stream is cut into chunks', () => {
  test('the frames are the same', () => {
    const frame = fc.record({
      type: fc.constantFrom(FrameType.data, FrameType.data, FrameType.dpdRequest, FrameType.disconnect, 42 as 0),
      payload: fc.uint8Array({ maxLength: 40 }),
    })
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), fc.array(fc.nat(600), { maxLength: 20 }), (frames, cuts) => {
        const stream = join(...frames.map(({ type, payload }) => encodeStreamFrame(type, payload)))
        const borders = [0, ...cuts.map(cut => Math.min(cut, stream.length)), stream.length].sort((a, b) => a - b)
        const chunks = borders.slice(1).map((end, i) => stream.subarray(borders[i], end))
        expect(readAll(chunks, 2)).toEqual(readAll([stream]))
      }),
      { numRuns: 500 },
    )
  })
})

test('hostile bytes never throw, never read past the end, and never grow memory', () => {
  const seed = Number(process.env.FUZZ_SEED ?? 1)
  const runs = Number(process.env.FUZZ_RUNS ?? 20_000)
  const random = seededRandom(seed)
  const batch = new PacketBatch({ capacity: 8, slotBytes: 64 })
  for (let run = 0; run < runs; run++) {
    const deframer = new StreamDeframer()
    const frames = Array.from({ length: 1 + randomBelow(random, 4) }, () =>
      encodeStreamFrame(FrameType.data, random.fill(new Uint8Array(randomBelow(random, 80)))),
    )
    const stream = join(...frames)
    // Some bits are flipped, some bytes cut off.
    for (let i = randomBelow(random, 4); i > 0; i--)
      stream[randomBelow(random, stream.length)]! ^= 1 << randomBelow(random, 8)
    const cut = randomBelow(random, stream.length + 1)
    try {
      for (const chunk of [stream.subarray(0, cut), stream.subarray(cut)]) {
        deframer.feed(chunk)
        for (let steps = 0; ; steps++) {
          const step = deframer.next(batch, run)
          for (let slot = 0; slot < batch.count; slot++) expect(batch.lengths[slot]).toBeLessThanOrEqual(64)
          batch.reset()
          if (step.type === 'starved' || step.type === 'violation') break
          if (steps > 100) throw new Error('no end')
        }
        if (deframer.pendingBytes > 65_543) throw new Error(`${deframer.pendingBytes} bytes are kept`)
      }
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed}, run ${run}`, { cause: error })
    }
  }
})
