// npm run check-packages: what a user would install is complete and resolves, for every package (publint, and
// arethetypeswrong for ESM consumers).
import { join } from 'node:path'
import { ensureBuilt, ensureInstalled, packageFolders, requireNode, root, runStatus } from './setup.mjs'

requireNode()
ensureInstalled()
ensureBuilt()

const tool = (...path) => join(root, 'node_modules', ...path)
let passed = 0
let failed = 0
for (const folder of packageFolders()) {
  check([tool('publint', 'src', 'cli.js'), folder, '--strict'])
  check([tool('@arethetypeswrong', 'cli', 'dist', 'index.js'), '--pack', folder, '--profile', 'esm-only', '--no-color'])
}
console.log(`\n${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

function check(args) {
  if (runStatus(process.execPath, args) === 0) passed += 1
  else failed += 1
}
