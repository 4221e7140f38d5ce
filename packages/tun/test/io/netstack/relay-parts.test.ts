// The relay's rules that need no socket.
import { describe, expect, test } from 'vitest'
import { refusalOf } from '../../../src/io/index.ts'
import { AddressFilter } from '../../../src/io/netstack/address-filter.ts'
import { DescriptorBudget } from '../../../src/io/netstack/descriptor-budget.ts'
import { DialGate } from '../../../src/io/netstack/dial-gate.ts'

test.each([
  ['ECONNREFUSED', 'reset'],
  ['ECONNRESET', 'reset'],
  ['EHOSTUNREACH', 'host-unreachable'],
  ['ENETUNREACH', 'net-unreachable'],
  ['EAFNOSUPPORT', 'net-unreachable'],
  ['ENOPROTOOPT', 'protocol-unreachable'],
  ['EACCES', 'admin-prohibited'],
  ['EPERM', 'admin-prohibited'],
  ['ETIMEDOUT', 'host-unreachable'],
  // What this host lacks is never a reset.
  ['EADDRNOTAVAIL', 'host-unreachable'],
  ['EADDRINUSE', 'host-unreachable'],
  ['EMFILE', 'host-unreachable'],
  ['ENFILE', 'host-unreachable'],
  ['ENOBUFS', 'host-unreachable'],
  ['EWHATEVER', 'host-unreachable'],
  [undefined, 'host-unreachable'],
  ['constructor', 'host-unreachable'],
])('%s is told as %s', (code, reason) => {
  expect(refusalOf(code)).toBe(reason)
})

describe('connects under way', () => {
  test('to one destination are limited for each client and for all of them', () => {
    const gate = new DialGate({ maxDialsPerSourceAndDestination: 2, maxDialsPerDestination: 3 })
    expect(['a', 'a', 'a', 'b', 'b'].map(source => gate.enter(source, 'x'))).toEqual([true, true, false, true, false])
    expect(gate.enter('a', 'y')).toBe(true)
    gate.leave('a', 'x')
    expect(gate.enter('b', 'x')).toBe(true)
    expect(gate.enter('a', 'x')).toBe(false)
  })

  test('that have all ended leave nothing', () => {
    const gate = new DialGate({ maxDialsPerSourceAndDestination: 2, maxDialsPerDestination: 3 })
    for (let i = 0; i < 100; i++) {
      expect(gate.enter('a', 'x')).toBe(true)
      gate.leave('a', 'x')
    }
    expect((gate as unknown as { byPair: Map<string, number> }).byPair.size).toBe(0)
  })
})

describe('a filter', () => {
  test('admits hosts that were sent to, and forgets the one that was sent to longest ago', () => {
    const filter = new AddressFilter(2)
    expect(filter.admits('a')).toBe(false)
    filter.open('a')
    filter.open('b')
    filter.open('a')
    filter.open('c')
    expect(['a', 'b', 'c'].map(address => filter.admits(address))).toEqual([true, false, true])
  })
})

test('the budget of descriptors leaves a fifth of the limit, and counts what others hold', () => {
  let own = 0
  const budget = new DescriptorBudget(() => own, 1000)
  expect(budget.admitted).toBe(800)
  expect(budget.hasRoom).toBe(true)
  own = 800
  expect(budget.hasRoom).toBe(false)
  own = 0
  const tight = new DescriptorBudget(() => own, 1)
  expect(tight.hasRoom).toBe(false)
})
