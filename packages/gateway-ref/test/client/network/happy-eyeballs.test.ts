import { IpAddress } from '@twinbore/core/address'
import { describe, expect, test } from 'vitest'
import {
  CONNECTION_ATTEMPT_DELAY_MS,
  HappyEyeballs,
  RESOLUTION_DELAY_MS,
} from '../../../src/client/network/happy-eyeballs.ts'

const v4 = ['192.0.2.1', '192.0.2.2'].map(text => IpAddress.of(text))
const v6 = ['2001:db8::1', '2001:db8::2', '2001:db8::3'].map(text => IpAddress.of(text))

function drain(machine: HappyEyeballs): string[] {
  const lines: string[] = []
  for (let output = machine.poll(); output; output = machine.poll()) {
    if (output.type === 'attempt') lines.push(`attempt ${output.attempt} ${output.address}`)
    else if (output.type === 'failed') lines.push('failed')
    else lines.push(`${output.type} ${output.attempt}`)
  }
  return lines
}

describe('RFC 8305', () => {
  test('§4: families take turns, IPv6 first; §5: the next attempt begins after 250 ms or at once after a failure', () => {
    const machine = new HappyEyeballs([6, 4])
    machine.addAddresses(6, v6, 0)
    machine.addAddresses(4, v4, 1)
    expect(drain(machine)).toEqual(['attempt 0 2001:db8::1'])
    machine.handleDeadline(CONNECTION_ATTEMPT_DELAY_MS - 1)
    expect(drain(machine)).toEqual([])
    expect(machine.deadline).toBe(CONNECTION_ATTEMPT_DELAY_MS)
    machine.handleDeadline(CONNECTION_ATTEMPT_DELAY_MS)
    expect(drain(machine)).toEqual(['attempt 1 192.0.2.1'])
    machine.attemptFailed(0, 260)
    expect(drain(machine)).toEqual(['attempt 2 2001:db8::2'])
    machine.handleDeadline(600)
    machine.handleDeadline(900)
    expect(drain(machine)).toEqual(['attempt 3 192.0.2.2', 'attempt 4 2001:db8::3'])
    machine.attemptEstablished(3, 1000)
    expect(drain(machine)).toEqual(['abandon 1', 'abandon 2', 'abandon 4', 'connected 3'])
    machine.attemptFailed(1, 1001)
    machine.attemptEstablished(4, 1001)
    expect(drain(machine)).toEqual([])
    expect(machine.deadline).toBeUndefined()
  })

  test('§3: IPv4 waits 50 ms for the answer about IPv6, and no longer', () => {
    const machine = new HappyEyeballs([6, 4])
    machine.addAddresses(4, v4, 100)
    expect(drain(machine)).toEqual([])
    expect(machine.deadline).toBe(100 + RESOLUTION_DELAY_MS)
    machine.addAddresses(6, v6, 130)
    expect(drain(machine)).toEqual(['attempt 0 2001:db8::1'])

    const late = new HappyEyeballs([6, 4])
    late.addAddresses(4, v4.slice(0, 1), 100)
    late.handleDeadline(150)
    expect(drain(late)).toEqual(['attempt 0 192.0.2.1'])
    late.handleDeadline(400)
    expect(late.deadline).toBeUndefined()
    late.addAddresses(6, v6.slice(0, 1), 500)
    expect(drain(late)).toEqual(['attempt 1 2001:db8::1'])
  })

  test('a family without addresses holds nothing up', () => {
    const machine = new HappyEyeballs([6, 4])
    machine.addAddresses(4, v4, 0)
    machine.addAddresses(6, [], 5)
    expect(drain(machine)).toEqual(['attempt 0 192.0.2.1'])
  })
})

test('it has failed when every attempt has and no answer is to come', () => {
  const machine = new HappyEyeballs([6, 4])
  machine.addAddresses(6, v6.slice(0, 1), 0)
  machine.attemptFailed(0, 10)
  machine.attemptFailed(0, 10)
  expect(drain(machine)).toEqual(['attempt 0 2001:db8::1'])
  machine.addAddresses(4, v4.slice(0, 1), 20)
  expect(drain(machine)).toEqual(['attempt 1 192.0.2.1'])
  machine.attemptFailed(1, 30)
  expect(drain(machine)).toEqual(['failed'])

  const nothing = new HappyEyeballs([4])
  nothing.addAddresses(4, [], 0)
  expect(drain(nothing)).toEqual(['failed'])
})
