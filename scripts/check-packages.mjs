// npm run check-packages: what a user would install is complete and resolves, for every package (publint, and
// arethetypeswrong for ESM consumers).
import { spawnSync } from 'node:child_process'
import { basename, join } from 'node:path'
import { ensureBuilt, ensureInstalled, packageFolders, requireNode, root } from './setup.mjs'

requireNode()
ensureInstalled()
ensureBuilt()

const tool = (...path) => join(root, 'node_modules', ...path)
let passed = 0
let failed = 0
for (const folder of packageFolders()) {
  check('publint', folder, [tool('publint', 'src', 'cli.js'), folder, '--strict'])
  const attw = tool('@arethetypeswrong', 'cli', 'dist', 'index.js')
  check('arethetypeswrong', folder, [attw, '--pack', folder, '--profile', 'esm-only', '--no-color'])
}
console.log(`\n${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

function check(name, folder, args) {
  const done = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  const ok = done.status === 0
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${basename(folder)}: ${name}`)
  if (ok) passed += 1
  else {
    failed += 1
    console.log(`${done.stdout}${done.stderr}`.replace(/^/gm, '         '))
  }
}
