// What runs in CI brings what the tests need: nothing hangs on what a machine happens to have.
import { expect, test } from 'vitest'
import { packageOf } from '../lab/needs.ts'
import { read } from './source-tree.ts'

test('.ci/run installs the Debian package of every program that a suite may ask for', () => {
  const installed = /^debian_packages=\(([^)]*)\)$/m.exec(read('.ci/run'))?.[1]?.split(/\s+/)
  expect(installed).toEqual(expect.arrayContaining([...new Set(Object.values(packageOf))]))
})
