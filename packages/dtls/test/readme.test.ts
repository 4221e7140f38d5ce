// The first snippet of the README runs and prints what its comment says; what the second one imports exists.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { freePort } from './peer-program.ts'

const folder = join(import.meta.dirname, '../../..', '.cache', `dtls-readme-${process.pid}`)
const text = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
const snippets = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(match => match[1]!)

mkdirSync(folder, { recursive: true })
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('the example prints what it says', async () => {
  const expected = /console\.log\(.*\) \/\/ (.*)$/m.exec(snippets[0]!)![1]
  const file = join(folder, 'snippet.ts')
  writeFileSync(file, snippets[0]!.replaceAll('4433', String(await freePort())))
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  try {
    await import(file)
    await vi.waitFor(() => expect(log).toHaveBeenCalled(), { timeout: 20_000 })
    expect(log.mock.calls).toEqual([[expected]])
  } finally {
    log.mockRestore()
  }
})

test('what the second one imports exists', async () => {
  const names = [...snippets[1]!.matchAll(/import \{ (.*) \} from '(.*)'/g)]
  expect(names.map(match => match[2])).toEqual(['@twinbore/dtls'])
  expect(Object.keys(await import('../src/index.ts'))).toContain('DtlsServer')
})
