// What the documentation tells a reader to type exists, and what it lists is complete.
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'
import { allFiles, manifestOf, packageNames, read, root } from './source-tree.ts'

const pages = allFiles.filter(file => file.endsWith('.md') && file !== 'CHANGELOG.md')
const examples = allFiles.filter(file => /^examples\/[^/]+\.ts$/.test(file))

describe('commands in the documentation', () => {
  test('every `npm run NAME` is a script', () => {
    const scripts = Object.keys(manifestOf('.').scripts ?? {})
    expect(commands(/npm run ([\w:-]+)/g).filter(([, name]) => !scripts.includes(name))).toEqual([])
  })

  test('every `twinbore NAME` is a subcommand', () => {
    const known = allFiles
      .filter(file => file.startsWith('packages/gateway-ref/src/') && file.endsWith('.ts'))
      .flatMap(file => [...read(file).matchAll(/\.command\(\s*'([\w-]+)/g)].map(match => match[1]!))
    expect(commands(/\btwinbore ([a-z][\w-]*)\b/g).filter(([, name]) => !known.includes(name))).toEqual([])
  })

  test('every `npx tsx FILE` is a file', () => {
    expect(commands(/npx tsx ([\w./-]+)/g).filter(([, file]) => !existsSync(join(root, file)))).toEqual([])
  })
})

describe('links in the documentation', () => {
  test('every relative link leads to a file', () => {
    const found = pages.flatMap(page =>
      [...read(page).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map(match => normalize(join(dirname(page), match[1]!)))
        .filter(target => !existsSync(join(root, target)))
        .map(target => `${page}: ${target}`),
    )
    expect(found).toEqual([])
  })
})

test('the README gives every dependency one row, and has no row for anything else', () => {
  const section =
    read('README.md')
      .split(/^## /m)
      .find(text => text.startsWith('Dependencies')) ?? ''
  const rows = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(match => match[1]!)
  const dependencies = packageNames.flatMap(name => Object.keys(manifestOf(`packages/${name}`).dependencies ?? {}))
  const tools = Object.keys(manifestOf('.').devDependencies ?? {})
  const wanted = new Set([...dependencies, ...tools].filter(name => !name.startsWith('@twinbore/')))
  expect(rows.sort()).toEqual([...wanted].sort())
})

test('the README lists every package', () => {
  const text = read('README.md')
  expect(packageNames.filter(name => !text.includes(`\`@twinbore/${name}\``))).toEqual([])
})

describe.each(examples)('%s', file => {
  const header = /^(?:\/\/.*\n)+/.exec(read(file))?.[0] ?? ''

  test('begins with what it shows, its command and what it prints', () => {
    expect(header).toContain(`npx tsx ${file}`)
    expect(header).toMatch(/^\/\/ Prints:$/m)
  })
})

// The words that follow a command inside code spans and code blocks, with the page they stand on.
function commands(pattern: RegExp): [string, string][] {
  return pages.flatMap(page => {
    const code = [...read(page).matchAll(/```[\s\S]*?```|`[^`\n]+`/g)].map(match => match[0]).join('\n')
    return [...code.matchAll(pattern)].map(match => [page, match[1]!] as [string, string])
  })
}
