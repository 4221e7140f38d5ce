import {
  datagramFramePayload,
  encodeDatagramFrame,
  encodeStreamFrame,
  FrameType,
  MAX_STREAM_PAYLOAD_BYTES,
  unwrapDatagramFrames,
  wrapDatagramFrames,
  wrapStreamFrames,
} from '@twinbore/core'
import { DropReason, PacketBatch, Verdict } from '@twinbore/core/packet'
import { describe, expect, test } from 'vitest'

const bytes = (...values: number[]) => Uint8Array.from(values)

describe('a stream frame', () => {
  test('is magic, version, length, type, zero, payload', () => {
    expect(encodeStreamFrame(FrameType.dpdRequest, bytes(7, 8, 9))).toEqual(
      bytes(0x53, 0x54, 0x46, 1, 0, 3, 3, 0, 7, 8, 9),
    )
  })

  test('fits one TLS record', () => {
    expect(encodeStreamFrame(FrameType.data, new Uint8Array(MAX_STREAM_PAYLOAD_BYTES)).length).toBe(16_384)
    expect(() => encodeStreamFrame(FrameType.data, new Uint8Array(MAX_STREAM_PAYLOAD_BYTES + 1))).toThrow(RangeError)
  })
})

describe('wrapping a batch', () => {
  test('puts headers into the headroom and leaves the packets where they are', () => {
    const batch = new PacketBatch({ capacity: 4 })
    batch.push(bytes(0x45, 1, 2, 3), 5)
    batch.push(bytes(0x60, 4), 6)
    const places = [...batch.offsets]
    wrapStreamFrames(batch)
    expect(batch.packet(0)).toEqual(encodeStreamFrame(FrameType.data, bytes(0x45, 1, 2, 3)))
    expect(batch.packet(1)).toEqual(encodeStreamFrame(FrameType.data, bytes(0x60, 4)))
    expect(batch.offsets[0]).toBe(places[0]! - 8)
    expect([...batch.owners].slice(0, 2)).toEqual([5, 6])
  })

  test('touches only slots that go on', () => {
    const batch = new PacketBatch({ capacity: 4 })
    batch.push(bytes(1))
    batch.push(bytes(2))
    batch.drop(0, DropReason.noRoute)
    wrapDatagramFrames(batch)
    expect(batch.packet(0)).toEqual(bytes(1))
    expect(batch.packet(1)).toEqual(bytes(0, 2))
  })

  test('drops what does not fit one TLS record', () => {
    const batch = new PacketBatch({ capacity: 2, slotBytes: 20_000 })
    batch.push(new Uint8Array(MAX_STREAM_PAYLOAD_BYTES))
    batch.push(new Uint8Array(MAX_STREAM_PAYLOAD_BYTES + 1))
    wrapStreamFrames(batch)
    expect([...batch.verdicts]).toEqual([Verdict.forward, Verdict.drop])
    expect(batch.drops[DropReason.tooBig]).toBe(1)
  })
})

describe('unwrapping datagram frames', () => {
  test('is the reverse of wrapping', () => {
    const batch = new PacketBatch()
    batch.push(bytes(0x45, 9, 9), 3)
    const before = [batch.offsets[0], batch.lengths[0]]
    wrapDatagramFrames(batch)
    unwrapDatagramFrames(batch)
    expect([batch.offsets[0], batch.lengths[0]]).toEqual(before)
    expect(batch.verdicts[0]).toBe(Verdict.forward)
  })

  test('diverts control frames, readable, in order', () => {
    const batch = new PacketBatch()
    batch.push(encodeDatagramFrame(FrameType.dpdRequest, bytes(1, 2, 3)), 7)
    batch.push(encodeDatagramFrame(FrameType.data, bytes(0x45)), 8)
    batch.push(encodeDatagramFrame(FrameType.keepalive, bytes()), 9)
    const seen: [number, number, number[]][] = []
    unwrapDatagramFrames(batch, (slot, type) => {
      seen.push([batch.owners[slot]!, type, [...datagramFramePayload(batch, slot)]])
    })
    expect(seen).toEqual([
      [7, FrameType.dpdRequest, [1, 2, 3]],
      [9, FrameType.keepalive, []],
    ])
    expect([...batch.verdicts].slice(0, 3)).toEqual([Verdict.divert, Verdict.forward, Verdict.divert])
  })

  test('does not look at slots that left before', () => {
    const batch = new PacketBatch()
    batch.push(encodeDatagramFrame(FrameType.dpdRequest, bytes(1)))
    batch.divert(0)
    unwrapDatagramFrames(batch, () => {
      throw new Error('called')
    })
  })

  test('drops and counts empty frames and types that are not known', () => {
    const batch = new PacketBatch()
    batch.push(bytes())
    batch.push(bytes(FrameType.data))
    batch.push(bytes(FrameType.compressed, 1, 2))
    batch.push(bytes(0xff, 1, 2))
    unwrapDatagramFrames(batch)
    expect([...batch.verdicts.subarray(0, 4)].every(verdict => verdict === Verdict.drop)).toBe(true)
    expect(batch.drops[DropReason.malformed]).toBe(2)
    expect(batch.drops[DropReason.unexpectedFrame]).toBe(2)
  })
})
