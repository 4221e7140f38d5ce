// As much of RFC 1035 §4.1 as a forwarder needs that passes messages on as they are.

const HEADER_BYTES = 12
const MAX_NAME_BYTES = 255
const RESPONSE = 0x80

export const Rcode = { serverFailure: 2 } as const

export function messageId(message: Uint8Array): number {
  return (message[0]! << 8) | message[1]!
}

/** A copy with another identifier. */
export function withMessageId(message: Uint8Array, id: number): Uint8Array {
  const copy = message.slice()
  copy[0] = id >> 8
  copy[1] = id & 0xff
  return copy
}

export function isResponse(message: Uint8Array): boolean {
  return (message[2]! & RESPONSE) !== 0
}

/** Where the one question of a message ends; `undefined` when it has not exactly one, or that is malformed. */
export function questionEnd(message: Uint8Array): number | undefined {
  if (message.length < HEADER_BYTES || message[4] !== 0 || message[5] !== 1) return undefined
  let at = HEADER_BYTES
  for (;;) {
    const length = message[at]
    // The first name of a message has nothing to point to.
    if (length === undefined || length > 63) return undefined
    at += 1 + length
    if (at - HEADER_BYTES > MAX_NAME_BYTES) return undefined
    if (length === 0) break
  }
  return at + 4 <= message.length ? at + 4 : undefined
}

/** Whether two messages ask the same, to the letter: a resolver repeats the case of the name as it was asked. */
export function hasSameQuestion(one: Uint8Array, other: Uint8Array): boolean {
  const end = questionEnd(one)
  if (end === undefined || questionEnd(other) !== end) return false
  for (let i = HEADER_BYTES; i < end; i++) if (one[i] !== other[i]) return false
  return true
}

/** The answer to a query that could not be asked. */
export function failureOf(query: Uint8Array, rcode: number): Uint8Array {
  const answer = query.slice(0, questionEnd(query))
  // Of the flags, what the query said stays: opcode, recursion desired.
  answer[2] = RESPONSE | (answer[2]! & 0x79)
  answer[3] = 0x80 | rcode
  answer.fill(0, 6, HEADER_BYTES)
  return answer
}
