// What `npm start` and `npm test` need before they can do their work: a Node.js that is new enough, the packages of the
// lock file, and a build that is not older than the sources. Each step first looks whether it has anything to do, which
// takes a few milliseconds, and only then does it.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const cacheFolder = join(root, 'node_modules', '.cache', 'twinbore')

/** Ends the process with one line when this Node.js is too old to run anything here. */
export function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  console.error(`Twinbore needs Node.js 20.19 or newer; this is ${process.versions.node}.`)
  process.exit(1)
}

/** Installs the packages of the lock file unless they are there. */
export function ensureInstalled() {
  const lockText = readFileSync(join(root, 'package-lock.json'))
  const wanted = createHash('sha256').update(lockText).digest('hex')
  const stamp = join(cacheFolder, 'installed')
  if (readStamp(stamp) === wanted) return
  if (!isInstalled(JSON.parse(lockText.toString()))) {
    console.error('Installing packages (npm ci) ...')
    run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
  }
  writeStamp(stamp, wanted)
}

/** Compiles the packages unless their output belongs to the sources as they are. */
export function ensureBuilt() {
  const wanted = sourceState()
  const stamp = join(cacheFolder, 'built')
  const folders = packageFolders()
  const missing = folders.some(folder => !existsSync(join(folder, 'dist', 'index.js')))
  if (!missing && readStamp(stamp) === wanted) return
  console.error('Building (tsc -b) ...')
  for (const folder of folders) removeOrphans(folder)
  run(process.execPath, [
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    '-b',
    ...(missing ? ['--force'] : []),
    join(root, 'tsconfig.json'),
  ])
  writeStamp(stamp, wanted)
}

/** The folders of the workspace's packages. */
export function packageFolders() {
  const packages = join(root, 'packages')
  return readdirSync(packages)
    .map(name => join(packages, name))
    .filter(folder => existsSync(join(folder, 'package.json')))
    .sort()
}

/** Runs a program in the repository's root with this process's terminal; ends the process when it fails. */
export function run(program, args, env = {}) {
  const status = runStatus(program, args, env)
  if (status !== 0) process.exit(status)
}

/** Runs a program in the repository's root with this process's terminal and returns its exit status. */
export function runStatus(program, args, env = {}) {
  const done = spawnSync(program, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
  if (done.error) {
    console.error(`Could not run ${program}: ${done.error.message}`)
    return 1
  }
  return done.status ?? 1
}

// npm keeps what it installed in a lock file of its own, so an installation made by hand is recognized as well.
function isInstalled(lock) {
  const hidden = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(hidden)) return false
  const present = JSON.parse(readFileSync(hidden, 'utf8')).packages
  return Object.entries(lock.packages).every(([path, entry]) => {
    if (!path.includes('node_modules/')) return true
    if (entry.link) return existsSync(join(root, path))
    return present[path] ? present[path].version === entry.version : entry.optional === true || entry.peer === true
  })
}

function sourceState() {
  const hash = createHash('sha256')
  const add = file => {
    const { mtimeMs, size } = statSync(file)
    hash.update(`${relative(root, file)}\0${mtimeMs}\0${size}\n`)
  }
  add(join(root, 'tsconfig.json'))
  add(join(root, 'tsconfig.base.json'))
  for (const folder of packageFolders()) {
    add(join(folder, 'package.json'))
    add(join(folder, 'tsconfig.json'))
    for (const file of filesUnder(join(folder, 'src'))) add(file)
  }
  return hash.digest('hex')
}

// The compiler never removes the output of a source that is gone.
function removeOrphans(folder) {
  const dist = join(folder, 'dist')
  for (const file of filesUnder(dist)) {
    const source = join(folder, 'src', relative(dist, file).replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts'))
    if (!existsSync(source)) rmSync(file)
  }
}

/** Every file below a folder, in one order. */
export function filesUnder(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath ?? entry.path, entry.name))
    .sort()
}

function readStamp(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

// A stamp only saves time: who may not write here, on a read-only root, looks again the next time.
function writeStamp(file, value) {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, value)
  } catch (error) {
    if (!['EROFS', 'EACCES', 'EPERM', 'ENOENT'].includes(error.code)) throw error
  }
}
