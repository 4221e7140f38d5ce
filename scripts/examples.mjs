// npm run examples [-- NAME...]: runs every example of examples/ and compares what it prints with its first comment:
// each line below `// Prints:` must appear, in this order. `...` in such a line stands for anything.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root } from './setup.mjs'

const timeoutMs = 60_000

requireNode()
ensureInstalled()
ensureBuilt()

const wanted = process.argv.slice(2)
const files = readdirSync(join(root, 'examples'))
  .filter(file => file.endsWith('.ts') && (wanted.length === 0 || wanted.includes(basename(file, '.ts'))))
  .sort()

let failed = 0
for (const file of files) {
  const startedAt = performance.now()
  const problem = await check(file)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  console.log(`${problem === undefined ? 'ok    ' : 'FAILED'} examples/${file} (${seconds} s)`)
  if (problem !== undefined) {
    failed += 1
    console.log(problem.replace(/^/gm, '         '))
  }
}
console.log(`\n${files.length - failed} passed, ${failed} failed`)
process.exitCode = failed > 0 || files.length === 0 ? 1 : 0

/** What is wrong with an example, or `undefined`. */
async function check(file) {
  const expected = expectedLines(readFileSync(join(root, 'examples', file), 'utf8'))
  if (expected.length === 0) return 'its first comment has no lines below "Prints:"'
  const { code, output } = await execute(file)
  if (code !== 0) return `exit code ${code}\n${output}`
  const lines = output.split('\n').map(line => line.trimEnd())
  let from = 0
  for (const line of expected) {
    const pattern = new RegExp(`^${line.split('...').map(escapePattern).join('.*')}$`)
    const at = lines.findIndex((candidate, index) => index >= from && pattern.test(candidate))
    if (at < 0) return `did not print (in this order): ${line}\nbut:\n${output}`
    from = at + 1
  }
  return undefined
}

function expectedLines(text) {
  const header = /^(?:\/\/.*\n)+/.exec(text)?.[0] ?? ''
  const after = header.split(/^\/\/ Prints:\n/m)[1] ?? ''
  return after
    .split('\n')
    .map(line => line.replace(/^\/\/ {0,3}/, '').trimEnd())
    .filter(line => line !== '')
}

function execute(file) {
  return new Promise(resolve => {
    const tsx = join(root, 'node_modules', 'tsx', 'dist', 'cli.mjs')
    const child = spawn(process.execPath, [tsx, join('examples', file)], { cwd: root })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', bytes => (output += bytes))
    const timer = setTimeout(() => {
      output += `\n(ended after ${timeoutMs / 1000} s)`
      child.kill('SIGKILL')
    }, timeoutMs)
    child.on('close', code => {
      clearTimeout(timer)
      resolve({ code, output })
    })
  })
}

function escapePattern(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
