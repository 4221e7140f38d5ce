import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { configOf } from '../support/config-of.ts'
import { sessionWorld as world } from '../support/session-world.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('rates', () => {
  test('are told with the session, and changed under way; what the users file says goes first', () => {
    const { login, connect, host, users, commands } = world({ session: { rate: { upload: '50 Mbit/s' } } })
    const rates = () => commands.splice(0).flatMap(command => (command.type === 'set-rate' ? [command] : []))
    const cookie = login('anna')
    connect(cookie)
    expect(rates()).toEqual([{ type: 'set-rate', session: 0, rate: { upload: 50e6, download: undefined } }])
    users.set('otto', { groups: [], addresses: [], rate: { upload: Number.POSITIVE_INFINITY, download: 1e6 } })
    connect(login('otto'))
    expect(rates()).toEqual([{ type: 'set-rate', session: 1, rate: { upload: undefined, download: 1e6 } }])
    connect(cookie)
    host.reconfigure(configOf({ session: { rate: { upload: '50 Mbit/s' } } }))
    expect(rates()).toEqual([])
    host.reconfigure(configOf({ session: { rate: { upload: '20 Mbit/s', download: '1 Gbit/s' } } }))
    expect(rates()).toEqual([{ type: 'set-rate', session: 0, rate: { upload: 20e6, download: 1e9 } }])
    const rate = { upload: 20e6, download: 1e9 }
    expect([...host.inPlane.restore()]).toContainEqual({ type: 'set-rate', session: 0, rate })
    host.reconfigure(configOf())
    expect(rates()).toEqual([{ type: 'set-rate', session: 0, rate: { upload: undefined, download: undefined } }])
  })
})
