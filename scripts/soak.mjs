// npm run soak: the long form of tests/interop/soak.test.ts. SOAK_SECONDS bounds it (an hour by default), SOAK_SEED chooses
// what happens in it; a failure prints the seed.
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root, runStatus } from './setup.mjs'

requireNode()
ensureInstalled()
ensureBuilt()

const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
process.exitCode = runStatus(
  process.execPath,
  [vitest, 'run', '--project', 'interop', 'tests/interop/soak.test.ts', ...process.argv.slice(2)],
  { SOAK_SECONDS: process.env.SOAK_SECONDS ?? '3600' },
)
