import { drive } from '@twinbore/core/io'
import { type Machine, type Milliseconds, OutputQueue } from '@twinbore/core/runtime'
import { ManualClock } from '@twinbore/core/testing'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

/** Says `at N` at each deadline it was given, in order. */
class Alarm implements Machine<string> {
  private readonly outputs = new OutputQueue<string>()
  private readonly times: Milliseconds[] = []

  set(at: Milliseconds): void {
    this.times.push(at)
    this.times.sort((a, b) => a - b)
  }

  say(text: string): void {
    this.outputs.push(text)
  }

  get deadline(): Milliseconds | undefined {
    return this.times[0]
  }

  handleDeadline(now: Milliseconds): void {
    while (this.times.length > 0 && this.times[0]! <= now) this.outputs.push(`at ${this.times.shift()}`)
  }

  poll(): string | undefined {
    return this.outputs.take()
  }
}

let clock: ManualClock

beforeEach(() => {
  vi.useFakeTimers()
  clock = new ManualClock()
})

afterEach(() => {
  vi.useRealTimers()
})

function pass(ms: number): void {
  for (let i = 0; i < ms; i++) {
    clock.advance(1)
    vi.advanceTimersByTime(1)
  }
}

function driven(onOutput?: (output: string) => void): {
  alarm: Alarm
  seen: string[]
  driver: ReturnType<typeof drive>
} {
  const alarm = new Alarm()
  const seen: string[] = []
  const driver = drive(alarm, {
    clock,
    onOutput: (output, now) => {
      seen.push(`${now}: ${output}`)
      onOutput?.(output)
    },
  })
  return { alarm, seen, driver }
}

describe('a driver', () => {
  test('hands on what is there at the start', () => {
    const alarm = new Alarm()
    alarm.say('hello')
    const seen: string[] = []
    drive(alarm, { clock, onOutput: output => seen.push(output) })
    expect(seen).toEqual(['hello'])
  })

  test('feeds inputs with the time and hands on what comes of them', () => {
    const { alarm, seen, driver } = driven()
    pass(5)
    driver.input(now => alarm.say(`input at ${now}`))
    expect(seen).toEqual(['5: input at 5'])
  })

  test('wakes the machine at its deadlines', () => {
    const { alarm, seen, driver } = driven()
    driver.input(() => {
      alarm.set(30)
      alarm.set(10)
    })
    pass(100)
    expect(seen).toEqual(['10: at 10', '30: at 30'])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('wakes it earlier when the deadline moves closer', () => {
    const { alarm, seen, driver } = driven()
    driver.input(() => alarm.set(1000))
    driver.input(() => alarm.set(20))
    pass(50)
    expect(seen).toEqual(['20: at 20'])
    expect(vi.getTimerCount()).toBe(1)
  })

  test('drains an input from within an output in its turn', () => {
    const { alarm, seen, driver } = driven(output => {
      if (output === 'first') {
        driver.input(() => alarm.say('third'))
        seen.push('end of first')
      }
    })
    driver.input(() => {
      alarm.say('first')
      alarm.say('second')
    })
    expect(seen).toEqual(['0: first', 'end of first', '0: second', '0: third'])
  })

  test('takes inputs that did not come through it', () => {
    const { alarm, seen, driver } = driven()
    alarm.say('batch')
    alarm.set(7)
    driver.settle()
    pass(10)
    expect(seen).toEqual(['0: batch', '7: at 7'])
  })

  test('never starves the loop for a deadline that has passed', () => {
    const { alarm, seen, driver } = driven()
    pass(50)
    driver.input(() => alarm.set(1))
    expect(seen).toEqual([])
    pass(1)
    expect(seen).toEqual(['51: at 1'])
  })

  test('reaches deadlines beyond the longest delay of a timer', () => {
    const { alarm, seen, driver } = driven()
    driver.input(() => alarm.set(2 ** 31 + 5000))
    clock.advance(2 ** 31 - 1)
    vi.advanceTimersByTime(2 ** 31 - 1)
    expect(seen).toEqual([])
    clock.advance(5001)
    vi.advanceTimersByTime(5001)
    expect(seen).toHaveLength(1)
  })

  test('is silent once stopped, also from within an output', () => {
    const { alarm, seen, driver } = driven(() => driver.stop())
    driver.input(() => {
      alarm.say('one')
      alarm.say('two')
      alarm.set(5)
    })
    pass(20)
    driver.input(() => alarm.say('three'))
    expect(seen).toEqual(['0: one'])
    expect(vi.getTimerCount()).toBe(0)
  })
})
