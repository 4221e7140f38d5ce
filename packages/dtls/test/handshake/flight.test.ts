import fc from 'fast-check'
import { expect, test } from 'vitest'
import { layOutFlight } from '../../src/handshake/flight.ts'
import { encodeMessage, MESSAGE_HEADER_BYTES, readFragmentHeader } from '../../src/handshake/message-header.ts'
import { Reassembler } from '../../src/handshake/reassembler.ts'
import { WriteEpoch } from '../../src/record/epoch-keys.ts'
import { RECORD_HEADER_BYTES } from '../../src/record/record-header.ts'
import { splitRecords } from '../world.ts'

test('datagrams keep to the MTU and carry every message, however long', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 1500 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 256, max: 1500 }),
      (bodies, mtu) => {
        const epoch = new WriteEpoch(0, undefined, 0)
        const items = bodies.map((body, seq) => ({ epoch, message: encodeMessage(11, seq, body) }))
        const datagrams = layOutFlight([...items, { epoch, message: undefined }], mtu)
        const reassembler = new Reassembler(0)
        const taken: Uint8Array[] = []
        let changes = 0
        for (const datagram of datagrams) {
          expect(datagram.length).toBeLessThanOrEqual(mtu)
          for (const record of splitRecords(datagram)) {
            if (record[0] === 20) changes++
            else {
              const header = readFragmentHeader(record, RECORD_HEADER_BYTES, record.length)!
              expect(RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES + header.fragmentLength).toBe(record.length)
              reassembler.add(header, record, RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES, 0)
            }
            for (let message = reassembler.peek(); message !== undefined; message = reassembler.peek()) {
              taken.push(message.body)
              reassembler.advance()
            }
          }
        }
        expect(taken).toEqual(bodies)
        expect(changes).toBe(1)
      },
    ),
    { numRuns: 200 },
  )
})

test('a message that fits a datagram of its own is not torn, and small ones share one', () => {
  const epoch = new WriteEpoch(0, undefined, 0)
  const items = [200, 150, 30].map((length, seq) => ({
    epoch,
    message: encodeMessage(11, seq, new Uint8Array(length)),
  }))
  const datagrams = layOutFlight(items, 256)
  expect(datagrams.map(datagram => splitRecords(datagram).length)).toEqual([1, 2])
})

test('sent again, a flight has new record numbers', () => {
  const epoch = new WriteEpoch(0, undefined, 5)
  const items = [{ epoch, message: encodeMessage(1, 0, new Uint8Array(40)) }]
  const numbers = [0, 1, 2].map(() => layOutFlight(items, 256)[0]![10])
  expect(numbers).toEqual([5, 6, 7])
})
