import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { type SessionEndReason, SessionRegistry, type SessionRegistryLimits } from '../../src/index.ts'
import { seconds, seededRandom } from '../../src/runtime/index.ts'

const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const alice = { username: 'alice', method: 'password' } as const
const bob = { username: 'bob', method: 'password' } as const

function make(limits: SessionRegistryLimits = {}) {
  const registry = new SessionRegistry<string>({ random: seededRandom(7), hash, limits })
  const open = (identity: { username: string; method: 'password' } = alice, now = 0) => {
    const opened = registry.open(identity, now)
    if ('refused' in opened) throw new Error(opened.refused)
    return opened
  }
  const connect = (cookie: string, now: number) => {
    const connected = registry.connect(cookie, now)
    if ('refused' in connected) throw new Error(connected.refused)
    return connected
  }
  /** Lets time pass as a driver does, and gives what ended. */
  const advance = (now: number) => {
    registry.handleDeadline(now)
    const ended: [number, SessionEndReason][] = []
    for (let output = registry.poll(); output; output = registry.poll()) ended.push([output.session.id, output.reason])
    return ended
  }
  return { registry, open, connect, advance }
}

test('a cookie is 43 characters, every one different, and only its hash is kept', () => {
  const { registry, open } = make()
  const cookies = Array.from({ length: 10 }, () => open().cookie)
  for (const cookie of cookies) expect(cookie).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(new Set(cookies).size).toBe(10)
  expect(JSON.stringify([...registry.sessions()])).not.toContain(cookies[0]!)
})

test('a cookie that is not used in time is worth nothing', () => {
  const { registry, open, advance } = make()
  const { cookie, session } = open()
  expect(registry.deadline).toBe(seconds(300))
  expect(advance(seconds(299))).toEqual([])
  expect(advance(seconds(300))).toEqual([[session.id, 'cookie-timeout']])
  expect(registry.connect(cookie, seconds(300))).toEqual({ refused: 'unknown-cookie' })
  expect(registry.size).toBe(0)
  expect(registry.deadline).toBeUndefined()
})

test('an expired cookie is refused even before the deadline was handled', () => {
  const { registry, open } = make()
  const { cookie } = open()
  expect(registry.connect(cookie, seconds(300))).toEqual({ refused: 'unknown-cookie' })
})

test('a session that lost its stream waits for its client, with its lease', () => {
  const { registry, open, connect, advance } = make({ maxSeconds: 0 })
  const { cookie, session } = open()
  const first = connect(cookie, seconds(1))
  session.lease = '192.0.2.7'
  expect(first).toMatchObject({ returning: false, session: { state: 'connected' } })
  expect(advance(seconds(5000))).toEqual([])
  registry.streamLost(session.id, first.stream, seconds(5000))
  expect(session.state).toBe('disconnected')
  const second = connect(cookie, seconds(5299))
  expect(second).toMatchObject({ returning: true, session: { lease: '192.0.2.7' } })
  expect(second).not.toHaveProperty('replaced')
  registry.streamLost(session.id, second.stream, seconds(6000))
  expect(advance(seconds(6300))).toEqual([[session.id, 'cookie-timeout']])
})

test('a new CONNECT replaces the live stream, and the end of the old one no longer counts', () => {
  const { registry, open, connect } = make()
  const { cookie, session } = open()
  const first = connect(cookie, 1)
  const second = connect(cookie, 2)
  expect(second.replaced).toBe(first.stream)
  expect(session.stream).toBe(second.stream)
  registry.streamLost(session.id, first.stream, 3)
  expect(session.state).toBe('connected')
  registry.streamLost(session.id, second.stream, 4)
  expect(session.state).toBe('disconnected')
})

test('the maximum age survives every reconnect', () => {
  const { registry, open, connect, advance } = make({ maxSeconds: 3600 })
  const { cookie, session } = open()
  for (let now = 0; now < 3600; now += 200) {
    const { stream } = connect(cookie, seconds(now))
    expect(registry.remainingSeconds(session, seconds(now))).toBe(3600 - now)
    registry.noteActivity(session.id, seconds(now))
    if (now % 400 === 0) registry.streamLost(session.id, stream, seconds(now))
  }
  expect(advance(seconds(3599.999))).toEqual([])
  expect(advance(seconds(3600))).toEqual([[session.id, 'max-age']])
  expect(registry.connect(cookie, seconds(3600))).toEqual({ refused: 'unknown-cookie' })
})

test('a session without user data ends when idle time is limited', () => {
  const { registry, open, connect, advance } = make({ idleSeconds: 60, maxSeconds: 0 })
  const { cookie, session } = open()
  connect(cookie, 0)
  registry.noteActivity(session.id, seconds(50))
  expect(advance(seconds(60))).toEqual([])
  expect(registry.deadline).toBe(seconds(110))
  expect(advance(seconds(110))).toEqual([[session.id, 'idle']])
})

test.each(['user-left', 'terminated'] as const)('what ended by %s never comes back', reason => {
  const { registry, open, connect, advance } = make()
  const { cookie, session } = open()
  connect(cookie, 1)
  expect(registry.end(session.id, reason)).toBe(true)
  expect(registry.end(session.id, reason)).toBe(false)
  expect(registry.poll()).toMatchObject({ reason, hadStream: true, session: { state: 'ended' } })
  expect(registry.connect(cookie, 2)).toEqual({ refused: 'unknown-cookie' })
  expect(advance(seconds(10_000))).toEqual([])
})

test('a user can be ended with all sessions, and only that user', () => {
  const { registry, open } = make()
  open()
  open()
  open(bob)
  expect(registry.endUser('alice', 'terminated')).toBe(2)
  expect(registry.sessionsOf('alice')).toEqual([])
  expect(registry.sessionsOf('bob')).toHaveLength(1)
})

test('a user at the limit loses the oldest session without a stream, never one with', () => {
  const { registry, open, connect, advance } = make({ maxSessionsPerUser: 2 })
  const first = open()
  const second = open()
  connect(first.cookie, 1)
  const third = open()
  expect(advance(1)).toEqual([[second.session.id, 'superseded']])
  connect(third.cookie, 2)
  expect(registry.open(alice, 3)).toEqual({ refused: 'user-limit' })
  open(bob)
})

test('a full gateway refuses', () => {
  const { registry, open } = make({ maxSessions: 3, maxSessionsPerUser: 0 })
  for (let i = 0; i < 3; i++) open()
  expect(registry.open(bob, 0)).toEqual({ refused: 'gateway-limit' })
})

test.each([undefined, '', 'A'.repeat(42), 'A'.repeat(43), 'A'.repeat(44), 'A'.repeat(100_000), '\u{1F600}'.repeat(43)])(
  'a foreign cookie is refused',
  cookie => {
    const { registry, open } = make()
    open()
    expect(registry.connect(cookie, 0)).toEqual({ refused: 'unknown-cookie' })
  },
)

test('a cookie with one character changed is refused', () => {
  const { registry, open } = make()
  const { cookie } = open()
  for (let i = 0; i < cookie.length; i++) {
    const changed = `${cookie.slice(0, i)}${cookie[i] === 'A' ? 'B' : 'A'}${cookie.slice(i + 1)}`
    expect(registry.connect(changed, 0)).toEqual({ refused: 'unknown-cookie' })
  }
})

test('wrong limits are refused by name', () => {
  expect(() => make({ maxSeconds: -1 })).toThrow(/limits.maxSeconds/)
  expect(() => make({ cookieSeconds: 1.5 })).toThrow(/limits.cookieSeconds/)
})

test('agrees with a plain model over random days', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = seededRandom(seed)
    const { registry, advance } = make({
      maxSeconds: 2000,
      idleSeconds: 500,
      cookieSeconds: 300,
      maxSessionsPerUser: 0,
    })
    type Model = {
      id: number
      cookie: string
      born: number
      active: number
      lost: number
      live: boolean
      stream: number
    }
    const model = new Map<number, Model>()
    let now = 0
    for (let step = 0; step < 200; step++) {
      now += seconds(random.uint32() % 60)
      for (const [id] of advance(now)) model.delete(id)
      const expected = [...model.values()].filter(
        m => now < m.born + seconds(2000) && (m.live ? now < m.active + seconds(500) : now < m.lost + seconds(300)),
      )
      expect([...registry.sessions()].map(({ id }) => id)).toEqual(expected.map(({ id }) => id))
      const pick = [...model.values()][random.uint32() % Math.max(1, model.size)]
      const action = random.uint32() % 5
      if (action === 0 || !pick) {
        const opened = registry.open(alice, now)
        if ('refused' in opened) throw new Error('refused')
        const { id } = opened.session
        model.set(id, { id, cookie: opened.cookie, born: now, active: now, lost: now, live: false, stream: 0 })
      } else if (action === 1) {
        const connected = registry.connect(pick.cookie, now)
        if ('refused' in connected) throw new Error('refused')
        Object.assign(pick, { live: true, active: now, stream: connected.stream })
      } else if (action === 2) {
        registry.streamLost(pick.id, pick.stream, now)
        if (pick.live) Object.assign(pick, { live: false, lost: now })
      } else if (action === 3) {
        registry.noteActivity(pick.id, now)
        pick.active = now
      } else if (random.uint32() % 4 === 0) {
        registry.end(pick.id, 'terminated')
        registry.poll()
        model.delete(pick.id)
      }
    }
  }
})
