import { type Machine, OutputQueue } from '@twinbore/core/runtime'
import { ManualClock, machineComplianceTests } from '@twinbore/core/testing'
import { expect, test } from 'vitest'

/** Echoes a byte array after 10 ms. Each broken one below breaks one clause of the contract. */
class Echo implements Machine<{ bytes: Uint8Array }> {
  protected queue = new OutputQueue<{ bytes: Uint8Array }>()
  protected due: { at: number; bytes: Uint8Array } | undefined
  get deadline(): number | undefined {
    return this.due?.at
  }
  handleDeadline(now: number): void {
    if (!this.due || now < this.due.at) return
    this.queue.push({ bytes: this.due.bytes })
    this.due = undefined
  }
  poll(): { bytes: Uint8Array } | undefined {
    return this.queue.take()
  }
  feed(byte: number, now: number): void {
    this.queue.push({ bytes: Uint8Array.of(byte) })
    this.due = { at: now + 10, bytes: Uint8Array.of(byte, byte) }
  }
}

const failuresOf = (make: () => Echo) =>
  machineComplianceTests(() => {
    const machine = make()
    return { machine, inputs: [1, 2, 3, 4].map(byte => (now: number) => machine.feed(byte, now)) }
  }).flatMap(check => {
    try {
      check.run()
      return []
    } catch {
      return [check.name]
    }
  })

test('a machine that keeps the contract passes every check', () => {
  expect(failuresOf(() => new Echo())).toEqual([])
})

let instances = 0
const shared = Uint8Array.of(0)
const broken: Record<string, [Echo, string]> = {
  'never comes to rest': [
    new (class extends Echo {
      override poll() {
        return super.poll() ?? { bytes: Uint8Array.of(0) }
      }
    })(),
    'drains to rest',
  ],
  'has NaN as its deadline': [
    new (class extends Echo {
      override get deadline() {
        return this.due ? Number.NaN : undefined
      }
    })(),
    'has a deadline that',
  ],
  'acts on early calls': [
    new (class extends Echo {
      override handleDeadline(now: number) {
        super.handleDeadline(now + 1000)
      }
    })(),
    'takes early calls',
  ],
  'keeps a deadline that it has handled': [
    new (class extends Echo {
      override handleDeadline(now: number) {
        if (this.due && now >= this.due.at) this.queue.push({ bytes: this.due.bytes })
      }
    })(),
    'makes progress at its deadline',
  ],
  'writes into outputs that were taken': [
    new (class extends Echo {
      override feed(byte: number, now: number) {
        shared[0] = byte
        this.queue.push({ bytes: shared })
        this.due = { at: now + 10, bytes: Uint8Array.of(byte) }
      }
    })(),
    'leaves its outputs alone',
  ],
}

test.each(Object.entries(broken))('a machine that %s is found out', (_, [machine, check]) => {
  const make = () =>
    Object.assign(Object.create(Object.getPrototypeOf(machine) as object) as Echo, { queue: new OutputQueue() })
  expect(failuresOf(make).some(name => name.startsWith(check))).toBe(true)
})

test('a machine that uses chance of its own is found out', () => {
  class Chancy extends Echo {
    private readonly salt = instances++
    override feed(byte: number, now: number) {
      super.feed(byte ^ this.salt, now)
    }
  }
  expect(failuresOf(() => new Chancy())).toEqual(['does the same for the same inputs'])
})

test('the manual clock moves only forward and takes the wall clock along', () => {
  const clock = new ManualClock(100, 5000)
  expect(clock.advance(20)).toBe(120)
  expect([clock.now(), clock.wallClock()]).toEqual([120, 5020])
  expect(clock.advanceTo(110)).toBe(120)
  expect(clock.advanceTo(200)).toBe(200)
  expect(() => clock.advance(-1)).toThrow(RangeError)
})
