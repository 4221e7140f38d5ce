// npm test [-- PROJECT... | FILE... | VITEST OPTIONS]: every test, on a clone with nothing installed but Node.js.
// A bare word that names a test project (unit, simulation, io, interop) selects it: `npm test -- unit`.
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root, runStatus } from './setup.mjs'

// Interop tests are two projects: most files run two at once, the others alone.
const projects = { unit: ['unit'], simulation: ['simulation'], io: ['io'], interop: ['interop', 'alone'] }

requireNode()
ensureInstalled()

const words = process.argv.slice(2)
const chosen = words.filter(word => Object.hasOwn(projects, word))
const rest = words.filter(word => !Object.hasOwn(projects, word))
// Only tests of these kinds start the built program; the others read the sources.
if (chosen.length === 0 || chosen.includes('io') || chosen.includes('interop')) ensureBuilt()

const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
const selected = chosen.flatMap(word => projects[word]).flatMap(name => ['--project', name])
process.exitCode = runStatus(process.execPath, [vitest, 'run', ...selected, ...rest])
