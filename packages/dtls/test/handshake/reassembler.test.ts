import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LOOK_AHEAD, MAX_HELD_BYTES, MAX_MESSAGE_BYTES, Reassembler } from '../../src/handshake/reassembler.ts'

interface Cut {
  readonly type: number
  readonly length: number
  readonly messageSeq: number
  readonly fragmentOffset: number
  readonly content: Uint8Array
}

function add(reassembler: Reassembler, cut: Cut, epoch = 0): string {
  const { content, ...header } = cut
  return reassembler.add({ ...header, fragmentLength: content.length }, content, 0, epoch)
}

function whole(messageSeq: number, content: Uint8Array, type = 2): Cut {
  return { type, length: content.length, messageSeq, fragmentOffset: 0, content }
}

describe('messages', () => {
  // Fragments that cover each message, with overlaps and repeats, in any order.
  const cutMessages = fc
    .array(fc.uint8Array({ maxLength: 120 }), { minLength: 1, maxLength: LOOK_AHEAD })
    .chain(messages =>
      fc
        .tuple(
          ...messages.map(message =>
            fc.array(fc.tuple(fc.nat({ max: message.length }), fc.nat({ max: message.length })), { maxLength: 8 }),
          ),
        )
        .chain(ranges => {
          const cuts = messages.flatMap((message, messageSeq) => {
            const borders = ranges[messageSeq]!.map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
            const middle = Math.floor(message.length / 2)
            return [...borders, [0, middle] as const, [middle, message.length] as const]
              .filter(([from, to]) => to > from || message.length === 0)
              .map(([from, to]) => ({
                type: messageSeq,
                length: message.length,
                messageSeq,
                fragmentOffset: from,
                content: message.slice(from, to),
              }))
          })
          return fc.tuple(fc.constant(messages), fc.shuffledSubarray(cuts, { minLength: cuts.length }))
        }),
    )

  test('come out whole and in order, however they were cut, mixed and repeated', () => {
    fc.assert(
      fc.property(cutMessages, ([messages, cuts]) => {
        const reassembler = new Reassembler(0)
        const taken: Uint8Array[] = []
        for (const cut of cuts) {
          expect(['stored', 'repeated']).toContain(add(reassembler, cut))
          for (let message = reassembler.peek(); message !== undefined; message = reassembler.peek()) {
            expect(message.type).toBe(taken.length)
            taken.push(message.body)
            reassembler.advance()
          }
        }
        expect(taken).toEqual(messages)
      }),
      { numRuns: 300 },
    )
  })

  test('hold no more than allowed and never fail, whatever comes', () => {
    const cut = fc.record({
      type: fc.integer({ min: 0, max: 3 }),
      length: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 0xffffff })),
      messageSeq: fc.nat({ max: 9 }),
      fragmentOffset: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 0xffffff })),
      content: fc.uint8Array({ maxLength: 400 }),
    })
    fc.assert(
      fc.property(fc.array(cut, { maxLength: 120 }), cuts => {
        const reassembler = new Reassembler(0)
        for (const candidate of cuts) {
          // The header reader refuses fragments outside their message.
          if (candidate.fragmentOffset + candidate.content.length > candidate.length) continue
          add(reassembler, candidate)
          expect(heldBytes(reassembler)).toBeLessThanOrEqual(MAX_HELD_BYTES)
          if (reassembler.peek() !== undefined) reassembler.advance()
        }
      }),
      { numRuns: 200 },
    )
  })
})

describe('a fragment', () => {
  const content = Uint8Array.of(1, 2, 3, 4)
  const half = { type: 2, length: 4, messageSeq: 0, fragmentOffset: 0, content: content.slice(0, 2) }

  test('of another type, length or epoch than the first with its number is refused (CVE-2026-33846)', () => {
    const reassembler = new Reassembler(0)
    expect(add(reassembler, half)).toBe('stored')
    expect(add(reassembler, { ...half, type: 3 })).toBe('inconsistent')
    expect(add(reassembler, { ...half, length: 5 })).toBe('inconsistent')
    expect(add(reassembler, half, 1)).toBe('inconsistent')
    expect(add(reassembler, { ...half, fragmentOffset: 2, content: content.slice(2) })).toBe('stored')
    expect(reassembler.peek()?.body).toEqual(content)
  })

  test('that is empty counts only for an empty message (CVE-2026-33845)', () => {
    const reassembler = new Reassembler(0)
    expect(add(reassembler, { ...half, content: content.slice(0, 0) })).toBe('inconsistent')
    expect(add(reassembler, whole(0, content.slice(0, 0)))).toBe('stored')
    expect(reassembler.peek()?.body.length).toBe(0)
  })

  test('of a long message costs only its own bytes (CVE-2014-3506)', () => {
    const reassembler = new Reassembler(0)
    for (let messageSeq = 0; messageSeq < LOOK_AHEAD; messageSeq++) {
      const far = {
        type: 2,
        length: MAX_MESSAGE_BYTES,
        messageSeq,
        fragmentOffset: MAX_MESSAGE_BYTES - 1,
        content: content.slice(0, 1),
      }
      expect(add(reassembler, far)).toBe('stored')
    }
    expect(heldBytes(reassembler)).toBe(LOOK_AHEAD)
  })

  test('of a message that is too long, or beyond the bytes held in all, is refused', () => {
    const reassembler = new Reassembler(0)
    expect(add(reassembler, { ...half, length: MAX_MESSAGE_BYTES + 1 })).toBe('over-limit')
    expect(add(reassembler, whole(1, new Uint8Array(MAX_MESSAGE_BYTES)))).toBe('stored')
    expect(add(reassembler, whole(2, new Uint8Array(MAX_MESSAGE_BYTES)))).toBe('over-limit')
    expect(add(reassembler, whole(0, content))).toBe('stored')
    reassembler.advance()
    reassembler.advance()
    expect(add(reassembler, whole(2, new Uint8Array(MAX_MESSAGE_BYTES)))).toBe('stored')
  })

  test('behind or too far ahead is told apart', () => {
    const reassembler = new Reassembler(5)
    expect(add(reassembler, whole(4, content))).toBe('repeated')
    expect(add(reassembler, whole(5 + LOOK_AHEAD, content))).toBe('inconsistent')
    expect(add(reassembler, whole(5 + LOOK_AHEAD - 1, content))).toBe('stored')
  })

  test('of a message that was thrown away can come again with other content', () => {
    const reassembler = new Reassembler(0)
    add(reassembler, whole(0, content))
    reassembler.discard()
    expect(reassembler.peek()).toBeUndefined()
    expect(add(reassembler, whole(0, Uint8Array.of(9), 7))).toBe('stored')
    expect(reassembler.peek()).toEqual({ type: 7, messageSeq: 0, epoch: 0, body: Uint8Array.of(9) })
  })
})

/** The bytes that are really there, counted anew. */
function heldBytes(reassembler: Reassembler): number {
  const { partials } = reassembler as unknown as { partials: Map<number, { pieces: { bytes: Uint8Array }[] }> }
  let sum = 0
  for (const partial of partials.values()) for (const piece of partial.pieces) sum += piece.bytes.length
  return sum
}
