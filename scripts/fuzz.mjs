// npm run fuzz [-- VITEST OPTIONS]: the long form of every fuzzing test. FUZZ_RUNS bounds each of them (ten million by
// default), FUZZ_SEED chooses the inputs; a failure prints the seed that replays it.
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { ensureInstalled, filesUnder, packageFolders, requireNode, root, runStatus } from './setup.mjs'

requireNode()
ensureInstalled()

const folders = [...packageFolders().map(folder => join(folder, 'test')), join(root, 'tests')]
const fuzzed = folders
  .flatMap(filesUnder)
  .filter(file => file.endsWith('.test.ts') && /FUZZ_RUNS|fuzzRuns/.test(readFileSync(file, 'utf8')))
  .map(file => relative(root, file))
  .filter(file => !file.startsWith('tests/tidy/'))

const runs = process.env.FUZZ_RUNS ?? '10000000'
const seed = process.env.FUZZ_SEED ?? String(Date.now() % 2 ** 31)
console.log(`${fuzzed.length} files, FUZZ_RUNS=${runs} FUZZ_SEED=${seed}`)
process.exitCode = runStatus(
  process.execPath,
  [
    join(root, 'node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--testTimeout=86400000',
    ...fuzzed,
    ...process.argv.slice(2),
  ],
  { FUZZ_RUNS: runs, FUZZ_SEED: seed },
)
