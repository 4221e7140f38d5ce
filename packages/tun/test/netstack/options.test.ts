import { seededRandom } from '@twinbore/core/runtime'
import { describe, expect, test } from 'vitest'
import { defaultNetStackLimits, NetStack, type NetStackOptions } from '../../src/netstack/index.ts'

const random = seededRandom(1)

describe('NetStack refuses options that can not be', () => {
  const wrong: [string, NetStackOptions][] = [
    ['a client without address', { random }],
    ['an address that is none', { random, addresses: ['10.0.0.256'] }],
    ['an MTU below 576', { random, addresses: ['10.0.0.1'], mtu: 575 }],
    ['an MTU that is no integer', { random, addresses: ['10.0.0.1'], mtu: 1400.5 }],
    ['a negative limit', { random, addresses: ['10.0.0.1'], limits: { maxFlows: -1 } }],
    ['no memory', { random, addresses: ['10.0.0.1'], limits: { maxBufferBytes: 0 } }],
    ['ports the wrong way round', { random, addresses: ['10.0.0.1'], ephemeralPorts: [2000, 1000] }],
    ['port 0', { random, addresses: ['10.0.0.1'], ephemeralPorts: [0, 1000] }],
    ['an idle time for no port', { random, addresses: ['10.0.0.1'], udpIdleTimeoutMsByPort: { 0: 1000 } }],
    ['a TCP window without bytes', { random, addresses: ['10.0.0.1'], tcp: { initialReceiveWindow: 1 } }],
  ]
  test.each(wrong)('%s', (_, options) => {
    expect(() => new NetStack(options)).toThrow(RangeError)
  })

  test('a source of randomness that is none', () => {
    expect(() => new NetStack({ addresses: ['10.0.0.1'] } as unknown as NetStackOptions)).toThrow(TypeError)
  })
})

test('a gateway needs no address, and every limit has a default', () => {
  const stack = new NetStack({ random, acceptAnyDestination: true })
  expect([stack.poll(), stack.deadline, stack.wantsToSend]).toEqual([undefined, undefined, false])
  expect(Object.values(defaultNetStackLimits).every(limit => Number.isInteger(limit) && limit > 0)).toBe(true)
})
