import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NetlinkRequest, netlinkAttributes, netlinkReplies, uint32Bytes } from '../src/io/linux/netlink-message.ts'

test('what is built is read back', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
      fc.nat(0xffff_ffff),
      (values, sequence) => {
        const request = new NetlinkRequest(16, 0x300, new Uint8Array(12).fill(9))
        values.forEach((value, i) => void request.attribute(i + 1, value))
        const [reply, ...more] = netlinkReplies(request.finish(sequence))
        expect(more).toEqual([])
        expect([reply!.type, reply!.sequence]).toEqual([16, sequence])
        expect([...netlinkAttributes(reply!.payload, 12)]).toEqual(values.map((value, i) => [i + 1, value]))
      },
    ),
  )
})

test('nested attributes are attributes', () => {
  const request = new NetlinkRequest(16, 0, new Uint8Array(4))
  request.nested(26, inner => inner.nested(10, innermost => innermost.uint32(8, 1)).text(3, 'lo'))
  const [reply] = netlinkReplies(request.finish(1))
  const outer = netlinkAttributes(netlinkAttributes(reply!.payload, 4).get(26)!, 0)
  expect(netlinkAttributes(outer.get(10)!, 0).get(8)).toEqual(uint32Bytes(1))
  expect(outer.get(3)).toEqual(Uint8Array.of(0x6c, 0x6f, 0))
})

test('no bytes make the reader throw or run on', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(20), (bytes, fixed) => {
      for (const reply of netlinkReplies(bytes)) netlinkAttributes(reply.payload, fixed)
      netlinkAttributes(bytes, fixed)
    }),
    { numRuns: 5000 },
  )
})
