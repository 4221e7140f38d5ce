import { expect, test } from 'vitest'
import { pumpWhileReadable, type Source } from '../../src/io/pump.ts'

function pumped(waiting: number) {
  const source: Source = { onReadable: undefined }
  const calls: string[] = []
  pumpWhileReadable(
    source,
    () => {
      calls.push('pump')
      waiting = Math.max(0, waiting - 1)
      return waiting === 0
    },
    () => calls.push('settle'),
  )
  return { turn: () => source.onReadable!(), calls }
}

test('a source is emptied batch by batch, and settled once', () => {
  const { turn, calls } = pumped(3)
  turn()
  expect(calls).toEqual(['pump', 'pump', 'pump', 'settle'])
})

test('a source that never ends gives way after eight batches, settled each time', () => {
  const { turn, calls } = pumped(20)
  turn()
  expect(calls).toEqual([...Array(8).fill('pump'), 'settle'])
  turn()
  turn()
  expect(calls.filter(call => call === 'pump')).toHaveLength(20)
  expect(calls.filter(call => call === 'settle')).toHaveLength(3)
})
