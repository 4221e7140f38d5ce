// npm test [-- PROJECT... | FILE... | VITEST OPTIONS]: every test, on a clone with nothing installed but Node.js.
// A bare word that names a test project (unit, simulation, io, interop) selects it: `npm test -- unit`.
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root, runStatus } from './setup.mjs'

const projects = ['unit', 'simulation', 'io', 'interop']

requireNode()
ensureInstalled()

const words = process.argv.slice(2)
const chosen = words.filter(word => projects.includes(word))
const rest = words.filter(word => !projects.includes(word))
// Only tests of these kinds start the built program; the others read the sources.
if (chosen.length === 0 || chosen.includes('io') || chosen.includes('interop')) ensureBuilt()

const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
process.exitCode = runStatus(process.execPath, [vitest, 'run', ...chosen.flatMap(name => ['--project', name]), ...rest])
