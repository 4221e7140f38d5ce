import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { DescriptorWait, setPreciseTimers, WakeSignal } from '../../src/io/linux/descriptor-wait.ts'

const signals: WakeSignal[] = []
function open(): WakeSignal {
  const signal = WakeSignal.open()
  signals.push(signal)
  return signal
}
afterEach(() => {
  for (const signal of signals.splice(0)) signal.close()
})

describe('a wait', () => {
  test('ends at its time when nothing is ready', () => {
    const wait = new DescriptorWait([open().descriptor])
    expect(wait.wait(5)).toBe(0)
    expect(wait.isReady(0)).toBe(false)
  })

  test('tells which descriptors are ready, until they are cleared', () => {
    const [one, other] = [open(), open()]
    const wait = new DescriptorWait([one.descriptor, other.descriptor])
    other.signal()
    other.signal()
    expect(wait.wait(1000)).toBe(1)
    expect([wait.isReady(0), wait.isReady(1)]).toEqual([false, true])
    other.clear()
    expect(wait.wait(0)).toBe(0)
    expect(wait.isReady(1)).toBe(false)
  })

  test('tells a descriptor that is closed', () => {
    const signal = WakeSignal.open()
    const wait = new DescriptorWait([signal.descriptor])
    signal.close()
    wait.wait(1000)
    expect(wait.isBroken(0)).toBe(true)
  })

  test('sleeps for so many microseconds', () => {
    setPreciseTimers()
    const wait = new DescriptorWait([])
    const before = performance.now()
    wait.sleepMicroseconds(2000)
    expect(performance.now() - before).toBeGreaterThanOrEqual(2)
  })
})

test('a signal reaches the event loop of another part of the program', async () => {
  const signal = open()
  const heard = new Promise<void>(resolve => signal.onSignal(resolve))
  const worker = new Worker(
    `const { workerData } = require('node:worker_threads')
     require('node:fs').writeSync(workerData, new BigUint64Array([1n]))`,
    { eval: true, workerData: signal.descriptor },
  )
  await heard
  await worker.terminate()
})
