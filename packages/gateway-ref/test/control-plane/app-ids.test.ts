import { expect, test } from 'vitest'
import { AppIds } from '../../src/control-plane/app-ids.ts'

const id = (n: number) => new Uint8Array(32).fill(n)

test('an owner is found by its newest App-ID only', () => {
  const appIds = new AppIds<string>()
  appIds.set('anna', id(1))
  appIds.set('otto', id(2))
  expect(appIds.find(id(1))).toBe('anna')
  appIds.set('anna', id(3))
  expect(appIds.find(id(1))).toBeUndefined()
  expect(appIds.find(id(3))).toBe('anna')
  expect(appIds.find(id(2))).toBe('otto')
  appIds.set('anna', undefined)
  appIds.set('anna', undefined)
  expect(appIds.find(id(3))).toBeUndefined()
  appIds.set('otto', undefined)
  expect(appIds.size).toBe(0)
})

test('no part and no prefix of an App-ID finds anybody', () => {
  const appIds = new AppIds<string>()
  appIds.set('anna', id(1))
  for (const part of [id(1).subarray(0, 31), new Uint8Array(0), new Uint8Array(33).fill(1)]) {
    expect(appIds.find(part)).toBeUndefined()
  }
})
