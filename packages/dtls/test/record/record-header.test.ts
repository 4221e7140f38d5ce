import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  MAX_FRAGMENT_BYTES,
  MAX_SEQUENCE,
  RECORD_HEADER_BYTES,
  recordEnd,
  recordEpoch,
  recordSequence,
  recordVersion,
  writeRecordHeader,
} from '../../src/record/record-header.ts'
import { bytes } from '../bytes.ts'

test('has its fields where RFC 6347 §4.1 puts them', () => {
  const record = new Uint8Array(RECORD_HEADER_BYTES + 3)
  writeRecordHeader(record, 0, 23, 0xfefd, 0x0102, 0x030405060708, 3)
  expect(record).toEqual(bytes('17 fefd 0102 030405060708 0003 000000'))
})

test('what is written is read', () => {
  const uint16 = fc.integer({ min: 0, max: 0xffff })
  fc.assert(
    fc.property(
      fc.nat({ max: 40 }),
      uint16,
      uint16,
      fc.integer({ min: 0, max: MAX_SEQUENCE }),
      fc.integer({ min: 0, max: MAX_FRAGMENT_BYTES }),
      (at, version, epoch, sequence, length) => {
        const slab = new Uint8Array(at + RECORD_HEADER_BYTES + length)
        writeRecordHeader(slab, at, 22, version, epoch, sequence, length)
        expect(recordVersion(slab, at)).toBe(version)
        expect(recordEpoch(slab, at)).toBe(epoch)
        expect(recordSequence(slab, at)).toBe(sequence)
        expect(recordEnd(slab, at, slab.length)).toBe(slab.length)
      },
    ),
  )
})

test('a record that is cut short or too long has no end', () => {
  const record = new Uint8Array(RECORD_HEADER_BYTES + MAX_FRAGMENT_BYTES + 1)
  writeRecordHeader(record, 0, 22, 0xfefd, 0, 0, 8)
  expect(recordEnd(record, 0, 12)).toBe(-1)
  expect(recordEnd(record, 0, 20)).toBe(-1)
  expect(recordEnd(record, 0, 21)).toBe(21)
  expect(recordEnd(record, 0, 30)).toBe(21)
  writeRecordHeader(record, 0, 22, 0xfefd, 0, 0, MAX_FRAGMENT_BYTES + 1)
  expect(recordEnd(record, 0, record.length)).toBe(-1)
})
