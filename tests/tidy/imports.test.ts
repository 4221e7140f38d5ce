// Who may import whom: the picture of docs/architecture.md, as a test.
import { describe, expect, test } from 'vitest'
import {
  allFiles,
  importsOf,
  manifestOf,
  packageNames,
  publicSubpaths,
  reachableFrom,
  typeScriptFiles,
} from './source-tree.ts'

/** What each package may take from its siblings; gateway-ref, the composition root, takes everything. */
const picture: Readonly<Record<string, (target: string) => boolean>> = {
  core: () => false,
  dtls: () => false,
  pat: target => target === '@twinbore/core/packet',
  tun: target => target === '@twinbore/core/packet',
  'gateway-ref': () => true,
}

const sourcesOf = (name: string): string[] => typeScriptFiles.filter(file => file.startsWith(`packages/${name}/src/`))

test('every package has its place in the picture', () => {
  expect([...packageNames].sort()).toEqual(Object.keys(picture).sort())
})

describe.each(packageNames)('%s', name => {
  test('takes from its siblings only what the picture allows', () => {
    const allowed = picture[name]!
    const found = sourcesOf(name).flatMap(file =>
      importsOf(file)
        .filter(({ target }) => target.startsWith('@twinbore/') && !allowed(target))
        .map(({ target }) => `${file}: ${target}`),
    )
    expect(found).toEqual([])
  })

  test('imports only what its package.json lists, and lists only what it imports', () => {
    const { dependencies, optionalDependencies } = manifestOf(`packages/${name}`)
    const listed = Object.keys({ ...dependencies, ...optionalDependencies })
    const used = new Set(
      sourcesOf(name)
        .flatMap(importsOf)
        .filter(({ target, relative }) => !relative && !target.startsWith('node:'))
        .map(({ target }) => packageOf(target)),
    )
    expect([...used].sort()).toEqual(listed.sort())
  })

  test('stays inside its own folder with relative imports', () => {
    const found = sourcesOf(name).flatMap(file =>
      importsOf(file)
        .filter(({ target, relative }) => relative && !target.startsWith(`packages/${name}/`))
        .map(({ target }) => `${file}: ${target}`),
    )
    expect(found).toEqual([])
  })

  test('has no import cycle', () => {
    expect(findCycle(sourcesOf(name))).toEqual([])
  })

  test('has no file that its entries do not reach', () => {
    const programs = Object.values(manifestOf(`packages/${name}`).bin ?? {}).map(
      path => `packages/${name}/${path.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts')}`,
    )
    // Threads are started by the name of their file.
    const threads = sourcesOf(name).filter(file => file.endsWith('/worker-entry.ts'))
    const reached = reachableFrom([...publicSubpaths(name).map(([, source]) => source), ...programs, ...threads])
    expect(sourcesOf(name).filter(file => !reached.has(file))).toEqual([])
  })
})

test('no helper of a test, bench or script is unused', () => {
  const outside = allFiles.filter(file => /\.(ts|mjs|sh)$/.test(file) && !/^packages\/[^/]+\/src\//.test(file))
  const commands = Object.values(manifestOf('.').scripts ?? {}).join('\n')
  const entries = outside.filter(
    file =>
      /\.test\.ts$|^examples\/[^/]+\.ts$|^bench\/bench\.ts$|^vitest\.config\.ts$/.test(file) ||
      // Vitest finds its reporter by the path in its configuration.
      file === 'tests/lab/summary-reporter.ts' ||
      commands.includes(file),
  )
  const reached = reachableFrom(entries)
  expect(outside.filter(file => !reached.has(file))).toEqual([])
})

test('a cycle is found when there is one', () => {
  const graph: Record<string, string[]> = { a: ['b'], b: ['c'], c: ['b'] }
  expect(findCycle(Object.keys(graph), file => graph[file] ?? [])).toEqual(['b', 'c', 'b'])
})

function packageOf(target: string): string {
  const parts = target.split('/')
  return target.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]!
}

// Depth-first; a file met again while it is still on the path closes a cycle.
function findCycle(
  files: readonly string[],
  targetsOf: (file: string) => string[] = file =>
    importsOf(file)
      .filter(found => found.relative)
      .map(found => found.target),
): string[] {
  const done = new Set<string>()
  const path: string[] = []
  const known = new Set(files)
  const walk = (file: string): string[] => {
    const at = path.indexOf(file)
    if (at >= 0) return [...path.slice(at), file]
    if (done.has(file)) return []
    path.push(file)
    for (const target of targetsOf(file)) {
      if (!known.has(target)) continue
      const cycle = walk(target)
      if (cycle.length > 0) return cycle
    }
    path.pop()
    done.add(file)
    return []
  }
  for (const file of files) {
    const cycle = walk(file)
    if (cycle.length > 0) return cycle
  }
  return []
}
