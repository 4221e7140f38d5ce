// Rules for single files: their length, what must not be left in them, and what each kind begins with.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { allFiles, manifestOf, packageNames, publicSubpaths, read, root } from './source-tree.ts'

const maxLines = 500
// Written in halves, or this file would find itself.
const markers = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`)
const code = allFiles.filter(file => /\.(ts|mjs|sh)$|^\.ci\/run$/.test(file))

describe('code', () => {
  test(`no file is longer than ${maxLines} lines`, () => {
    const found = code.map(file => [file, read(file).split('\n').length] as const).filter(([, n]) => n > maxLines)
    expect(found).toEqual([])
  })

  test('no marker of unfinished work is left', () => {
    const texts = allFiles.filter(file => /\.(ts|mjs|md|json|yaml)$|^\.ci\/run$/.test(file) && !isForeign(file))
    expect(grep(texts, markers)).toEqual([])
  })

  test('no test is switched off or singled out', () => {
    const tests = code.filter(file => file.endsWith('.test.ts'))
    const call = /\b(?:describe|test|it|suite)(?:\.\w+)*\.(?:only|skip|todo|fails|skipIf|runIf)\b/
    expect(grep(tests, call)).toEqual([])
  })

  test('no type is escaped', () => {
    expect(grep(code, new RegExp(`@ts-${'ignore'}|@ts-${'nocheck'}|eslint-${'disable'}`))).toEqual([])
  })

  test('file names are kebab-case', () => {
    const found = code.filter(
      file => !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(file.split('/').at(-1)!) && file !== '.ci/run',
    )
    expect(found).toEqual([])
  })
})

describe.each(packageNames)('package.json of %s', name => {
  const manifest = manifestOf(`packages/${name}`)

  test('exports sources that exist, and the build output that belongs to them', () => {
    for (const [, source] of publicSubpaths(name)) expect(existsSync(join(root, source)), source).toBe(true)
    for (const conditions of Object.values(manifest.exports)) {
      if (typeof conditions === 'string') continue
      const output = conditions['@twinbore/source']!.replace('./src/', './dist/')
      expect(conditions.types).toBe(output.replace(/\.ts$/, '.d.ts'))
      expect(conditions.default).toBe(output.replace(/\.ts$/, '.js'))
    }
  })

  test('pins every dependency exactly', () => {
    const all = { ...manifest.dependencies, ...manifest.optionalDependencies }
    const loose = Object.entries(all).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
    expect(loose).toEqual([])
  })
})

test('the lock file names no registry', () => {
  expect(grep(['package-lock.json'], /"resolved": "https?:/)).toEqual([])
})

function grep(files: readonly string[], pattern: RegExp): string[] {
  return files.flatMap(file =>
    read(file)
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim().slice(0, 120)}`] : [])),
  )
}

function isForeign(file: string): boolean {
  return file === 'package-lock.json' || file.includes('/vectors/')
}
