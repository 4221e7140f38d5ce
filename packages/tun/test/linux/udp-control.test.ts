import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readGroSize, SEGMENT_CONTROL_BYTES, writeSegmentControl } from '../../src/io/linux/udp-control.ts'

/** One control message as a C compiler lays it out. */
function control(level: number, type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + Math.ceil(data.length / 8) * 8)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(16 + data.length), true)
  view.setInt32(8, level, true)
  view.setInt32(12, type, true)
  bytes.set(data, 16)
  return bytes
}

function words(...parts: Uint8Array[]): Uint32Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return new Uint32Array(bytes.buffer)
}

const int = (value: number) => new Uint8Array(Uint32Array.of(value).buffer)

describe('the size of the datagrams of a train', () => {
  const gro = control(17, 104, int(1438))

  test('is the integer of UDP_GRO', () => {
    const all = words(new Uint8Array(8), gro)
    expect(readGroSize(all, 2, all.length)).toBe(1438)
  })

  test('is found behind other control messages, also odd ones', () => {
    const all = words(control(1, 29, new Uint8Array(16)), control(0, 1, Uint8Array.of(7)), gro)
    expect(readGroSize(all, 0, all.length)).toBe(1438)
  })

  test('is 0 without UDP_GRO, with nothing, and with less than its message', () => {
    const other = words(control(17, 103, int(9)))
    expect(readGroSize(other, 0, other.length)).toBe(0)
    expect(readGroSize(other, 0, 0)).toBe(0)
    const all = words(gro)
    for (let end = 0; end < 5; end++) expect(readGroSize(all, 0, end)).toBe(0)
  })

  test('is found, or 0, in any bytes', () => {
    fc.assert(
      fc.property(fc.uint32Array({ maxLength: 40 }), fc.nat(40), (any, at) => {
        const size = readGroSize(any, Math.min(at, any.length), any.length)
        expect(size === 0 || any.includes(size)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })
})

test('UDP_SEGMENT is 16 bits in a control message of its own', () => {
  const all = new Uint32Array(2 + SEGMENT_CONTROL_BYTES / 4).fill(0xffff_ffff)
  writeSegmentControl(all, 2, 1438)
  expect(all.subarray(2)).toEqual(words(control(17, 103, Uint8Array.of(1438 & 0xff, 1438 >> 8))))
  expect(all.subarray(0, 2)).toEqual(Uint32Array.of(0xffff_ffff, 0xffff_ffff))
})
