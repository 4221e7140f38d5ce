// Machines are pure: what reads a clock, starts a timer, draws randomness or talks to the system lives in io/.
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { importsOf, isHands, packageNames, read, typeScriptFiles } from './source-tree.ts'

const impureGlobals = new Set([
  'Buffer',
  'Date',
  'WebSocket',
  'clearInterval',
  'clearTimeout',
  'console',
  'crypto',
  'fetch',
  'global',
  'globalThis',
  'performance',
  'process',
  'queueMicrotask',
  'setImmediate',
  'setInterval',
  'setTimeout',
])

const machines = typeScriptFiles.filter(file => /^packages\/[^/]+\/src\//.test(file) && !isHands(file))

describe.each(packageNames)('machines of %s', name => {
  const files = machines.filter(file => file.startsWith(`packages/${name}/`))

  test('import nothing of Node, and no foreign code that does', () => {
    const found = files.flatMap(file =>
      importsOf(file)
        .filter(({ target }) => target.startsWith('node:') || target === 'koffi')
        .map(({ target }) => `${file}: ${target}`),
    )
    expect(found).toEqual([])
  })

  test('import no hands', () => {
    // The composition root joins machines and hands, so only there may a file above io/ call into it.
    if (name === 'gateway-ref') return
    const found = files.flatMap(file =>
      importsOf(file)
        .filter(({ target, relative }) => (relative ? isHands(target) : /^@twinbore\/.*\/io$/.test(target)))
        .map(({ target }) => `${file}: ${target}`),
    )
    expect(found).toEqual([])
  })

  test('touch no clock, timer, randomness, process or Buffer', () => {
    expect(files.flatMap(file => impurities(file, read(file)))).toEqual([])
  })
})

describe('the search itself', () => {
  test('finds a clock, a random number and a Buffer, and leaves property names and strings alone', () => {
    const text = `
      const now = Date.now()
      const luck = Math.random()
      const bytes: Buffer = Buffer.alloc(1)
      const fine = { process: 1, Date: 'Date' }.process
      interface Options { readonly crypto: number }
      const key = fine as unknown as { crypto: number }
      use(key.crypto)
    `
    expect(impurities('sample.ts', text)).toEqual([
      'sample.ts:2: Date',
      'sample.ts:3: Math.random',
      'sample.ts:4: Buffer',
      'sample.ts:4: Buffer',
    ])
  })

  test('leaves a name alone that the file declares itself', () => {
    expect(impurities('sample.ts', 'function f(crypto: { x: number }) { return crypto.x }')).toEqual([])
  })
})

function impurities(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true)
  const declared = new Set<string>()
  const found: string[] = []
  const at = (node: ts.Node): string => `${file}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`

  const collect = (node: ts.Node): void => {
    if (
      (ts.isParameter(node) || ts.isVariableDeclaration(node) || ts.isBindingElement(node)) &&
      ts.isIdentifier(node.name)
    ) {
      declared.add(node.name.text)
    }
    ts.forEachChild(node, collect)
  }
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && node.getText() === 'Math.random') found.push(`${at(node)}: Math.random`)
    else if (ts.isIdentifier(node) && impureGlobals.has(node.text) && !declared.has(node.text) && isReference(node)) {
      found.push(`${at(node)}: ${node.text}`)
    }
    ts.forEachChild(node, visit)
  }
  collect(source)
  visit(source)
  return found
}

// A name that only labels a member (`options.crypto`, `{ process: 1 }`) refers to nothing outside.
function isReference(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node
  if (ts.isQualifiedName(parent)) return parent.left === node
  if (ts.isShorthandPropertyAssignment(parent)) return true
  const { name } = parent as { name?: ts.Node }
  const { propertyName } = parent as { propertyName?: ts.Node }
  return name !== node && propertyName !== node
}
