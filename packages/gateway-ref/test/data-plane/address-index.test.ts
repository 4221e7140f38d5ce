import { IpAddress } from '@twinbore/core/address'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AddressIndex } from '../../src/data-plane/address-index.ts'

test('an IPv4 address and its v4-mapped IPv6 form are one key', () => {
  const index = new AddressIndex()
  index.set(IpAddress.of('192.168.77.9').bytes, 5)
  expect(index.get(IpAddress.of('::ffff:192.168.77.9').bytes)).toBe(5)
})

test('behaves like a Map under any sequence of set and delete', () => {
  // A small address space makes clusters, collisions and re-use likely.
  const address = fc.integer({ min: 0, max: 60 }).map(n => Uint8Array.from([10, 0, n & 3, n]))
  const step = fc.record({ address, session: fc.option(fc.nat(1000), { nil: undefined }) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), steps => {
      const index = new AddressIndex(4)
      const model = new Map<string, number>()
      for (const { address, session } of steps) {
        if (session === undefined) {
          index.delete(address)
          model.delete(address.join())
        } else {
          index.set(address, session)
          model.set(address.join(), session)
        }
      }
      expect(index.size).toBe(model.size)
      for (let n = 0; n <= 60; n++) {
        const key = Uint8Array.from([10, 0, n & 3, n])
        expect(index.get(key)).toBe(model.get(key.join()) ?? -1)
      }
    }),
  )
})
