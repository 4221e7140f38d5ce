// What runs in CI brings what the tests need: nothing hangs on what a machine happens to have.
import { expect, test } from 'vitest'
import { packageOf } from '../lab/needs.ts'
import { allFiles, read } from './source-tree.ts'

test('.ci/run installs the Debian package of every program that a suite may ask for', () => {
  const installed = /^debian_packages=\(([^)]*)\)$/m.exec(read('.ci/run'))?.[1]?.split(/\s+/)
  expect(installed).toEqual(expect.arrayContaining([...new Set(Object.values(packageOf))]))
})

test('every test file that runs alone is there', () => {
  const list = /^const alone = \[([^\]]*)\]$/m.exec(read('vitest.config.ts'))?.[1] ?? ''
  const files = [...list.matchAll(/'([^']+)'/g)].map(match => match[1]!)
  expect(files.length).toBeGreaterThan(0)
  expect(files.filter(file => !allFiles.includes(file))).toEqual([])
})
