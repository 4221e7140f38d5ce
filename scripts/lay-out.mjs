// node scripts/lay-out.mjs FOLDER: copies what a machine needs to run the built program, and nothing else, into FOLDER:
// the packages' build output and manifests, and the installed packages that the lock file does not call development ones.
// The Containerfile and the test of its layout use it; it needs an installed and built repository, and no network.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { packageFolders, root } from './setup.mjs'

const target = process.argv[2]
if (target === undefined) {
  console.error('usage: node scripts/lay-out.mjs FOLDER')
  process.exit(2)
}
const folder = resolve(target)
mkdirSync(folder, { recursive: true })
if (readdirSync(folder).length > 0) {
  console.error(`${folder} is not empty.`)
  process.exit(1)
}

for (const from of packageFolders()) {
  const to = join(folder, 'packages', from.slice(dirname(from).length + 1))
  for (const name of ['package.json', 'dist', 'schema']) {
    if (!existsSync(join(from, name))) continue
    // Types and source maps are for who compiles against a package.
    cpSync(join(from, name), join(to, name), { recursive: true, filter: file => !/\.(d\.ts|map)$/.test(file) })
  }
}

const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
for (const [path, entry] of Object.entries(lock.packages)) {
  if (!path.includes('node_modules/') || entry.dev) continue
  const from = join(root, path)
  const to = join(folder, path)
  if (entry.link) {
    mkdirSync(dirname(to), { recursive: true })
    symlinkSync(join('..', '..', entry.resolved), to)
  } else if (existsSync(from)) {
    // What is inside of it has an entry of its own.
    cpSync(from, to, { recursive: true, filter: file => !file.slice(from.length).includes('node_modules') })
  } else if (!entry.optional) {
    console.error(`${path} is not installed; run npm ci.`)
    process.exit(1)
  }
}
