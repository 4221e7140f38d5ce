// npm run simulate [-- VITEST OPTIONS]: the long form of the simulations. SIM_SEEDS says how many seeds (2000 by
// default), SIM_FIRST_SEED with which one to begin; a failure prints the seed that replays it.
import { join } from 'node:path'
import { ensureInstalled, requireNode, root, runStatus } from './setup.mjs'

requireNode()
ensureInstalled()

const seeds = process.env.SIM_SEEDS ?? '2000'
const first = process.env.SIM_FIRST_SEED ?? '1'
console.log(`SIM_SEEDS=${seeds} SIM_FIRST_SEED=${first}`)
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
  { SIM_SEEDS: seeds, SIM_FIRST_SEED: first },
)
