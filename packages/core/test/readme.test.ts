// Every snippet of the README runs, and prints what its comments say: `console.log(...) // what`.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'

const root = join(import.meta.dirname, '../../..')
const folder = join(root, '.cache', `readme-${process.pid}`)
const text = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')
const snippets = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(match => match[1]!)

mkdirSync(folder, { recursive: true })
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('the README has snippets', () => {
  expect(snippets.length).toBeGreaterThan(3)
})

test.each(snippets.map((snippet, i) => ({ snippet, i })))('snippet $i prints what it says', async ({ snippet, i }) => {
  const expected = [...snippet.matchAll(/console\.log\(.*\) \/\/ (.*)$/gm)].map(match => match[1])
  const file = join(folder, `snippet-${i}.ts`)
  writeFileSync(file, snippet)
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  try {
    await import(file)
    expect(log.mock.calls.map(values => values.join(' '))).toEqual(expected)
  } finally {
    log.mockRestore()
  }
})
