import { machineComplianceTests } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { type TcpOptions, tcpConfig } from '../../../src/netstack/tcp/tcp-config.ts'
import type { TcpOutput } from '../../../src/netstack/tcp/tcp-events.ts'
import { type Incoming, Wire } from './wire.ts'

const steps: Record<string, (wire: Wire) => void> = {
  'while dialling': () => {},
  'after confirming': wire => wire.connection.confirm(wire.now),
  'with data in flight': wire => {
    wire.connection.confirm(wire.now)
    wire.sent()
    wire.receive({})
    wire.connection.write(new Uint8Array(40_000), wire.now)
    wire.sent()
  },
  'in recovery': wire => {
    steps['with data in flight']!(wire)
    wire.now += 50
    wire.receive({ sack: [[1461, 2921]] })
    wire.sent()
  },
  'at a closed window': wire => {
    steps['with data in flight']!(wire)
    wire.receive({ ack: 14_601, window: 0 })
  },
  'half closed': wire => {
    steps['with data in flight']!(wire)
    wire.connection.shutdown(wire.now)
    wire.receive({ flags: 'FA', length: 10 })
  },
  'in time-wait': wire => {
    wire.connection.confirm(wire.now)
    wire.sent()
    wire.receive({})
    wire.connection.shutdown(wire.now)
    wire.sent()
    wire.receive({ flags: 'FA', ack: 2 })
  },
  reset: wire => {
    steps['with data in flight']!(wire)
    wire.receive({ flags: 'R', length: 0 })
  },
}

describe.each(Object.entries(steps))('a connection %s keeps the contract of a machine', (_, step) => {
  const syn: Incoming = { mss: 1460, sackPermitted: true }
  const checks = machineComplianceTests<TcpOutput>(() => {
    const wire = new Wire({}, syn)
    const at = (input: () => void) => (now: number) => {
      wire.now = Math.max(wire.now, now)
      input()
    }
    return {
      machine: wire.connection,
      inputs: [at(() => step(wire)), at(() => wire.sent()), at(() => wire.receive({ seq: 1, length: 5 }))],
    }
  })
  test.each(checks.map(check => [check.name, check.run] as const))('%s', (_name, run) => run())
})

describe('options that can not work', () => {
  const initialSequences = { sequenceNumber: () => 0, timestampOffset: () => 0 }
  test.each<[string, Partial<TcpOptions>]>([
    ['a window scale above 14', { windowScale: 15 }],
    ['a window scale that is no whole number', { windowScale: 1.5 }],
    ['a window of a gibibyte', { maxReceiveWindow: 2 ** 30 + 1 }],
    ['a window that begins above its maximum', { initialReceiveWindow: 100_000, maxReceiveWindow: 65_536 }],
    ['a window too small for its scale', { windowScale: 14, initialReceiveWindow: 8192 }],
    ['a tiny send buffer', { initialSendBuffer: 100 }],
    ['half a byte', { maxSendBuffer: 100_000.5 }],
    ['a timeout of 0', { minRtoMs: 0 }],
    ['a time that is none', { giveUpMs: Number.NaN }],
  ])('%s', (_, options) => {
    expect(() => tcpConfig({ initialSequences, ...options })).toThrow(RangeError)
  })
})
