// npm run soak [-- --minutes 30] [-- --seed N]: the long form of tests/interop/soak.test.ts. What it found is written to
// bench/results/ as text and JSON; a failure prints the seed.
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureBuilt, ensureInstalled, requireNode, root, runStatus } from './setup.mjs'

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '30' }, seed: { type: 'string' }, report: { type: 'string' } },
})
const minutes = Number(values.minutes)
if (!(minutes > 0 && minutes <= 24 * 60)) {
  console.error('npm run soak -- --minutes N: how long, 1 to 1440')
  process.exit(2)
}
requireNode()
ensureInstalled()
ensureBuilt()

const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
process.exitCode = runStatus(process.execPath, [vitest, 'run', '--project', 'alone', 'tests/interop/soak.test.ts'], {
  SOAK_SECONDS: String(minutes * 60),
  SOAK_REPORT: values.report ?? join(root, 'bench', 'results'),
  ...(values.seed === undefined ? {} : { SOAK_SEED: values.seed }),
})
