// The public names of every subpath, written down: a change of the API shows up as a change of api.json.
// `npm run api` writes the file anew.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { packageNames, publicSubpaths, read, root } from './source-tree.ts'

const snapshot = 'tests/tidy/api.json'

test('every public subpath exports exactly the names that api.json lists', { timeout: 60_000 }, async () => {
  const names: Record<string, string[]> = {}
  for (const [subpath, source] of packageNames.flatMap(publicSubpaths)) {
    const exported = (await import(join(root, source))) as object
    names[subpath] = Object.keys(exported).sort()
  }
  if (process.env.UPDATE_API === '1') writeFileSync(join(root, snapshot), `${JSON.stringify(names, undefined, 2)}\n`)
  expect(names).toEqual(JSON.parse(read(snapshot)))
})
