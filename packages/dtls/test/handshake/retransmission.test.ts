import { expect, test } from 'vitest'
import { Retransmission } from '../../src/handshake/retransmission.ts'

test('the wait doubles up to its cap (RFC 6347 §4.2.4.1)', () => {
  const timer = new Retransmission(400, 3000)
  timer.begin(0)
  const waits: number[] = []
  for (let now = 0; waits.length < 6; ) {
    const next = timer.deadline!
    waits.push(next - now)
    now = next
    timer.handleTimeout(now)
  }
  expect(waits).toEqual([400, 800, 1600, 3000, 3000, 3000])
})

test('a new flight starts over', () => {
  const timer = new Retransmission(400, 3000)
  timer.begin(0)
  timer.handleTimeout(400)
  timer.begin(500)
  expect(timer.deadline).toBe(900)
})

test('repeats of the peer are answered at most once in half a wait', () => {
  const timer = new Retransmission(400, 3000)
  timer.begin(0)
  expect(timer.answersRepeat(199)).toBe(false)
  expect(timer.answersRepeat(200)).toBe(true)
  expect(timer.answersRepeat(201)).toBe(false)
  expect(timer.deadline).toBe(600)
  timer.handleTimeout(600)
  expect(timer.answersRepeat(999)).toBe(false)
  expect(timer.answersRepeat(1000)).toBe(true)
})

test('the last flight has no timer', () => {
  const timer = new Retransmission(400, 3000)
  timer.begin(0)
  timer.beginFinal(10)
  expect(timer.deadline).toBeUndefined()
  expect(timer.answersRepeat(300)).toBe(true)
  expect(timer.deadline).toBeUndefined()
})

test('after three silent waits datagrams shrink (RFC 6347 §4.1.1.1)', () => {
  const timer = new Retransmission(400, 3000)
  timer.begin(0)
  expect(timer.effectiveMtu(1200)).toBe(1200)
  for (let i = 1; i <= 3; i++) timer.handleTimeout(i * 1000)
  expect(timer.effectiveMtu(1200)).toBe(548)
  expect(timer.effectiveMtu(300)).toBe(300)
})
