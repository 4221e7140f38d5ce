import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import { expect, test } from 'vitest'
import { RecordCutter } from '../../src/tls/record-cutter.ts'
import { concat, cutAnywhere } from './support.ts'

const record = (type: number, length: number, fill = 7) =>
  concat(Uint8Array.of(type, 3, type === 22 ? 1 : 3, length >> 8, length & 255), new Uint8Array(length).fill(fill))

const clientRandom = Uint8Array.from({ length: 32 }, (_, i) => 100 + i)
const hello = concat(
  Uint8Array.of(22, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3),
  clientRandom,
  new Uint8Array(60 - 4 - 2 - 32).fill(9),
)

test('whole records pass on, however the bytes fall, and are counted', () => {
  const random = seededRandom(3)
  const stream = concat(hello, record(20, 1), record(23, 500), record(22, 40), record(23, 1), record(23, 16_640, 5))
  for (let round = 0; round < 20; round++) {
    const cutter = new RecordCutter()
    const passed: Uint8Array[] = []
    for (const chunk of cutAnywhere(stream, bound => randomBelow(random, bound))) {
      const records = cutter.push(chunk)
      passed.push(records)
      // A record at a time or several, never a part of one.
      for (let at = 0; at < records.length; ) {
        at += 5 + ((records[at + 3]! << 8) | records[at + 4]!)
        expect(at).toBeLessThanOrEqual(records.length)
      }
    }
    expect(Buffer.compare(concat(...passed), stream)).toBe(0)
    expect(cutter.incomplete).toHaveLength(0)
    expect(cutter.applicationRecords).toBe(3)
    expect(cutter.recordsAfterChange).toBe(4)
    expect(Buffer.compare(cutter.lastRecord!, record(23, 16_640, 5))).toBe(0)
    expect(cutter.helloRandom).toEqual(clientRandom)
    expect(cutter.foreign).toBe(false)
  }
})

test('the copy of the last record does not change with the bytes that it came from', () => {
  const cutter = new RecordCutter()
  const chunk = Buffer.from(record(23, 10))
  cutter.push(chunk)
  chunk.fill(0)
  expect(cutter.lastRecord).toEqual(record(23, 10))
})

test.each([
  ['a request in the clear', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['one byte of it', Buffer.from('G')],
  ['a record that is too long', Uint8Array.of(23, 3, 3, 0x48, 1)],
  ['a wrong version', Uint8Array.of(22, 2)],
])('%s passes as it is, and all that follows', (_, bytes) => {
  const cutter = new RecordCutter()
  const head = record(23, 3)
  expect(cutter.push(head)).toEqual(head)
  expect(concat(cutter.push(bytes))).toEqual(concat(bytes))
  expect(cutter.foreign).toBe(true)
  expect(cutter.push(head.subarray(0, 4))).toEqual(head.subarray(0, 4))
  expect(cutter.incomplete).toHaveLength(0)
})

test('no more than one record is kept', () => {
  const cutter = new RecordCutter()
  expect(cutter.push(record(23, 18_432).subarray(0, 18_000))).toHaveLength(0)
  expect(cutter.incomplete).toHaveLength(18_000)
})
