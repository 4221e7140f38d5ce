// npm run bench -- NAME [OPTIONS]: see bench/README.md. Benches measure the built packages, as a user runs them.
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, requireNode, root, runStatus } from './setup.mjs'

requireNode()
ensureInstalled()
ensureBuilt()

process.exitCode = runStatus(process.execPath, [
  join(root, 'node_modules', 'tsx', 'dist', 'cli.mjs'),
  join(root, 'bench', 'bench.ts'),
  ...process.argv.slice(2),
])
