import { expect, test } from 'vitest'
import { UndoList } from '../../src/io/undo-list.ts'

test('steps are taken back once, the newest first, whatever fails', async () => {
  const undo = new UndoList()
  const calls: string[] = []
  undo.add(() => calls.push('first'))
  undo.add(async () => {
    await new Promise(setImmediate)
    calls.push('second')
    throw new Error('late')
  })
  undo.add(() => {
    calls.push('third')
    throw 'odd'
  })
  expect((await undo.run()).map(({ message }) => message)).toEqual(['odd', 'late'])
  expect(calls).toEqual(['third', 'second', 'first'])
  expect(await undo.run()).toEqual([])
  expect(calls).toHaveLength(3)
})
