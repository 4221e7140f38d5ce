// npm run simulate [-- VITEST OPTIONS]: the long form of the simulations. SIM_SEEDS says how many seeds are tried (2000 by
// default); SIM_SEED runs a single one, as the message of a failure tells.
import { join } from 'node:path'
import { ensureInstalled, requireNode, root, runStatus } from './setup.mjs'

requireNode()
ensureInstalled()

const seeds = process.env.SIM_SEEDS ?? '2000'
console.log(process.env.SIM_SEED ? `SIM_SEED=${process.env.SIM_SEED}` : `SIM_SEEDS=${seeds}`)
process.exitCode = runStatus(
  process.execPath,
  [
    join(root, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--project',
    'simulation',
    '--testTimeout=86400000',
    ...process.argv.slice(2),
  ],
  { SIM_SEEDS: seeds },
)
