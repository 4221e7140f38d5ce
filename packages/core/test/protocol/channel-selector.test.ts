import { ChannelSelector, type DatagramEvent, type SelectorState, selectorTransitions } from '@twinbore/core'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

function connected(): ChannelSelector {
  const selector = new ChannelSelector()
  selector.streamAttached()
  return selector
}

/** A selector in a state, with a stream. */
function inState(state: SelectorState): ChannelSelector {
  const selector = connected()
  if (state !== 'fallback') selector.apply('opened', 0)
  if (state === 'preferred' || state === 'suspect') selector.apply('proven', 0)
  if (state === 'suspect') selector.apply('doubted', 0)
  expect(selector.state).toBe(state)
  return selector
}

const events: DatagramEvent[] = [
  'opened',
  'proven',
  'doubted',
  'cleared',
  'silent',
  'closed',
  'peer-left',
  'peer-returned',
  'stream-renewed',
]

describe('with a stream', () => {
  test.each<[SelectorState, string, DatagramEvent, string]>([
    ['fallback', 'stream', 'opened', 'probing stream'],
    ['fallback', 'stream', 'proven', 'fallback stream'],
    ['probing', 'stream', 'proven', 'preferred datagram'],
    ['probing', 'stream', 'peer-returned', 'preferred datagram'],
    ['probing', 'stream', 'silent', 'probing stream'],
    ['probing', 'stream', 'closed', 'fallback stream'],
    ['preferred', 'datagram', 'opened', 'preferred datagram'],
    ['preferred', 'datagram', 'doubted', 'suspect datagram'],
    ['preferred', 'datagram', 'silent', 'probing stream'],
    ['preferred', 'datagram', 'peer-left', 'probing stream'],
    ['preferred', 'datagram', 'stream-renewed', 'probing stream'],
    ['preferred', 'datagram', 'closed', 'fallback stream'],
    ['suspect', 'datagram', 'cleared', 'preferred datagram'],
    ['suspect', 'datagram', 'silent', 'probing stream'],
    ['suspect', 'datagram', 'peer-left', 'probing stream'],
    ['suspect', 'datagram', 'closed', 'fallback stream'],
  ])('%s (data by %s), %s: %s', (state, channel, event, expected) => {
    const selector = inState(state)
    expect(selector.active).toBe(channel)
    const change = selector.apply(event, 1)
    expect(`${selector.state} ${selector.active}`).toBe(expected)
    expect(change !== undefined).toBe(selector.active !== channel)
  })

  test.each<[DatagramEvent, string]>([
    ['silent', 'datagram-silent'],
    ['peer-left', 'peer-left-datagram'],
    ['stream-renewed', 'stream-renewed'],
    ['closed', 'datagram-closed'],
  ])('%s is why data moves to the stream: %s', (event, reason) => {
    expect(inState('preferred').apply(event, 1)).toEqual({ from: 'datagram', to: 'stream', reason })
  })

  test('data moves to the datagram channel as established first, as recovered later', () => {
    const selector = inState('probing')
    expect(selector.apply('proven', 0)?.reason).toBe('established')
    selector.apply('silent', 100_000)
    expect(selector.apply('proven', 100_001)?.reason).toBe('datagram-recovered')
  })
})

describe('without a stream', () => {
  test('data takes a datagram channel that is not proven', () => {
    const selector = new ChannelSelector()
    expect(selector.active).toBe('none')
    expect(selector.apply('opened', 0)).toEqual({ from: 'none', to: 'datagram', reason: 'established' })
    expect(selector.streamAttached()).toEqual({ from: 'datagram', to: 'stream', reason: 'established' })
    expect(selector.streamLost()).toEqual({ from: 'stream', to: 'datagram', reason: 'stream-lost' })
  })

  test('a channel that is trusted is not left because the stream is gone', () => {
    const selector = inState('preferred')
    expect(selector.streamLost()).toBeUndefined()
    expect(selector.apply('silent', 1)).toBeUndefined()
    expect(selector.active).toBe('datagram')
    expect(selector.apply('closed', 2)).toEqual({ from: 'datagram', to: 'none', reason: 'datagram-closed' })
  })
})

describe('a channel that fails again and again', () => {
  test.each<DatagramEvent>(['silent', 'closed', 'peer-left'])('is held, whoever noticed: %s', event => {
    const selector = inState('preferred')
    selector.apply(event, 5000)
    expect(selector.mayReturn(5999)).toBe(false)
    expect(selector.mayReturn(6000)).toBe(true)
  })

  test('a new stream is no failure', () => {
    const selector = inState('preferred')
    selector.apply('stream-renewed', 5000)
    expect(selector.mayReturn(5000)).toBe(true)
  })

  test('is held for 1, 2, 4 .. 30 s before it is trusted again', () => {
    const selector = inState('preferred')
    let now = 100_000
    // Stable so far: it may return at once.
    selector.apply('silent', now)
    expect(selector.mayReturn(now)).toBe(true)
    const holds: number[] = []
    for (let i = 0; i < 7; i++) {
      expect(selector.apply('proven', now)?.to).toBe('datagram')
      selector.apply('silent', ++now)
      const failedAt = now
      expect(selector.apply('proven', now)).toBeUndefined()
      while (!selector.mayReturn(now)) now += 100
      holds.push(now - failedAt)
    }
    expect(holds).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
    // After a time without failure it starts over.
    selector.apply('proven', now)
    selector.apply('silent', now + 10_000)
    expect(selector.mayReturn(now + 10_000)).toBe(true)
  })

  test('is used at once when the peer uses it', () => {
    const selector = inState('preferred')
    selector.apply('silent', 1)
    expect(selector.mayReturn(2)).toBe(false)
    expect(selector.apply('peer-returned', 2)?.to).toBe('datagram')
  })
})

test('whatever happens: data has a channel if there is one, and changes are told truthfully', () => {
  const step = fc.oneof(
    fc.constantFrom(...events),
    fc.constantFrom<'stream-attached' | 'stream-lost'>('stream-attached', 'stream-lost'),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const selector = new ChannelSelector()
      let stream = false
      steps.forEach((what, i) => {
        const [before, stateBefore] = [selector.active, selector.state]
        let change: ReturnType<ChannelSelector['streamLost']>
        if (what === 'stream-attached' || what === 'stream-lost') {
          stream = what === 'stream-attached'
          change = stream ? selector.streamAttached() : selector.streamLost()
        } else {
          change = selector.apply(what, i * 1000)
          expect([stateBefore, selectorTransitions[stateBefore][what]]).toContain(selector.state)
        }
        expect(change === undefined).toBe(before === selector.active)
        if (change) expect([change.from, change.to]).toEqual([before, selector.active])
        if (stream) expect(selector.active).toBe(selector.trustsDatagram ? 'datagram' : 'stream')
        else expect(selector.active).toBe(selector.state === 'fallback' ? 'none' : 'datagram')
      })
    }),
    { numRuns: 1000 },
  )
})
